// Passes every connection on to another server, both ways at once: Python's select.poll.
// sh samples/run.sh port_forwarder TO_HOST TO_PORT [HOST [PORT]]
//
// Limits: 200 clients at once; a connection on which nothing moves for a minute is closed.
#include <poll.h>

#include <chrono>
#include <csignal>
#include <iostream>
#include <thinsock/cancel.hpp>
#include <thinsock/socketserver.hpp>
using namespace std::chrono_literals;
using thinsock::Socket;

// One direction of a connection. It waits either for bytes or for room to send what it holds, so
// that neither direction has to wait for the other.
struct Flow {
  Socket &from, &to;
  std::string held = "";
  bool ended = false;

  pollfd awaited() const {
    if (ended) return {-1, 0, 0};
    return held.empty() ? pollfd{from.fileno(), POLLIN, 0} : pollfd{to.fileno(), POLLOUT, 0};
  }
  void go_on() {
    if (!held.empty()) {
      held.erase(0, to.send(held, MSG_DONTWAIT));
    } else if ((held = from.recv(65536)).empty()) {
      ended = true;
      to.shutdown(SHUT_WR);  // The other direction may go on.
    }
  }
};

class Forward : public thinsock::BaseRequestHandler {
 public:
  Forward(const std::string& host, int port) : host_(host), port_(port) {}

 private:
  void handle() override {
    Socket upstream = thinsock::create_connection({host_, port_}, 5s);
    // Ctrl-C shuts the client's connection down, which ends poll(2), but not yet this one.
    const std::stop_callback stop(stop_token(), [&] { ::shutdown(upstream.fileno(), SHUT_RDWR); });
    Flow flows[] = {{request, upstream}, {upstream, request}};
    while (!flows[0].ended || !flows[1].ended) {
      pollfd awaited[] = {flows[0].awaited(), flows[1].awaited()};
      if (::poll(awaited, 2, 60'000) == 0) return;
      for (int i : {0, 1})
        if (awaited[i].revents != 0) flows[i].go_on();
    }
  }

  const std::string host_;
  const int port_;
};

int main(int argc, char** argv) try {
  if (argc < 3) throw std::invalid_argument("TO_HOST TO_PORT");
  const char* host = argc > 3 ? argv[3] : "127.0.0.1";
  const int port = argc > 4 ? std::stoi(argv[4]) : 8888;

  const thinsock::CancelScope ctrl_c({SIGINT, SIGTERM});
  thinsock::ThreadingTCPServer server(
      {host, port}, thinsock::handler<Forward>(std::string(argv[1]), std::stoi(argv[2])),
      {.allow_reuse_address = true, .shutdown_timeout = 1s, .max_threads = 200});
  std::cout << "listening on " << server.server_address << std::endl;
  server.serve_forever();
} catch (const std::logic_error&) {
  return std::cerr << "usage: port_forwarder TO_HOST TO_PORT [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// listening on 127.0.0.1:8888
