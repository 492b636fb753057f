// TIMES: stops an idle server that often and prints the microseconds of each.
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "thinsock/socketserver.hpp"

using std::chrono::steady_clock;

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  thinsock::TCPServer server({"127.0.0.1", 0}, [](thinsock::RequestContext&) {});
  for (int i = 0; i < std::atoi(argv[1]); ++i) {
    std::thread serving([&] { server.serve_forever(); });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // It waits by then.
    const auto start = steady_clock::now();
    server.shutdown();
    serving.join();
    const std::chrono::duration<double, std::micro> took = steady_clock::now() - start;
    std::cout << took.count() << '\n';
  }
}
