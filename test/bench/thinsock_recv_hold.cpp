// Echoes each connection in a thread that receives strings.
#include <iostream>
#include <string>

#include "thinsock/socketserver.hpp"

struct Echo : thinsock::BaseRequestHandler {
  void handle() override {
    for (std::string data; !(data = request.recv(1024)).empty();) request.sendall(data);
  }
};

int main() {
  thinsock::ThreadingTCPServer server({"0.0.0.0", 0}, thinsock::handler<Echo>);
  std::cout << server.server_address.port() << std::endl;
  server.serve_forever();
}
