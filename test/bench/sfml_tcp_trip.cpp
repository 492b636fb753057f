// PORT COUNT [TIMEOUT]: sends so many messages of 64 bytes and receives each back. The timeout, in
// seconds, is for each receive: SFML's SocketSelector has none for sending.
#include <SFML/Network.hpp>
#include <cstdlib>

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  char message[64] = "";
  const sf::Time timeout = sf::seconds(argc > 3 ? static_cast<float>(std::atoi(argv[3])) : 0);
  sf::TcpSocket socket;  // SFML sets TCP_NODELAY itself.
  const auto port = static_cast<unsigned short>(std::atoi(argv[1]));
  if (socket.connect(sf::IpAddress::LocalHost, port) != sf::Socket::Done) return 1;
  sf::SocketSelector selector;
  selector.add(socket);
  for (int left = std::atoi(argv[2]); left > 0; --left) {
    if (socket.send(message, sizeof message) != sf::Socket::Done) return 1;
    for (std::size_t got = 0, size; got < sizeof message; got += size) {
      if (argc > 3 && !selector.wait(timeout)) return 1;
      if (socket.receive(message + got, sizeof message - got, size) != sf::Socket::Done) return 1;
    }
  }
}
