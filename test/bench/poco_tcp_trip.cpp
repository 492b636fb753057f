// PORT COUNT [TIMEOUT]: sends so many messages of 64 bytes and receives each back. The timeout, in
// seconds, is for each call.
#include <Poco/Net/StreamSocket.h>

#include <cstdlib>

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  char message[64] = "";
  constexpr int kSize = sizeof message;
  Poco::Net::StreamSocket socket(
      Poco::Net::SocketAddress("127.0.0.1", static_cast<Poco::UInt16>(std::atoi(argv[1]))));
  socket.setNoDelay(true);
  if (argc > 3) {
    socket.setReceiveTimeout(Poco::Timespan(std::atoi(argv[3]), 0));
    socket.setSendTimeout(Poco::Timespan(std::atoi(argv[3]), 0));
  }
  for (int left = std::atoi(argv[2]); left > 0; --left) {
    socket.sendBytes(message, kSize);  // It loops until all is sent.
    for (int got = 0; got < kSize;) {
      const int size = socket.receiveBytes(message + got, kSize - got);
      if (size <= 0) return 1;
      got += size;
    }
  }
}
