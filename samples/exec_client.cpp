// Lets a server run each typed command, prints its output, and exits with the last one's status.
// sh samples/run.sh exec_client [HOST [PORT]]
#include <chrono>
#include <iostream>
#include <string>
#include <thinsock/stream.hpp>
using namespace std::chrono_literals;

// Prints the output that the server sends, and returns the command's exit status.
int print_output(thinsock::SocketStream& server) {
  std::string kind;
  for (int number; server >> kind >> number && server.get() == '\n';) {
    if (kind == "exit") return number;
    if (number < 0 || number > 1 << 20) break;
    std::string piece(static_cast<std::size_t>(number), '\0');
    if (server.read(piece.data(), number))
      (kind == "stdout" ? std::cout : std::cerr) << piece << std::flush;
  }
  throw std::runtime_error("the server's answer is incomplete or invalid");
}

int main(int argc, char** argv) try {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;

  thinsock::SocketStream server(thinsock::create_connection({host, port}, 5s));
  server.socket().settimeout(std::nullopt);  // A command may run for any time.
  int status = 0;
  for (std::string line; std::getline(std::cin, line);) {
    server << line << std::endl;
    status = print_output(server);
  }
  return status;
} catch (const std::logic_error&) {
  return std::cerr << "usage: exec_client [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// echo hello; exit 3
// hello
