// Times each step of create_connection: Python's getaddrinfo, and connect address by address.
// sh samples/run.sh inspect [HOST [PORT]]
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <chrono>
#include <iomanip>
#include <iostream>
#include <string>
#include <thinsock/resolve.hpp>
#include <thinsock/socket.hpp>
using namespace std::chrono_literals;
using thinsock::Socket;

void row(const std::string& name, auto connect) {
  const auto start = std::chrono::steady_clock::now();
  std::string outcome;
  try {
    outcome = connect();
  } catch (const thinsock::Error& error) {
    outcome = error.code().message();
  }
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  std::cout << std::left << std::setw(46) << name << std::right << std::fixed
            << std::setprecision(2) << std::setw(8) << took.count() << " ms  " << outcome << '\n';
}

int main(int argc, char** argv) try {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;

  for (const auto& info : thinsock::getaddrinfo(host, port, AF_UNSPEC, SOCK_STREAM)) {
    row(info.address.str(), [&] {
      Socket sk(info.family, info.type, info.proto);
      sk.settimeout(5s);
      sk.connect(info.address);
      return "connected from " + sk.getsockname().str();
    });
  }
  Socket winner(std::nullopt);
  row("create_connection, Happy Eyeballs", [&] {
    winner = thinsock::create_connection({host, port}, 5s, {}, 250ms);
    return "connected to " + winner.getpeername().str();
  });
  if (winner.fileno() == -1) return 1;
  const std::pair<const char*, int> options[] = {
      {"SO_SNDBUF", winner.get_sendbuf()},
      {"SO_RCVBUF", winner.get_recvbuf()},
      {"TCP_MAXSEG", winner.getsockopt(IPPROTO_TCP, TCP_MAXSEG)},
      {"TCP_NODELAY", winner.get_nodelay()},
      {"SO_KEEPALIVE", winner.getsockopt(SOL_SOCKET, SO_KEEPALIVE)},
  };
  for (const auto& [name, value] : options)
    std::cout << std::left << std::setw(46) << name << std::right << std::setw(8) << value << '\n';
} catch (const std::logic_error&) {
  return std::cerr << "usage: inspect [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// [::1]:8888                                        0.07 ms  Connection refused
// 127.0.0.1:8888                                    0.06 ms  connected from 127.0.0.1:54321
// create_connection, Happy Eyeballs                 0.15 ms  connected to 127.0.0.1:8888
