// PORT COUNT [TIMEOUT]: sends so many messages of 64 bytes and receives each back. The timeout, in
// seconds, is for each call.
#include <array>
#include <chrono>
#include <cstdlib>

#include "thinsock/socket.hpp"

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  std::array<char, 64> message{};
  thinsock::Socket socket = thinsock::create_connection({"127.0.0.1", std::atoi(argv[1])});
  socket.set_nodelay();
  if (argc > 3) socket.settimeout(std::chrono::seconds(std::atoi(argv[3])));
  for (int left = std::atoi(argv[2]); left > 0; --left) {
    socket.sendall(message);
    for (std::size_t got = 0; got < message.size();) {
      const std::size_t size = socket.recv_into({message.data() + got, message.size() - got});
      if (size == 0) return 1;
      got += size;
    }
  }
}
