// BYTES: sends that many to each connection, in writes of 64 KiB.
#include <array>
#include <cstdlib>
#include <iostream>

#include "thinsock/socket.hpp"

int main(int argc, char** argv) {
  const std::array<char, 65536> data{};
  if (argc != 2) return 2;
  thinsock::Socket listener = thinsock::create_server({"0.0.0.0", 0});
  std::cout << listener.getsockname().port() << std::endl;
  for (;;) {
    auto [connection, peer] = listener.accept();
    for (long long left = std::atoll(argv[1]); left > 0; left -= std::ssize(data)) {
      connection.sendall(data);
    }
  }
}
