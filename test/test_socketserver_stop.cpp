// What a stop does to handlers: those that wait for something else than their client, and those
// that have nothing under way.
#include <condition_variable>
#include <future>
#include <mutex>

#include "handlers.hpp"
#include "thinsock/cancel.hpp"

using namespace test;
using std::errc;
using thinsock::BaseRequestHandler;
using thinsock::create_connection;
using thinsock::handler;
using thinsock::RequestContext;
using thinsock::TCPServer;
using thinsock::ThreadingTCPServer;
using thinsock::ThreadingUnixDatagramServer;

namespace {

// Longer than a test waits for anything.
constexpr auto kNever = 1h;

std::future<std::size_t> closing(BaseServer& server) {
  return std::async(std::launch::async, [&] { return server.server_close(); });
}

bool done(const std::future<std::size_t>& future, std::chrono::milliseconds time) {
  return future.wait_for(time) == std::future_status::ready;
}

// A connection that nobody answers on.
struct Upstream {
  Socket lst = listener();
  Address address = lst.getsockname();
};

// Greets, then waits for an upstream that says nothing, as a proxy does.
struct Proxy : BaseRequestHandler {
  Proxy(const Upstream& upstream, std::error_code& error) : upstream_(upstream), error_(error) {}
  void handle() override {
    Socket upstream = create_connection(upstream_.address, std::nullopt);
    request.sendall("x");
    try {
      upstream.recv(1);
    } catch (const thinsock::Error& error) {
      error_ = error.code();
      throw;
    }
  }

 private:
  const Upstream& upstream_;
  std::error_code& error_;
};

// Waits for further requests on a kept-alive connection: "work" takes until the client says more.
struct KeepAlive : BaseRequestHandler {
  void handle() override {
    for (;;) {
      set_idle();
      const std::string wish = request.recv(16);
      set_idle(false);
      if (wish.empty()) return;
      request.sendall("begun");
      request.recv(16);
      request.sendall("done");
    }
  }
};

}  // namespace

TEMPLATE_TEST_CASE("a handler that waits for another socket is cut off, too", "[socketserver]",
                   TCPServer, ThreadingTCPServer) {
  const Upstream upstream;
  std::error_code error;
  const ServerOptions options =
      GENERATE(ServerOptions{.shutdown_timeout = 20ms},
               ServerOptions{.shutdown_timeout = kNever, .daemon_threads = true});
  if (options.daemon_threads && std::is_same_v<TestType, TCPServer>) return;
  TestType server(kLoopback, handler<Proxy>(std::cref(upstream), std::ref(error)), options);
  const Serving serving(server);
  Socket client = client_of(server);
  REQUIRE(client.recv(1) == "x");
  std::future<std::size_t> closed = closing(server);
  REQUIRE(done(closed, kPatience));
  REQUIRE(closed.get() == 1);
  REQUIRE(error == errc::operation_canceled);
  REQUIRE(client.recv(1).empty());
}

TEST_CASE("a handler that answers a datagram is cut off", "[socketserver]") {
  std::promise<void> begun;
  std::error_code error;
  ThreadingUnixDatagramServer server("",
                                     [&](RequestContext& context) {
                                       begun.set_value();
                                       try {
                                         for (;;)
                                           context.reply("x");  // Until the client's queue is full.
                                       } catch (const thinsock::Error& failure) {
                                         error = failure.code();
                                         throw;
                                       }
                                     },
                                     {.daemon_threads = true});
  const Serving serving(server);
  Socket client = client_of(server);
  client.sendall("x");
  begun.get_future().get();
  std::future<std::size_t> closed = closing(server);
  REQUIRE(done(closed, kPatience));
  REQUIRE(closed.get() == 1);
  REQUIRE(error == errc::operation_canceled);
}

TEST_CASE("a handler's stop token ends what is no socket", "[socketserver]") {
  bool stopped = false;
  ThreadingTCPServer server(kLoopback,
                            [&](RequestContext& context) {
                              context.reply("x");
                              std::mutex mutex;
                              std::condition_variable_any changed;
                              std::unique_lock lock(mutex);
                              stopped = !changed.wait_for(lock, context.stop_token(), kPatience,
                                                          [] { return false; }) &&
                                        context.stop_token().stop_requested();
                            },
                            {.shutdown_timeout = 20ms});
  {
    const Serving serving(server);
    Socket client = client_of(server);
    REQUIRE(client.recv(1) == "x");
  }
  REQUIRE(stopped);
  SECTION("and the next serve_forever has another one") {
    const Serving serving(server);
    Socket client = client_of(server);
    stopped = false;
    REQUIRE(client.recv(1) == "x");
    REQUIRE_FALSE(stopped);
  }
}

TEMPLATE_TEST_CASE("a connection with nothing under way ends at once", "[socketserver]", TCPServer,
                   ThreadingTCPServer) {
  TestType server(kLoopback, handler<KeepAlive>, {.shutdown_timeout = kNever});
  const Serving serving(server);
  Socket client = client_of(server);
  client.sendall("work");
  REQUIRE(client.recv(16) == "begun");
  client.sendall("more");
  REQUIRE(client.recv(16) == "done");
  std::future<std::size_t> closed = closing(server);
  REQUIRE(done(closed, kPatience));
  REQUIRE(closed.get() == 0);
  REQUIRE(client.recv(16).empty());
}

TEMPLATE_TEST_CASE("a busy connection ends when its work is done", "[socketserver]", TCPServer,
                   ThreadingTCPServer) {
  TestType server(kLoopback, handler<KeepAlive>, {.shutdown_timeout = kNever});
  const Serving serving(server);
  Socket client = client_of(server);
  client.sendall("work");
  REQUIRE(client.recv(16) == "begun");
  std::future<std::size_t> closed = closing(server);
  REQUIRE_FALSE(done(closed, 50ms));
  client.sendall("more");
  REQUIRE(client.recv(16) == "done");
  REQUIRE(done(closed, kPatience));
  REQUIRE(closed.get() == 0);
  REQUIRE(client.recv(16).empty());
}

TEST_CASE("a stop amid the first request ends serve_forever", "[socketserver]") {
  for (int i = 0; i < 300; ++i) {
    ThreadingTCPServer server(kLoopback, handler<Echo>, options_with({.daemon_threads = true}));
    std::stop_source source;
    auto served = std::async(std::launch::async, [&] {
      const thinsock::CancelScope scope(source.get_token());
      server.serve_forever();
    });
    const Socket client = client_of(server);
    if (i % 2 == 0) std::this_thread::yield();
    source.request_stop();
    REQUIRE(served.wait_for(kPatience) == std::future_status::ready);
  }
}

TEST_CASE("a handler on its own connection needs no descriptor to be cut off", "[socketserver]") {
  ThreadingTCPServer server(kLoopback, handler<Echo>, options_with({.daemon_threads = true}));
  const Serving serving(server);
  const Socket client = client_of(server);
  REQUIRE(answer_to(client, "a") == "a");
  const std::size_t before = open_descriptors();
  for (const char* text : {"b", "c"}) REQUIRE(answer_to(client, text) == text);
  pause_for(20ms);  // The handler waits, in poll, for its idle_timeout.
  REQUIRE(open_descriptors() == before);
}
