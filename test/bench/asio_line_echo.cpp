// Echoes each connection line by line, with buffers for both directions.
#include <asio.hpp>
#include <iostream>
#include <string>

using asio::ip::tcp;

int main() {
  asio::io_context context(1);
  tcp::acceptor acceptor(context, {tcp::v4(), 0});
  std::cout << acceptor.local_endpoint().port() << std::endl;
  for (;;) {
    tcp::iostream stream(acceptor.accept());
    stream << std::nounitbuf;  // By default each << is a send.
    for (std::string line; std::getline(stream, line);) stream << line << '\n';
  }
}
