// Echoes each connection in a thread. The server is a derived class, which overrides a hook.
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

class Server : public thinsock::ThreadingTCPServer {
 public:
  using ThreadingMixIn::ThreadingMixIn;
  ~Server() override { server_close(); }

  bool verify_request(thinsock::Request&, const thinsock::Address& client) override {
    return !client.host().empty();
  }
};

int main() {
  Server server({"0.0.0.0", 0}, thinsock::handler<Echo>);
  std::cout << server.server_address.port() << std::endl;
  server.serve_forever();
}
