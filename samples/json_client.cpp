// Sends each typed line of JSON and prints the answer: Python's json.dumps and loads over a socket.
// sh samples/run.sh json_client [HOST [PORT]]
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <thinsock/stream.hpp>
using namespace std::chrono_literals;
using nlohmann::json;

int main(int argc, char** argv) try {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;

  thinsock::SocketStream server(thinsock::create_connection({host, port}, 5s));
  server.exceptions(std::ios::badbit);
  for (std::string line; std::getline(std::cin, line);) {
    try {
      server << json::parse(line).dump() << std::endl;
    } catch (const json::parse_error& error) {
      std::cerr << error.what() << '\n';
      continue;
    }
    if (!std::getline(server, line)) {
      std::cerr << "the server has gone\n";
      return 1;
    }
    std::cout << json::parse(line).dump(2) << std::endl;
  }
} catch (const std::logic_error&) {
  return std::cerr << "usage: json_client [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// {"action": "lower", "text": "HELLO"}
// {
//   "result": "hello"
// }
