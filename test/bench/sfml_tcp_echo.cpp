// [TIMEOUT]: echoes one connection after the other. The timeout, in seconds, is for each receive:
// SFML's SocketSelector has none for sending.
#include <SFML/Network.hpp>
#include <cstdlib>
#include <iostream>

int main(int argc, char** argv) {
  static char buffer[65536];
  sf::TcpListener listener;
  if (listener.listen(0) != sf::Socket::Done) return 1;
  std::cout << listener.getLocalPort() << std::endl;
  for (;;) {
    sf::TcpSocket connection;  // SFML sets TCP_NODELAY itself.
    if (listener.accept(connection) != sf::Socket::Done) return 1;
    sf::SocketSelector selector;
    selector.add(connection);
    std::size_t got;
    do {
      if (argc > 1 && !selector.wait(sf::seconds(static_cast<float>(std::atoi(argv[1]))))) break;
      if (connection.receive(buffer, sizeof buffer, got) != sf::Socket::Done) break;
    } while (connection.send(buffer, got) == sf::Socket::Done);
  }
}
