// Sends each typed line to a Unix socket and prints the answer, until exit: Python's AF_UNIX.
// sh samples/run.sh unix_echo_client [PATH]
#include <chrono>
#include <iostream>
#include <string>
#include <thinsock/stream.hpp>
using namespace std::chrono_literals;

int main(int argc, char** argv) try {
  const std::string path = argc > 1 ? argv[1] : "/tmp/unix_echo.sock";

  thinsock::SocketStream server(thinsock::create_connection(path, 5s));
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
  return std::cerr << "usage: unix_echo_client [PATH]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// > hello
// hello
// > exit
