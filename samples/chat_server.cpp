// Chats with one client at a time, taking turns until ByeBye: Python's accept, recv and input.
// sh samples/run.sh chat_server [HOST [PORT]]
#include <chrono>
#include <iostream>
#include <string>
#include <thinsock/stream.hpp>
using namespace std::chrono_literals;

// Returns false once std::cin has ended.
bool chat(thinsock::SocketStream& client) {
  for (std::string line; (line = client.readline(8192)).ends_with('\n');) {
    std::cout << line;
    if (line == "ByeBye\n") break;
    std::cout << "> " << std::flush;
    if (!std::getline(std::cin, line)) return false;
    client << line << std::endl;
    if (line == "ByeBye") break;
  }
  return true;
}

int main(int argc, char** argv) {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;

  thinsock::Socket sk = thinsock::create_server({host, port});
  std::cout << "listening on " << sk.getsockname() << std::endl;

  for (bool open = true; open;) {
    auto [conn, addr] = sk.accept();
    conn.set_keepalive(60s, 10s, 3);  // Notices a machine that was switched off.
    std::cout << addr << " has come" << std::endl;
    thinsock::SocketStream client(conn);
    open = chat(client);
    std::cout << addr << " has left" << std::endl;
  }
}

// listening on 127.0.0.1:8888
// 127.0.0.1:54321 has come
// Hello!
// > Hello, who is there?
// ByeBye
// 127.0.0.1:54321 has left
