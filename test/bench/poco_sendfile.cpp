// PATH BYTES: sends so much of the file to each connection. Poco 1.11 has no sendfile, so the file
// is read in pieces of 64 KiB.
#include <Poco/FileStream.h>
#include <Poco/Net/ServerSocket.h>
#include <Poco/Net/StreamSocket.h>

#include <cstdlib>
#include <iostream>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  static char piece[65536];
  Poco::Net::ServerSocket listener(Poco::Net::SocketAddress("0.0.0.0", 0), SOMAXCONN);
  std::cout << listener.address().port() << std::endl;
  for (;;) {
    Poco::Net::StreamSocket connection = listener.acceptConnection();
    Poco::FileInputStream file(argv[1]);
    for (long long left = std::atoll(argv[2]); left > 0; left -= file.gcount()) {
      file.read(piece, sizeof piece);
      if (file.gcount() <= 0) return 1;
      connection.sendBytes(piece, static_cast<int>(file.gcount()));
    }
  }
}
