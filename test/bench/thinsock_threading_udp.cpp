// Echoes each datagram in a thread.
#include <iostream>

#include "thinsock/socketserver.hpp"

struct Echo : thinsock::BaseRequestHandler {
  void handle() override { reply(packet); }
};

int main() {
  thinsock::ThreadingUDPServer server({"127.0.0.1", 0}, thinsock::handler<Echo>);
  std::cout << server.server_address.port() << std::endl;
  server.serve_forever();
}
