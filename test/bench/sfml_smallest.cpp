// The smallest client: it connects, sends a message, and prints the answer.
#include <SFML/Network/IpAddress.hpp>
#include <SFML/Network/TcpSocket.hpp>
#include <cstdio>

int main() {
  sf::TcpSocket socket;
  if (socket.connect(sf::IpAddress(127, 0, 0, 1), 8888) != sf::Socket::Done) return 1;
  if (socket.send("Hello!!", 7) != sf::Socket::Done) return 1;
  char answer[1024];
  std::size_t got;
  if (socket.receive(answer, sizeof answer, got) != sf::Socket::Done) return 1;
  std::printf("%.*s\n", static_cast<int>(got), answer);
}
