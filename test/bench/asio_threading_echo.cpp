// Echoes each connection in a new thread, as asio's example blocking_tcp_echo_server does.
#include <array>
#include <asio.hpp>
#include <iostream>
#include <thread>
#include <utility>

using asio::ip::tcp;

void serve(tcp::socket connection) {
  std::array<char, 1024> buffer;
  std::error_code error;
  for (;;) {
    const std::size_t got = connection.read_some(asio::buffer(buffer), error);
    if (error) return;
    asio::write(connection, asio::buffer(buffer, got), error);
    if (error) return;
  }
}

int main() {
  asio::io_context context;
  tcp::acceptor acceptor(context, {tcp::v4(), 0});
  std::cout << acceptor.local_endpoint().port() << std::endl;
  for (;;) std::thread(serve, acceptor.accept()).detach();
}
