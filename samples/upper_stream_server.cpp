// Answers each line in upper case: MyTCPHandler over a StreamRequestHandler, read like a file.
// sh samples/run.sh upper_stream_server [HOST [PORT]]
//
// Limits: one client at a time, which may be silent for 30 s and has a minute in all.
#include <algorithm>
#include <cctype>
#include <chrono>
#include <csignal>
#include <iostream>
#include <thinsock/cancel.hpp>
#include <thinsock/socketserver.hpp>
using namespace std::chrono_literals;

class MyTCPHandler : public thinsock::StreamRequestHandler {
  void handle() override {
    for (std::string line; !(line = rfile.readline(8192)).empty();) {
      std::cout << client_address << " wrote: " << line << std::flush;
      std::ranges::transform(line, line.begin(), [](unsigned char c) { return std::toupper(c); });
      wfile << line;
    }
  }
};

int main(int argc, char** argv) try {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;

  const thinsock::CancelScope ctrl_c({SIGINT, SIGTERM});
  thinsock::TCPServer server(
      {host, port}, thinsock::handler<MyTCPHandler>,
      {.allow_reuse_address = true, .idle_timeout = 30s, .request_timeout = 60s});
  std::cout << "listening on " << server.server_address << std::endl;
  server.serve_forever();
} catch (const std::logic_error&) {
  return std::cerr << "usage: upper_stream_server [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// listening on 127.0.0.1:8888
// 127.0.0.1:54321 wrote: hello world
