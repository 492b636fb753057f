#include <Poco/Net/DatagramSocket.h>

#include <iostream>

int main() {
  static char buffer[65536];
  Poco::Net::DatagramSocket socket(Poco::Net::SocketAddress("127.0.0.1", 0));
  std::cout << socket.address().port() << std::endl;
  for (;;) {
    Poco::Net::SocketAddress peer;
    const int got = socket.receiveFrom(buffer, sizeof buffer, peer);
    socket.sendTo(buffer, got, peer);
  }
}
