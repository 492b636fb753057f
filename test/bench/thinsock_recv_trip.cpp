// PORT COUNT BUFSIZE: sends so many messages of 64 bytes and receives each back with recv(BUFSIZE).
#include <array>
#include <cstdlib>

#include "thinsock/socket.hpp"

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::array<char, 64> message{};
  const std::size_t bufsize = std::strtoul(argv[3], nullptr, 10);
  thinsock::Socket socket = thinsock::create_connection({"127.0.0.1", std::atoi(argv[1])});
  socket.set_nodelay();
  for (int left = std::atoi(argv[2]); left > 0; --left) {
    socket.sendall(message);
    if (socket.recv(bufsize).size() != message.size()) return 1;
  }
}
