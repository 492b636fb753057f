// The smallest client: it connects, sends a message, and prints the answer.
#include <Poco/Net/StreamSocket.h>

#include <cstdio>

int main() {
  Poco::Net::StreamSocket socket(Poco::Net::SocketAddress("127.0.0.1", 8888));
  socket.sendBytes("Hello!!", 7);
  char answer[1024];
  const int got = socket.receiveBytes(answer, sizeof answer);
  std::printf("%.*s\n", got, answer);
}
