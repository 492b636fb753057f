// [TIMEOUT]: echoes one connection after the other, with a timeout in seconds for each call. As in
// asio's example blocking_tcp_client, the call is asynchronous and the context runs for that long.
#include <array>
#include <asio.hpp>
#include <chrono>
#include <cstdlib>
#include <iostream>

using asio::ip::tcp;

std::array<char, 65536> buffer;

void echo(tcp::socket& connection) {
  std::error_code error;
  for (;;) {
    const std::size_t got = connection.read_some(asio::buffer(buffer), error);
    if (error) return;
    asio::write(connection, asio::buffer(buffer, got), error);
    if (error) return;
  }
}

// Whether the operation that was started has succeeded within the timeout.
bool run(asio::io_context& context, tcp::socket& connection, std::error_code& error,
         std::chrono::seconds timeout) {
  context.restart();
  context.run_for(timeout);
  if (!context.stopped()) {
    connection.close();
    context.run();
  }
  return !error;
}

void echo(asio::io_context& context, tcp::socket& connection, std::chrono::seconds timeout) {
  std::error_code error;
  std::size_t got;
  for (;;) {
    connection.async_read_some(asio::buffer(buffer), [&](std::error_code result, std::size_t size) {
      error = result;
      got = size;
    });
    if (!run(context, connection, error, timeout)) return;
    asio::async_write(connection, asio::buffer(buffer, got),
                      [&](std::error_code result, std::size_t) { error = result; });
    if (!run(context, connection, error, timeout)) return;
  }
}

int main(int argc, char** argv) {
  asio::io_context context(1);
  tcp::acceptor acceptor(context, {tcp::v4(), 0});
  std::cout << acceptor.local_endpoint().port() << std::endl;
  for (;;) {
    tcp::socket connection = acceptor.accept();
    connection.set_option(tcp::no_delay(true));
    if (argc > 1) {
      echo(context, connection, std::chrono::seconds(std::atoi(argv[1])));
    } else {
      echo(connection);
    }
  }
}
