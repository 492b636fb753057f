// Echoes each connection in a new process.
#include <array>
#include <iostream>

#include "thinsock/socketserver.hpp"

struct Echo : thinsock::BaseRequestHandler {
  void handle() override {
    std::array<char, 1024> buffer;
    while (const std::size_t got = request.recv_into(buffer)) {
      request.sendall({buffer.data(), got});
    }
  }
};

int main() {
  thinsock::ForkingTCPServer server({"0.0.0.0", 0}, thinsock::handler<Echo>);
  std::cout << server.server_address.port() << std::endl;
  server.serve_forever();
}
