// BYTES: sends that many to each connection, in writes of 64 KiB.
#include <Poco/Net/ServerSocket.h>
#include <Poco/Net/StreamSocket.h>

#include <cstdlib>
#include <iostream>

int main(int argc, char** argv) {
  static const char data[65536]{};
  if (argc != 2) return 2;
  Poco::Net::ServerSocket listener(Poco::Net::SocketAddress("0.0.0.0", 0), SOMAXCONN);
  std::cout << listener.address().port() << std::endl;
  for (;;) {
    Poco::Net::StreamSocket connection = listener.acceptConnection();
    for (long long left = std::atoll(argv[1]); left > 0; left -= std::ssize(data)) {
      connection.sendBytes(data, sizeof data);
    }
  }
}
