// [STACK]: echoes each connection in a thread, which has a stack of that many bytes.
#include <array>
#include <cstdlib>
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

int main(int argc, char** argv) {
  const std::size_t stack = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 0;
  thinsock::ThreadingTCPServer server({"0.0.0.0", 0}, thinsock::handler<Echo>,
                                      {.thread_stack_size = stack});
  std::cout << server.server_address.port() << std::endl;
  server.serve_forever();
}
