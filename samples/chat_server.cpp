// Chats with one client at a time, taking turns until ByeBye: Python's accept, recv and input.
// sh samples/run.sh chat_server [HOST [PORT]]
//
// Limits: one client at a time, which may be silent for a minute.
#include <poll.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <string>
#include <thinsock/cancel.hpp>
#include <thinsock/stream.hpp>
using namespace std::chrono_literals;

// False once std::cin has ended, or on Ctrl-C, which ends calls of thinsock but not std::getline.
bool read_typed(std::string& line, const thinsock::CancelScope& ctrl_c) {
  pollfd keyboard{0, POLLIN, 0};
  while (ctrl_c.signal() == 0)
    if (::poll(&keyboard, 1, 50) > 0) return bool(std::getline(std::cin, line));
  return false;
}

// Returns false once nobody types any more.
bool chat(thinsock::SocketStream& client, const thinsock::CancelScope& ctrl_c) {
  for (std::string line; (line = client.readline(8192)).ends_with('\n');) {
    std::cout << line;
    if (line == "ByeBye\n") break;
    std::cout << "> " << std::flush;
    if (!read_typed(line, ctrl_c)) return false;
    client << line << std::endl;
    if (line == "ByeBye") break;
  }
  return true;
}

int main(int argc, char** argv) try {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;

  std::setvbuf(stdin, nullptr, _IONBF, 0);  // poll(2) does not see lines that were read ahead.
  const thinsock::CancelScope ctrl_c({SIGINT, SIGTERM});
  thinsock::Socket sk = thinsock::create_server({host, port});
  std::cout << "listening on " << sk.getsockname() << std::endl;

  for (bool open = true; open && ctrl_c.signal() == 0;) {
    try {
      auto [conn, addr] = sk.accept();
      conn.settimeout(60s);
      std::cout << addr << " has come" << std::endl;
      thinsock::SocketStream client(conn);
      open = chat(client, ctrl_c);
      std::cout << addr << " has left" << std::endl;
    } catch (const thinsock::Error& error) {
      std::cout << error.what() << std::endl;
    }
  }
} catch (const std::logic_error&) {
  return std::cerr << "usage: chat_server [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// listening on 127.0.0.1:8888
// 127.0.0.1:54321 has come
// Hello!
// > Hello, who is there?
// ByeBye
// 127.0.0.1:54321 has left
