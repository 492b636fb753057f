// Echoes each connection line by line, with buffers for both directions.
#include <iostream>
#include <string>

#include "thinsock/socketserver.hpp"

struct Echo : thinsock::StreamRequestHandler {
  void handle() override {
    for (std::string line; std::getline(rfile, line);) wfile << line << '\n';
  }
};

int main() {
  thinsock::TCPServer server({"0.0.0.0", 0}, thinsock::handler<Echo>);
  std::cout << server.server_address.port() << std::endl;
  server.serve_forever();
}
