// The smallest client: it connects, sends a message, and prints the answer.
#include <array>
#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/write.hpp>
#include <cstdio>

using asio::ip::tcp;

int main() {
  asio::io_context context;
  tcp::socket socket(context);
  socket.connect({asio::ip::make_address("127.0.0.1"), 8888});
  asio::write(socket, asio::buffer("Hello!!", 7));
  std::array<char, 1024> answer;
  const std::size_t got = socket.read_some(asio::buffer(answer));
  std::printf("%.*s\n", static_cast<int>(got), answer.data());
}
