// The smallest client: it connects, sends a message, and prints the answer.
#include <cstdio>

#include "thinsock/socket.hpp"

int main() {
  thinsock::Socket socket = thinsock::create_connection({"127.0.0.1", 8888});
  socket.sendall("Hello!!");
  std::puts(socket.recv(1024).c_str());
}
