// Echoes each connection line by line, with buffers for both directions.
#include <Poco/Net/ServerSocket.h>
#include <Poco/Net/SocketStream.h>
#include <Poco/Net/StreamSocket.h>

#include <iostream>
#include <string>

int main() {
  Poco::Net::ServerSocket listener(Poco::Net::SocketAddress("0.0.0.0", 0), SOMAXCONN);
  std::cout << listener.address().port() << std::endl;
  for (;;) {
    Poco::Net::StreamSocket connection = listener.acceptConnection();
    Poco::Net::SocketStream stream(connection);
    for (std::string line; std::getline(stream, line);) stream << line << '\n';
  }
}
