// Sends each typed line as a datagram: the UDP client of Python's socketserver documentation.
// sh samples/run.sh udp_upper_client [HOST [PORT]]
#include <chrono>
#include <iostream>
#include <string>
#include <thinsock/socket.hpp>
using namespace std::chrono_literals;

int main(int argc, char** argv) try {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;

  for (std::string line; std::getline(std::cin, line);) {
    thinsock::Socket sk(AF_INET, SOCK_DGRAM);  // A new one, which gets no late answer of before.
    sk.settimeout(2s);
    sk.sendto(line, {host, port});
    try {
      const auto [data, addr] = sk.recvfrom(65535);
      std::cout << addr << " answers " << data << std::endl;
    } catch (const thinsock::TimeoutError&) {
      std::cout << "no answer" << std::endl;
    }
  }
} catch (const std::logic_error&) {
  return std::cerr << "usage: udp_upper_client [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// hello world
// 127.0.0.1:8888 answers HELLO WORLD
