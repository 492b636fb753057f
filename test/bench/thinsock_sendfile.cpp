// PATH BYTES: sends so much of the file to each connection.
#include <fcntl.h>

#include <cstdlib>
#include <iostream>

#include "thinsock/socket.hpp"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int file = open(argv[1], O_RDONLY | O_CLOEXEC);
  const std::uint64_t size = std::strtoull(argv[2], nullptr, 10);
  thinsock::Socket listener = thinsock::create_server({"0.0.0.0", 0});
  std::cout << listener.getsockname().port() << std::endl;
  for (;;) {
    auto [connection, peer] = listener.accept();
    if (connection.sendfile(file, 0, size) != size) return 1;
  }
}
