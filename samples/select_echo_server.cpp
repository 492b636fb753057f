// Sends everything back to many clients in one thread: Python's select.select over its sockets.
// sh samples/run.sh select_echo_server [HOST [PORT]]
#include <chrono>
#include <iostream>
#include <list>
#include <string>
#include <thinsock/select.hpp>
using namespace std::chrono_literals;

int main(int argc, char** argv) {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;

  thinsock::Socket listener = thinsock::create_server({host, port});
  std::cout << "listening on " << listener.getsockname() << std::endl;
  thinsock::setdefaulttimeout(1s);  // How long one client that does not read can delay the others.

  std::list<thinsock::Socket> clients;  // A list, because select refers to its elements.
  for (;;) {
    std::vector<thinsock::Selectable> all(clients.begin(), clients.end());
    all.push_back(listener);
    const auto [readable, writable, exceptional] = thinsock::select(all, {}, {});
    for (thinsock::Socket* sk : readable) {
      try {
        if (sk == &listener) {
          clients.push_back(listener.accept().socket);
        } else if (const std::string data = sk->recv(1024); !data.empty()) {
          sk->sendall(data);
        } else {
          sk->close();
        }
      } catch (const thinsock::Error& error) {
        std::cerr << error.what() << '\n';
        if (sk != &listener) sk->close();
      }
    }
    clients.remove_if([](const thinsock::Socket& client) { return client.fileno() == -1; });
  }
}

// listening on 127.0.0.1:8888
