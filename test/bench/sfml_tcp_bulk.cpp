// BYTES: sends that many to each connection, in writes of 64 KiB.
#include <SFML/Network.hpp>
#include <cstdlib>
#include <iostream>

int main(int argc, char** argv) {
  static const char data[65536]{};
  if (argc != 2) return 2;
  sf::TcpListener listener;
  if (listener.listen(0) != sf::Socket::Done) return 1;
  std::cout << listener.getLocalPort() << std::endl;
  for (;;) {
    sf::TcpSocket connection;
    if (listener.accept(connection) != sf::Socket::Done) return 1;
    for (long long left = std::atoll(argv[1]); left > 0; left -= std::ssize(data)) {
      if (connection.send(data, sizeof data) != sf::Socket::Done) break;
    }
  }
}
