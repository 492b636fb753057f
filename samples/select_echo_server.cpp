// Sends everything back to many clients in one thread: Python's select.select over its sockets.
// sh samples/run.sh select_echo_server [HOST [PORT]]
//
// Limits: a client that does not read is dropped after a second.
#include <chrono>
#include <csignal>
#include <iostream>
#include <list>
#include <string>
#include <thinsock/cancel.hpp>
#include <thinsock/select.hpp>
using namespace std::chrono_literals;

int main(int argc, char** argv) try {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;
  const thinsock::CancelScope ctrl_c({SIGINT, SIGTERM});
  thinsock::Socket listener = thinsock::create_server({host, port});
  std::cout << "listening on " << listener.getsockname() << std::endl;
  thinsock::setdefaulttimeout(1s);  // How long one client that does not read can delay the others.

  std::list<thinsock::Socket> clients;  // A list, because select refers to its elements.
  const auto serve = [&](thinsock::Socket& sk) {
    if (&sk == &listener) {
      clients.push_back(listener.accept().socket);
    } else if (const std::string data = sk.recv(1024); !data.empty()) {
      sk.sendall(data);
    } else {
      sk.close();
    }
  };
  while (true) {
    std::vector<thinsock::Selectable> all(clients.begin(), clients.end());
    all.push_back(listener);
    thinsock::Socket* current = &listener;
    try {
      for (thinsock::Socket* sk : thinsock::select(all).readable) serve(*(current = sk));
    } catch (const thinsock::Error& error) {
      if (ctrl_c.signal() != 0) return 0;
      std::cerr << error.what() << '\n';
      if (current != &listener) current->close();
    }
    clients.remove_if([](const thinsock::Socket& client) { return client.fileno() == -1; });
  }
} catch (const std::logic_error&) {
  return std::cerr << "usage: select_echo_server [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// listening on 127.0.0.1:8888
