#include <array>
#include <iostream>

#include "thinsock/socket.hpp"

int main() {
  std::array<char, 65536> buffer;
  thinsock::Socket socket(AF_INET, SOCK_DGRAM);
  socket.bind({"127.0.0.1", 0});
  std::cout << socket.getsockname().port() << std::endl;
  for (;;) {
    const auto [got, peer] = socket.recvfrom_into(buffer);
    socket.sendto({buffer.data(), got}, peer);
  }
}
