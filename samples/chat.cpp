// Two people talk without taking turns: Python's threads for recv() and for sendall(input()).
// sh samples/run.sh chat [HOST [PORT]]        (The first one that is started waits for the other.)
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thinsock/stream.hpp>
#include <thread>
using namespace std::chrono_literals;
using thinsock::Socket;

// Connects to the one who waits, or waits for the one who comes second.
Socket meet(const thinsock::AddressLike& address) try {
  return thinsock::create_connection(address, 5s);
} catch (const thinsock::Error& error) {
  if (error.code() != std::errc::connection_refused) throw;
  Socket listener = thinsock::create_server(address);
  std::cout << "waiting on " << listener.getsockname() << std::endl;
  return std::move(listener.accept().socket);
}

int main(int argc, char** argv) try {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;

  Socket sk = meet({host, port});
  sk.settimeout(std::nullopt);    // Somebody types.
  sk.set_keepalive(60s, 10s, 3);  // Notices a machine that was switched off.
  std::cout << "connected to " << sk.getpeername() << std::endl;
  // One thread may receive while another sends. A stream that is only read sends nothing.
  std::jthread reader([&] {
    thinsock::SocketStream other(sk, "r");
    for (std::string line; std::getline(other, line);) std::cout << line << std::endl;
    std::cout << "the other one has left" << std::endl;
    std::quick_exit(0);  // Nothing else ends std::getline(std::cin).
  });
  for (std::string line; std::getline(std::cin, line);) sk.sendall(line + '\n');
  sk.shutdown(SHUT_WR);  // Ctrl-D: says no more, but listens until the other one leaves.
  reader.join();
} catch (const std::logic_error&) {
  return std::cerr << "usage: chat [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// waiting on 127.0.0.1:8888
// connected to 127.0.0.1:54321
// Hello!
