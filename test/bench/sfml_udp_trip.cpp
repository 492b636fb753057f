// PORT COUNT: sends that many datagrams of 64 bytes and receives each back.
#include <SFML/Network.hpp>
#include <cstdlib>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  char message[64] = "";
  const auto server = static_cast<unsigned short>(std::atoi(argv[1]));
  sf::UdpSocket socket;
  for (int left = std::atoi(argv[2]); left > 0; --left) {
    std::size_t got;
    sf::IpAddress host;
    unsigned short port;
    if (socket.send(message, sizeof message, sf::IpAddress::LocalHost, server) !=
            sf::Socket::Done ||
        socket.receive(message, sizeof message, got, host, port) != sf::Socket::Done) {
      return 1;
    }
  }
}
