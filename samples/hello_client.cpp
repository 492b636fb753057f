// Sends one message and prints the answer: Python's connect, sendall, recv.
// sh samples/run.sh hello_client [HOST [PORT]]
#include <chrono>
#include <iostream>
#include <thinsock/socket.hpp>
using namespace std::chrono_literals;

int main(int argc, char** argv) try {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;
  thinsock::Socket sk = thinsock::create_connection({host, port}, 5s);
  sk.sendall("Hello!!");
  std::cout << "server says " << sk.recv(1024) << '\n';
} catch (const std::logic_error&) {
  return std::cerr << "usage: hello_client [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// server says Gun!!
