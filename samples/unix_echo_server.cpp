// Sends back what its clients on this machine send: Python's ThreadingUnixStreamServer.
// sh samples/run.sh unix_echo_server [PATH]
//
// Limits: 200 clients at once, each of which may be silent for a minute.
#include <chrono>
#include <csignal>
#include <iostream>
#include <thinsock/cancel.hpp>
#include <thinsock/socketserver.hpp>
using namespace std::chrono_literals;

struct Echo : thinsock::BaseRequestHandler {
  void handle() override {
    for (std::string data; !(data = request.recv(1024)).empty();) request.sendall(data);
  }
};

int main(int argc, char** argv) try {
  const std::string path = argc > 1 ? argv[1] : "/tmp/unix_echo.sock";

  const thinsock::CancelScope ctrl_c({SIGINT, SIGTERM});
  thinsock::ThreadingUnixStreamServer server(path, thinsock::handler<Echo>,
                                             {.replace_stale_path = true,
                                              .idle_timeout = 60s,
                                              .daemon_threads = true,
                                              .max_threads = 200});
  std::cout << "listening on " << server.server_address << std::endl;
  server.serve_forever();
} catch (const std::logic_error&) {
  return std::cerr << "usage: unix_echo_server [PATH]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// listening on /tmp/unix_echo.sock
