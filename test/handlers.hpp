// What the tests of handlers share: servers that run one for a client.
#pragma once

#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "support.hpp"
#include "thinsock/socketserver.hpp"

namespace test {

using thinsock::Address;
using thinsock::AddressLike;
using thinsock::BaseServer;
using thinsock::Request;
using thinsock::RequestHandler;
using thinsock::ServerOptions;

inline const ServerOptions kOptions{.timeout = kPatience, .idle_timeout = kPatience};

// Keeps what its handlers threw.
struct Server : thinsock::TCPServer {
  explicit Server(RequestHandler run, ServerOptions options = kOptions)
      : thinsock::TCPServer(AddressLike("127.0.0.1", 0), std::move(run), options) {}
  void handle_error(Request&, const Address&) override { error = std::current_exception(); }

  std::exception_ptr error;
  std::string name = "derived";
};

// What the client gets from a handler, which runs in this thread once the client has sent.
inline std::string answer(BaseServer& server, std::string_view data = "", bool shut = true) {
  Socket client = patient(Socket());
  client.connect(server.server_address);
  client.sendall(data);
  if (shut) client.shutdown(SHUT_WR);
  server.handle_request();
  std::string all;
  for (std::string part; !(part = client.recv(65536)).empty();) all += part;
  return all;
}

inline std::string answer(RequestHandler run, std::string_view data = "") {
  Server server(std::move(run));
  const std::string got = answer(server, data);
  if (server.error) std::rethrow_exception(server.error);
  return got;
}

// The same for a client that shows nothing, or whose handler fails: what that threw.
inline std::exception_ptr error_of(RequestHandler run, std::string_view data = "",
                                   bool vanishes = false) {
  Server server(std::move(run));
  Socket client = patient(Socket());
  client.connect(server.server_address);
  client.sendall(data);
  if (vanishes) client.set_linger(0s), client.close();
  server.handle_request();
  return server.error;
}

// A server of its own thread.
class Serving {
 public:
  explicit Serving(BaseServer& server) : server_(server) {}
  ~Serving() {
    server_.shutdown();
    thread_.join();
  }

 private:
  BaseServer& server_;
  std::thread thread_{[this] { server_.serve_forever(); }};
};

inline std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  return text;
}

// A StreamRequestHandler whose handle is a function.
template <class F>
struct Stream : thinsock::StreamRequestHandler {
  explicit Stream(F function) : function_(std::move(function)) {}
  void handle() override { function_(*this); }

  using StreamRequestHandler::connection;
  using StreamRequestHandler::rfile;
  using StreamRequestHandler::wfile;

 private:
  F function_;
};
template <class F>
RequestHandler stream(F function) {
  return thinsock::handler<Stream<F>>(std::move(function));
}

}  // namespace test
