// Answers one message of each client: Python's bind, listen, accept, recv, sendall.
// sh samples/run.sh hello_server [HOST [PORT]]
//
// Limits: one client at a time, for 5 s to send and 5 s to receive.
#include <chrono>
#include <csignal>
#include <iostream>
#include <thinsock/cancel.hpp>
#include <thinsock/socket.hpp>
using namespace std::chrono_literals;

int main(int argc, char** argv) try {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;
  const thinsock::CancelScope ctrl_c({SIGINT, SIGTERM});
  thinsock::Socket sk = thinsock::create_server({host, port});
  std::cout << "listening on " << sk.getsockname() << std::endl;
  while (ctrl_c.signal() == 0) {
    try {
      auto [conn, addr] = sk.accept();
      conn.settimeout(5s);
      std::cout << addr << " says " << conn.recv(1024) << std::endl;
      conn.sendall("Gun!!");
    } catch (const thinsock::Error& error) {
      std::cout << error.what() << std::endl;
    }
  }
} catch (const std::logic_error&) {
  return std::cerr << "usage: hello_server [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// listening on 127.0.0.1:8888
// 127.0.0.1:54321 says Hello!!
