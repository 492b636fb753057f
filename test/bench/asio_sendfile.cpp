// PATH BYTES: sends so much of the file to each connection. asio has no sendfile, so the file is
// read in pieces of 64 KiB.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <asio.hpp>
#include <cstdlib>
#include <iostream>

using asio::ip::tcp;

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  static std::array<char, 65536> piece;
  const int file = open(argv[1], O_RDONLY | O_CLOEXEC);
  asio::io_context context(1);
  tcp::acceptor acceptor(context, {tcp::v4(), 0});
  std::cout << acceptor.local_endpoint().port() << std::endl;
  for (;;) {
    tcp::socket connection = acceptor.accept();
    for (long long sent = 0, size = std::atoll(argv[2]); sent < size;) {
      const ssize_t got = pread(file, piece.data(), piece.size(), sent);
      if (got <= 0) return 1;
      asio::write(connection, asio::buffer(piece, static_cast<std::size_t>(got)));
      sent += got;
    }
  }
}
