// PORT COUNT: sends that many datagrams of 64 bytes and receives each back.
#include <array>
#include <cstdlib>

#include "thinsock/socket.hpp"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::array<char, 64> message{};
  const thinsock::Address server("127.0.0.1", std::atoi(argv[1]));
  thinsock::Socket socket(AF_INET, SOCK_DGRAM);
  for (int left = std::atoi(argv[2]); left > 0; --left) {
    socket.sendto(message, server);
    const auto [got, peer] = socket.recvfrom_into(message);
    if (got != message.size()) return 1;
  }
}
