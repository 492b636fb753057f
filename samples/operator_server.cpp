// One operator answers many clients at one keyboard: Python's input() in a threading handler.
// sh samples/run.sh operator_server [HOST [PORT]]
//
// Limits: 100 clients at once, each of which may be silent for a minute.
#include <poll.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <mutex>
#include <string>
#include <thinsock/cancel.hpp>
#include <thinsock/socketserver.hpp>
using namespace std::chrono_literals;

std::mutex keyboard;  // Locked while the operator answers a client.

class Operator : public thinsock::StreamRequestHandler {
  void handle() override {
    for (std::string line; (line = rfile.readline(8192)).ends_with('\n');) {
      if (line == "ByeBye\n") return;
      const std::lock_guard lock(keyboard);
      if (stop_token().stop_requested()) return;
      std::cout << client_address << " says " << line << client_address << " > " << std::flush;
      if (!read_typed(line)) return server.request_shutdown();
      wfile << line << std::endl;
    }
  }

  // False once std::cin has ended, or when the server ends, which std::getline does not notice.
  bool read_typed(std::string& line) {
    pollfd typed{0, POLLIN, 0};
    while (!stop_token().stop_requested())
      if (::poll(&typed, 1, 50) > 0) return bool(std::getline(std::cin, line));
    return false;
  }
};

int main(int argc, char** argv) try {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;

  std::setvbuf(stdin, nullptr, _IONBF, 0);  // poll(2) does not see lines that were read ahead.
  const thinsock::CancelScope ctrl_c({SIGINT, SIGTERM});
  thinsock::ThreadingTCPServer server({host, port}, thinsock::handler<Operator>,
                                      {.allow_reuse_address = true,
                                       .idle_timeout = 60s,
                                       .daemon_threads = true,
                                       .max_threads = 100});
  std::cout << "listening on " << server.server_address << std::endl;
  server.serve_forever();
} catch (const std::logic_error&) {
  return std::cerr << "usage: operator_server [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// listening on 127.0.0.1:8888
// 127.0.0.1:54321 says Is anybody there?
// 127.0.0.1:54321 > How may I help you?
