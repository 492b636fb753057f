// PORT COUNT: sends that many datagrams of 64 bytes and receives each back.
#include <array>
#include <asio.hpp>
#include <cstdlib>

using asio::ip::udp;

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::array<char, 64> message{};
  asio::io_context context(1);
  const udp::endpoint server(asio::ip::address_v4::loopback(),
                             static_cast<asio::ip::port_type>(std::atoi(argv[1])));
  udp::socket socket(context, udp::v4());
  for (int left = std::atoi(argv[2]); left > 0; --left) {
    udp::endpoint peer;
    socket.send_to(asio::buffer(message), server);
    socket.receive_from(asio::buffer(message), peer);
  }
}
