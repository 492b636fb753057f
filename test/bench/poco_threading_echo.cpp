// Echoes each connection in a thread of a pool that is large enough for all.
#include <Poco/Net/ServerSocket.h>
#include <Poco/Net/StreamSocket.h>
#include <Poco/Net/TCPServer.h>
#include <Poco/Net/TCPServerConnection.h>
#include <Poco/Net/TCPServerConnectionFactory.h>
#include <Poco/Net/TCPServerParams.h>
#include <Poco/ThreadPool.h>

#include <iostream>
#include <thread>

class Echo : public Poco::Net::TCPServerConnection {
 public:
  using TCPServerConnection::TCPServerConnection;

  void run() override {
    char buffer[1024];
    for (int got; (got = socket().receiveBytes(buffer, sizeof buffer)) > 0;) {
      socket().sendBytes(buffer, got);
    }
  }
};

int main() {
  constexpr int kMost = 20000;
  Poco::ThreadPool pool(2, kMost);
  Poco::Net::TCPServerParams::Ptr parameters = new Poco::Net::TCPServerParams;
  parameters->setMaxThreads(kMost);
  parameters->setMaxQueued(kMost);
  Poco::Net::ServerSocket listener(Poco::Net::SocketAddress("0.0.0.0", 0), SOMAXCONN);
  std::cout << listener.address().port() << std::endl;
  Poco::Net::TCPServer server(new Poco::Net::TCPServerConnectionFactoryImpl<Echo>, pool, listener,
                              parameters);
  server.start();
  std::this_thread::sleep_for(std::chrono::hours(1));
}
