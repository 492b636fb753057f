// Sends back what clients send, many at once: Python's ThreadingTCPServer with a handler class.
// sh samples/run.sh echo_server [HOST [PORT]]
//
// Limits: 200 clients at once, each of which may be silent for a minute.
#include <chrono>
#include <csignal>
#include <iostream>
#include <thinsock/cancel.hpp>
#include <thinsock/socketserver.hpp>
using namespace std::chrono_literals;

struct Echo : thinsock::BaseRequestHandler {
  void handle() override {
    for (std::string data; !(data = request.recv(1024)).empty();) request.sendall(data);
  }
};

int main(int argc, char** argv) try {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;
  const thinsock::CancelScope ctrl_c({SIGINT, SIGTERM});
  thinsock::ThreadingTCPServer server({host, port}, thinsock::handler<Echo>,
                                      {.allow_reuse_address = true,
                                       .idle_timeout = 60s,
                                       .daemon_threads = true,
                                       .max_threads = 200});
  std::cout << "listening on " << server.server_address << std::endl;
  server.serve_forever();
} catch (const std::logic_error&) {
  return std::cerr << "usage: echo_server [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// listening on 127.0.0.1:8888
