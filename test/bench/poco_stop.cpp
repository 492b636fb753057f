// TIMES: stops an idle server that often and prints the microseconds of each.
#include <Poco/Net/ServerSocket.h>
#include <Poco/Net/StreamSocket.h>
#include <Poco/Net/TCPServer.h>
#include <Poco/Net/TCPServerConnection.h>
#include <Poco/Net/TCPServerConnectionFactory.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <thread>

using std::chrono::steady_clock;

class Nothing : public Poco::Net::TCPServerConnection {
 public:
  using TCPServerConnection::TCPServerConnection;

  void run() override {}
};

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  for (int i = 0; i < std::atoi(argv[1]); ++i) {
    Poco::Net::ServerSocket listener(Poco::Net::SocketAddress("127.0.0.1", 0));
    Poco::Net::TCPServer server(new Poco::Net::TCPServerConnectionFactoryImpl<Nothing>, listener);
    server.start();
    // It waits by then, and the stop comes at any point between two of its polls.
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + 37 * i % 250));
    const auto start = steady_clock::now();
    server.stop();  // This joins the server's thread.
    const std::chrono::duration<double, std::micro> took = steady_clock::now() - start;
    std::cout << took.count() << '\n';
  }
}
