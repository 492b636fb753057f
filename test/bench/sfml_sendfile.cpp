// PATH BYTES: sends so much of the file to each connection. SFML has no sendfile, so the file is
// read in pieces of 64 KiB.
#include <fcntl.h>
#include <unistd.h>

#include <SFML/Network.hpp>
#include <cstdlib>
#include <iostream>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  static char piece[65536];
  const int file = open(argv[1], O_RDONLY | O_CLOEXEC);
  sf::TcpListener listener;
  if (listener.listen(0) != sf::Socket::Done) return 1;
  std::cout << listener.getLocalPort() << std::endl;
  for (;;) {
    sf::TcpSocket connection;
    if (listener.accept(connection) != sf::Socket::Done) return 1;
    for (long long sent = 0, size = std::atoll(argv[2]); sent < size;) {
      const ssize_t got = pread(file, piece, sizeof piece, sent);
      if (got <= 0) return 1;
      if (connection.send(piece, static_cast<std::size_t>(got)) != sf::Socket::Done) return 1;
      sent += got;
    }
  }
}
