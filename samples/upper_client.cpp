// Sends words and prints the answer: the client of Python's socketserver documentation.
// sh samples/run.sh upper_client WORD... [HOST PORT]
#include <chrono>
#include <iostream>
#include <string>
#include <thinsock/stream.hpp>
using namespace std::chrono_literals;

int main(int argc, char** argv) try {
  if (argc < 2) throw std::invalid_argument("WORD");
  const std::string last = argv[argc - 1];  // PORT, if it is a number and HOST comes before it.
  const bool has_address = argc > 3 && last.find_first_not_of("0123456789") == last.npos;
  const char* host = has_address ? argv[argc - 2] : "127.0.0.1";
  const int port = has_address ? std::stoi(last) : 8888;
  std::string data;
  for (int i = 1; i < (has_address ? argc - 2 : argc); ++i)
    data += (i > 1 ? " " : "") + std::string(argv[i]);

  thinsock::SocketStream server(thinsock::create_connection({host, port}, 5s));
  server.exceptions(std::ios::badbit);
  server << data << std::endl;
  std::cout << "Sent:     " << data << '\n';
  const std::string answer = server.readline();
  if (answer.empty()) {
    std::cerr << "the server has gone\n";
    return 1;
  }
  std::cout << "Received: " << answer;
} catch (const std::logic_error&) {
  return std::cerr << "usage: upper_client WORD... [HOST PORT]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// Sent:     hello world
// Received: HELLO WORLD
