// A program of somebody else, for .ci/consumers: includes every header, and serves one client.
#include <chrono>
#include <iostream>
#include <string>
#include <thinsock/thinsock.hpp>
#include <thread>
using namespace std::chrono_literals;

namespace {

struct Upper : thinsock::StreamRequestHandler {
  void handle() override {
    for (std::string line; !(line = rfile.readline()).empty();) {
      for (char& letter : line) letter &= '\xDF';
      wfile << line << std::flush;
    }
  }
};

}  // namespace

int main() try {
  thinsock::ThreadingTCPServer server({"127.0.0.1", 0}, thinsock::handler<Upper>);
  const std::jthread serving([&](std::stop_token token) {
    const thinsock::CancelScope scope(token);
    server.serve_forever();
  });
  thinsock::Socket client = thinsock::create_connection(server.server_address, 5s);
  client.sendall("HeLlO");
  client.shutdown(SHUT_WR);
  std::cout << client.recv_exactly(5) << std::endl;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}
