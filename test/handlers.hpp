// What the tests of servers share: their threads, their clients, and what a handler answers.
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

inline const AddressLike kLoopback("127.0.0.1", 0);

inline ServerOptions options_with(ServerOptions changed) {
  changed.timeout = changed.idle_timeout = kPatience;
  return changed;
}
inline const ServerOptions kOptions = options_with({});

/// A server on a free port that keeps what its handlers threw.
struct Server : thinsock::TCPServer {
  explicit Server(RequestHandler run, ServerOptions options = kOptions)
      : thinsock::TCPServer(kLoopback, std::move(run), options) {}
  void handle_error(Request&, const Address&) override { error = std::current_exception(); }

  std::exception_ptr error;
  std::string name = "derived";
};

/// A thread that serves, until stop() or the end of the scope.
class Serving {
 public:
  explicit Serving(BaseServer& server) : Serving(server, [&server] { server.serve_forever(); }) {}
  Serving(BaseServer& server, const std::function<void()>& serve)
      : server_(server), thread_([this, serve] { serve(), used_ = cpu_time(); }) {}
  ~Serving() { stop(); }
  /// Returns the processor time that the thread has used.
  Milliseconds stop() {
    if (thread_.joinable()) server_.shutdown(), thread_.join();
    return used_;
  }

 private:
  BaseServer& server_;
  Milliseconds used_{};
  std::thread thread_;
};

inline const RequestHandler kNothing = [](Socket&, const Address&) {};

/// Sends back whatever it receives.
struct Echo : thinsock::BaseRequestHandler {
  void handle() override {
    if (request.type() == SOCK_DGRAM) return reply(packet);
    for (std::string data; !(data = request.recv(1024)).empty();) request.sendall(data);
  }
};

inline Socket client_of(const BaseServer& server) {
  Socket sk = patient(Socket(server.server_address.family(), server.socket_type()));
  // Only a client with a name can be answered by a datagram.
  if (sk.family() == AF_UNIX && sk.type() == SOCK_DGRAM) sk.bind("");
  sk.connect(server.server_address);
  return sk;
}

/// Sends the text and returns the answer. The client stays connected.
inline std::string answer_to(const Socket& client, std::string_view text) {
  Socket sk = patient(client.dup());
  sk.sendall(text);
  return sk.recv(1024);
}

/// Connects a client that sends the data and, if `shut`, its end of file. Returns all that the
/// server answers. The handler runs in this thread.
inline std::string answer(BaseServer& server, std::string_view data = "", bool shut = true) {
  Socket client = client_of(server);
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

/// Returns what the handler threw. If `vanishes`, the client resets the connection before the
/// handler runs.
inline std::exception_ptr error_of(RequestHandler run, std::string_view data = "",
                                   bool vanishes = false) {
  Server server(std::move(run));
  Socket client = client_of(server);
  client.sendall(data);
  if (vanishes) reset(std::move(client));
  server.handle_request();
  return server.error;
}

inline std::string upper(std::string text) {
  for (char& c : text) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  return text;
}

/// A StreamRequestHandler whose handle is a function.
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
