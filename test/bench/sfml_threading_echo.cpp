// Echoes each connection in a new thread.
#include <SFML/Network.hpp>
#include <iostream>
#include <memory>
#include <thread>
#include <utility>

void serve(std::unique_ptr<sf::TcpSocket> connection) {
  char buffer[1024];
  for (std::size_t got; connection->receive(buffer, sizeof buffer, got) == sf::Socket::Done;) {
    if (connection->send(buffer, got) != sf::Socket::Done) break;
  }
}

int main() {
  sf::TcpListener listener;
  if (listener.listen(0) != sf::Socket::Done) return 1;
  std::cout << listener.getLocalPort() << std::endl;
  for (;;) {
    auto connection = std::make_unique<sf::TcpSocket>();
    if (listener.accept(*connection) != sf::Socket::Done) return 1;
    std::thread(serve, std::move(connection)).detach();
  }
}
