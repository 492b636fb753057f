// Answers each datagram in upper case: MyUDPHandler of Python's socketserver documentation.
// sh samples/run.sh udp_upper_server [HOST [PORT]]
//
// Limits: none are needed, as a datagram is answered at once by one that is not longer.
#include <algorithm>
#include <cctype>
#include <csignal>
#include <iostream>
#include <thinsock/cancel.hpp>
#include <thinsock/socketserver.hpp>

class MyUDPHandler : public thinsock::DatagramRequestHandler {
  void handle() override {
    std::string data = packet;
    std::cout << client_address << " wrote: " << data << std::endl;
    std::ranges::transform(data, data.begin(), [](unsigned char c) { return std::toupper(c); });
    wfile << data;
  }
};

int main(int argc, char** argv) try {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;

  const thinsock::CancelScope ctrl_c({SIGINT, SIGTERM});
  thinsock::UDPServer server({host, port}, thinsock::handler<MyUDPHandler>);
  std::cout << "listening on " << server.server_address << std::endl;
  server.serve_forever();
} catch (const std::logic_error&) {
  return std::cerr << "usage: udp_upper_server [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// listening on 127.0.0.1:8888
// 127.0.0.1:54321 wrote: hello world
