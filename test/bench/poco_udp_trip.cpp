// PORT COUNT: sends that many datagrams of 64 bytes and receives each back.
#include <Poco/Net/DatagramSocket.h>

#include <cstdlib>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  char message[64] = "";
  const Poco::Net::SocketAddress server("127.0.0.1", static_cast<Poco::UInt16>(std::atoi(argv[1])));
  Poco::Net::DatagramSocket socket(Poco::Net::SocketAddress::IPv4);
  Poco::Net::SocketAddress peer;
  for (int left = std::atoi(argv[2]); left > 0; --left) {
    socket.sendTo(message, sizeof message, server);
    socket.receiveFrom(message, sizeof message, peer);
  }
}
