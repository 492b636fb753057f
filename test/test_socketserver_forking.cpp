// Servers with a process for each request: what a process shares with its server, and what it does
// not.
#include <future>
#include <optional>
#include <stop_token>

#include "processes.hpp"
#include "thinsock/cancel.hpp"

using namespace test;
using std::errc;
using thinsock::CancelScope;
using thinsock::ForkingUDPServer;
using thinsock::ForkingUnixStreamServer;
using thinsock::RequestContext;
using thinsock::Timeout;

namespace {

// Serves in a scope that is ended by a stop or by a timeout.
auto in_scope(BaseServer& server, std::stop_source& source, Timeout timeout = std::nullopt) {
  return [&server, token = source.get_token(), timeout] {
    const CancelScope scope(token, timeout);
    server.serve_forever();
  };
}

}  // namespace

TEST_CASE("each request has a process of its own", "[socketserver][forking][native]") {
  ForkingTCPServer server(kLoopback, tell_pid_and_wait, kOptions);
  Served one(server), two(server);
  REQUIRE(server.active_children() == std::vector{one.pid, two.pid});
  REQUIRE(one.pid != two.pid);
  REQUIRE(one.pid != ::getpid());
}

TEST_CASE("a datagram is answered by a process", "[socketserver][forking][native]") {
  ForkingUDPServer server(
      AddressLike("", 0),
      [](RequestContext& context) { context.reply(std::to_string(::getpid()) + context.packet); },
      kOptions);
  Socket client = patient(Socket(AF_INET, SOCK_DGRAM));
  client.connect(Address("127.0.0.2", server.server_address.port()));
  client.send(" x");
  server.handle_request();
  const std::string answer = client.recv(100);
  REQUIRE(answer.ends_with(" x"));
  REQUIRE_FALSE(answer.starts_with(std::to_string(::getpid()) + " "));
}

TEST_CASE("a process ends with 0, or with 1 if its handler threw",
          "[socketserver][forking][native]") {
  const bool throws = GENERATE(false, true);
  struct Quiet : ForkingTCPServer {
    using ForkingTCPServer::ForkingTCPServer;
    void handle_error(Request&, const Address&) override {}
  } server(
      kLoopback,
      [&](Socket& request, const Address& client) {
        tell_pid(request, client);
        if (throws) throw 1;
      },
      kOptions);
  REQUIRE(Served(server).wait_until_dead() == (throws ? 1 : 0));
}

TEST_CASE("what a handler throws is told in its process", "[socketserver][forking][native]") {
  struct Told : ForkingTCPServer {
    using ForkingTCPServer::ForkingTCPServer;
    void handle_error(Request& request, const Address& client) override {
      ++errors;
      tell_pid(request.socket, client);
    }
    int errors = 0;
  } server(
      kLoopback, [](Socket&, const Address&) { throw 1; }, kOptions);
  Served served(server);
  REQUIRE(served.client.recv(1).empty());
  REQUIRE(served.pid > 0);
  REQUIRE(served.pid != ::getpid());
  REQUIRE(server.errors == 0);
}

TEST_CASE("a process has nothing of its server's but the connection",
          "[socketserver][forking][native]") {
  ForkingTCPServer* self = nullptr;
  const std::size_t before = open_descriptors();
  ForkingTCPServer server(
      kLoopback,
      [&](Socket& request, const Address&) {
        const std::size_t its_own = open_descriptors() - before + self->active_children().size();
        request.sendall(std::to_string(its_own) + '\n');
        request.recv(1);
      },
      kOptions);
  self = &server;
  const Served first(server), second(server);
  // A process has copies of the clients that the test had at the fork, and one connection.
  REQUIRE(first.pid == 1 + 1);
  REQUIRE(second.pid == 2 + 1);
}

TEST_CASE("a process does not keep its server's port", "[socketserver][forking][native]") {
  const ServerOptions options =
      options_with({.allow_reuse_address = true, .block_on_close = false});
  ForkingTCPServer server(kLoopback, tell_pid_and_wait, options);
  const Address address = server.server_address;
  Served served(server);
  server.server_close();
  REQUIRE(patient(Socket()).connect_ex(address) == errc::connection_refused);
  REQUIRE_NOTHROW(ForkingTCPServer(address, tell_pid_and_wait, options));
  REQUIRE(exists(served.pid));
  served.end();
  REQUIRE(::waitpid(served.pid, nullptr, 0) == served.pid);
}

TEST_CASE("a process cannot end its server", "[socketserver][forking][shutdown][native]") {
  using End = void (*)(BaseServer&);
  const auto end = GENERATE(
      as<End>(), [](BaseServer& server) { server.shutdown(); },
      [](BaseServer& server) { server.request_shutdown(); },
      [](BaseServer& server) { server.server_close(); });
  const TempDir dir;
  ForkingUnixStreamServer server(
      dir / "s",
      [end](RequestContext& context) {
        end(context.server);
        tell_pid(context.request, context.client_address);
      },
      kOptions);
  const Serving serving(server);
  for (int i = 0; i < 3; ++i) {
    Socket client = client_of(server);
    REQUIRE(pid_from(client) > 0);
    REQUIRE(client.recv(1).empty());
  }
}

TEST_CASE("a Unix server's path outlives its processes", "[socketserver][forking][native]") {
  const TempDir dir;
  ForkingUnixStreamServer server(dir / "s", tell_pid_and_wait, kOptions);
  for (int i = 0; i < 3; ++i) serve_one(server);
  REQUIRE(std::filesystem::is_socket(dir / "s"));
  server.server_close();
  REQUIRE_FALSE(std::filesystem::exists(dir / "s"));
}

TEST_CASE("what is buffered for output appears once", "[socketserver][forking][native]") {
  const bool synced = GENERATE(true, false);
  const std::string output = output_of([&] {
    std::ios::sync_with_stdio(synced);
    ForkingTCPServer server(
        kLoopback,
        [](Socket&, const Address&) {
          std::printf("[one ");
          std::cout << "[two ";
        },
        kOptions);
    std::printf("(one ");
    std::cout << "(two ";
    const Socket first = client_of(server), second = client_of(server);
    server.handle_request();
    server.handle_request();
    server.server_close();
    std::cout << "end";
  });
  const auto times = [&](const char* word) {
    int count = 0;
    for (std::size_t at = 0; (at = output.find(word, at)) != std::string::npos; ++at) ++count;
    return count;
  };
  REQUIRE(times("(one") == 1);
  REQUIRE(times("(two") == 1);
  REQUIRE(times("[one") == 2);
  REQUIRE(times("[two") == 2);
}

// A thread that waits in std::getchar or for std::cin holds the lock of stdin.
TEST_CASE("a thread that waits for input does not stop the server",
          "[socketserver][forking][native]") {
  ForkingTCPServer server(kLoopback, tell_pid, kOptions);
  std::promise<void> waits, comes;
  std::thread reader([&, input = comes.get_future()]() mutable {
    ::flockfile(stdin);
    waits.set_value();
    input.wait();
    ::funlockfile(stdin);
  });
  waits.get_future().wait();
  Socket client = client_of(server);
  auto handled = std::async(std::launch::async, [&] { server.handle_request(); });
  const bool at_once = handled.wait_for(kPatience / 2) == std::future_status::ready;
  comes.set_value();
  reader.join();
  handled.get();
  REQUIRE(at_once);
}

TEST_CASE("the end of the loop's scope is not that of its processes' requests",
          "[socketserver][forking][cancel][native]") {
  ForkingTCPServer server(
      kLoopback,
      [](Socket& request, const Address&) {
        request.sendall("begun");
        const Milliseconds before = cpu_time();
        request.recv(1);
        const bool asleep = cpu_time() - before < 100ms;
        request.sendall(asleep ? "slept" : "spun ");
      },
      kOptions);
  const bool by_time = GENERATE(false, true);
  Socket client = client_of(server);
  std::stop_source source;
  const Timeout timeout = by_time ? Timeout(50ms) : Timeout();
  const Serving serving(server, in_scope(server, source, timeout));
  const std::string begun = client.recv_exactly(5);
  if (!by_time) source.request_stop();
  pause_for(400ms);
  client.sendall("x");
  REQUIRE(client.recv(9) == "slept");
}

TEST_CASE("a stop in a process does not reach its server",
          "[socketserver][forking][cancel][native]") {
  std::stop_source source;
  ForkingTCPServer server(
      kLoopback,
      [&](Socket& request, const Address& client) {
        tell_pid(request, client);
        source.request_stop();
      },
      kOptions);
  Serving serving(server, in_scope(server, source));
  for (int i = 0; i < 2; ++i) {
    Socket client = client_of(server);
    REQUIRE(pid_from(client) > 0);
  }
  pause_for(400ms);
  REQUIRE(serving.stop() < 100ms);
}

TEST_CASE("a server sleeps though another process has a copy of a child's pidfd",
          "[socketserver][forking][native]") {
  struct Copied : ForkingTCPServer {
    using ForkingTCPServer::ForkingTCPServer;
    void process_request(Request& request, const Address& client) override {
      ForkingTCPServer::process_request(request, client);
      holder = ::fork();
      if (holder == 0) ::pause();
    }
    pid_t holder = 0;
  } server(kLoopback, tell_pid_and_wait, kOptions);
  std::clock_t used = 0;  // Processor time.
  {
    const Serving serving(server);
    Socket client = client_of(server);
    pid_from(client);
    ::shutdown(client.fileno(), SHUT_WR);
    CHECK(childless_in_time(server, true));
    used = std::clock();
    pause_for(100ms);
    used = std::clock() - used;
  }
  ::kill(server.holder, SIGKILL);
  ::waitpid(server.holder, nullptr, 0);
  REQUIRE(used < CLOCKS_PER_SEC / 20);
}
