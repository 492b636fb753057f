// [TIMEOUT]: echoes one connection after the other, with a timeout in seconds for each call.
#include <Poco/Net/ServerSocket.h>
#include <Poco/Net/StreamSocket.h>

#include <cstdlib>
#include <iostream>

int main(int argc, char** argv) {
  static char buffer[65536];
  Poco::Net::ServerSocket listener(Poco::Net::SocketAddress("0.0.0.0", 0), SOMAXCONN);
  std::cout << listener.address().port() << std::endl;
  for (;;) {
    Poco::Net::StreamSocket connection = listener.acceptConnection();
    connection.setNoDelay(true);
    if (argc > 1) {
      connection.setReceiveTimeout(Poco::Timespan(std::atoi(argv[1]), 0));
      connection.setSendTimeout(Poco::Timespan(std::atoi(argv[1]), 0));
    }
    for (int got; (got = connection.receiveBytes(buffer, sizeof buffer)) > 0;) {
      connection.sendBytes(buffer, got);  // It loops until all is sent.
    }
  }
}
