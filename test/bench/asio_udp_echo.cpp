#include <array>
#include <asio.hpp>
#include <iostream>

using asio::ip::udp;

int main() {
  std::array<char, 65536> buffer;
  asio::io_context context(1);
  udp::socket socket(context, {asio::ip::address_v4::loopback(), 0});
  std::cout << socket.local_endpoint().port() << std::endl;
  for (;;) {
    udp::endpoint peer;
    const std::size_t got = socket.receive_from(asio::buffer(buffer), peer);
    socket.send_to(asio::buffer(buffer, got), peer);
  }
}
