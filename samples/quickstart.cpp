// A server thread and a client in one process say hello: the first example of every socket course.
// sh samples/run.sh
#include <chrono>
#include <iostream>
#include <thinsock/socket.hpp>
#include <thread>
using namespace std::chrono_literals;

int main() {
  thinsock::Socket server = thinsock::create_server({"127.0.0.1", 0});
  server.settimeout(5s);

  std::jthread serving([&] {
    auto [conn, addr] = server.accept();
    std::cout << "server received " << conn.recv(1024) << std::endl;
    conn.sendall("Gun!!");
  });

  thinsock::Socket client = thinsock::create_connection(server.getsockname(), 5s);
  client.sendall("Hello!!");
  const std::string answer = client.recv(1024);
  std::cout << "client received " << answer << std::endl;
}

// server received Hello!!
// client received Gun!!
