// BYTES: sends that many to each connection, in writes of 64 KiB.
#include <array>
#include <asio.hpp>
#include <cstdlib>
#include <iostream>

using asio::ip::tcp;

int main(int argc, char** argv) {
  const std::array<char, 65536> data{};
  if (argc != 2) return 2;
  asio::io_context context(1);
  tcp::acceptor acceptor(context, {tcp::v4(), 0});
  std::cout << acceptor.local_endpoint().port() << std::endl;
  for (;;) {
    tcp::socket connection = acceptor.accept();
    for (long long left = std::atoll(argv[1]); left > 0; left -= std::ssize(data)) {
      asio::write(connection, asio::buffer(data));
    }
  }
}
