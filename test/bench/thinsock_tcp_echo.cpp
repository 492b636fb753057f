// [TIMEOUT]: echoes one connection after the other, with a timeout in seconds for each call.
#include <array>
#include <chrono>
#include <cstdlib>
#include <iostream>

#include "thinsock/socket.hpp"

int main(int argc, char** argv) {
  std::array<char, 65536> buffer;
  thinsock::Socket listener = thinsock::create_server({"0.0.0.0", 0});
  std::cout << listener.getsockname().port() << std::endl;
  for (;;) {
    auto [connection, peer] = listener.accept();
    connection.set_nodelay();
    if (argc > 1) connection.settimeout(std::chrono::seconds(std::atoi(argv[1])));
    while (const std::size_t got = connection.recv_into(buffer)) {
      connection.sendall({buffer.data(), got});
    }
  }
}
