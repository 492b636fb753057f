// PORT COUNT [TIMEOUT]: sends so many messages of 64 bytes and receives each back. The timeout, in
// seconds, is for each call and made as in asio's example blocking_tcp_client.
#include <array>
#include <asio.hpp>
#include <chrono>
#include <cstdlib>

using asio::ip::tcp;

// Whether the operation that was started has succeeded within the timeout.
bool run(asio::io_context& context, tcp::socket& socket, std::error_code& error,
         std::chrono::seconds timeout) {
  context.restart();
  context.run_for(timeout);
  if (!context.stopped()) {
    socket.close();
    context.run();
  }
  return !error;
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  std::array<char, 64> message{};
  std::error_code error;
  asio::io_context context(1);
  tcp::socket socket(context);
  socket.connect(
      {asio::ip::address_v4::loopback(), static_cast<asio::ip::port_type>(std::atoi(argv[1]))});
  socket.set_option(tcp::no_delay(true));
  if (argc == 3) {
    for (int left = std::atoi(argv[2]); left > 0; --left) {
      asio::write(socket, asio::buffer(message));
      asio::read(socket, asio::buffer(message));
    }
    return 0;
  }
  const std::chrono::seconds timeout(std::atoi(argv[3]));
  const auto done = [&](std::error_code result, std::size_t) { error = result; };
  for (int left = std::atoi(argv[2]); left > 0; --left) {
    asio::async_write(socket, asio::buffer(message), done);
    if (!run(context, socket, error, timeout)) return 1;
    asio::async_read(socket, asio::buffer(message), done);
    if (!run(context, socket, error, timeout)) return 1;
  }
}
