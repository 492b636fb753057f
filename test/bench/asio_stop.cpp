// TIMES: stops an idle server that often and prints the microseconds of each.
#include <asio.hpp>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <thread>

using asio::ip::tcp;
using std::chrono::steady_clock;

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  for (int i = 0; i < std::atoi(argv[1]); ++i) {
    asio::io_context context;
    tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
    acceptor.async_accept([](std::error_code, tcp::socket) {});
    std::thread serving([&] { context.run(); });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // It waits by then.
    const auto start = steady_clock::now();
    context.stop();
    serving.join();
    const std::chrono::duration<double, std::micro> took = steady_clock::now() - start;
    std::cout << took.count() << '\n';
  }
}
