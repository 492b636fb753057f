// Sends each typed line and prints the server's answer, until exit: Python's echo client.
// sh samples/run.sh echo_client [HOST [PORT]]
#include <chrono>
#include <iostream>
#include <string>
#include <thinsock/stream.hpp>
using namespace std::chrono_literals;

int main(int argc, char** argv) try {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;

  thinsock::SocketStream server(thinsock::create_connection({host, port}, 5s));
  server.exceptions(std::ios::badbit);
  for (std::string line;
       std::cout << "> " << std::flush && std::getline(std::cin, line) && line != "exit";) {
    server << line << std::endl;
    if (!std::getline(server, line)) {
      std::cerr << "the server has gone\n";
      return 1;
    }
    std::cout << line << std::endl;
  }
} catch (const std::logic_error&) {
  return std::cerr << "usage: echo_client [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// > hello
// hello
// > exit
