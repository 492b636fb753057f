#include <SFML/Network.hpp>
#include <iostream>

int main() {
  static char buffer[65536];
  sf::UdpSocket socket;
  if (socket.bind(0, sf::IpAddress::LocalHost) != sf::Socket::Done) return 1;
  std::cout << socket.getLocalPort() << std::endl;
  for (;;) {
    std::size_t got;
    sf::IpAddress host;
    unsigned short port;
    if (socket.receive(buffer, sizeof buffer, got, host, port) != sf::Socket::Done) return 1;
    if (socket.send(buffer, got, host, port) != sf::Socket::Done) return 1;
  }
}
