// Chats with a server, taking turns until ByeBye: Python's send(input()) and recv in a loop.
// sh samples/run.sh chat_client [HOST [PORT]]
#include <chrono>
#include <iostream>
#include <string>
#include <thinsock/stream.hpp>
using namespace std::chrono_literals;

int main(int argc, char** argv) try {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;

  thinsock::SocketStream server(thinsock::create_connection({host, port}, 5s));
  server.socket().settimeout(std::nullopt);  // Somebody types the answers.
  for (std::string line; std::cout << "> " << std::flush && std::getline(std::cin, line);) {
    server << line << std::endl;
    if (line == "ByeBye") return 0;
    if (!std::getline(server, line)) break;
    std::cout << line << std::endl;
    if (line == "ByeBye") return 0;
  }
  if (!std::cin) return 0;
  std::cerr << "the server has gone\n";
  return 1;
} catch (const std::logic_error&) {
  return std::cerr << "usage: chat_client [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// > Hello!
// Hello, who is there?
// > ByeBye
