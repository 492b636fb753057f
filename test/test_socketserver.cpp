// Servers of every kind: that they answer, and how they are shut down and closed.
#include "thinsock/socketserver.hpp"

#include <map>
#include <memory>

#include "child.hpp"
#include "handlers.hpp"
#include "thinsock/cancel.hpp"

using namespace test;
using namespace thinsock;
using std::errc;

namespace {

// A server on a free port or path.
template <class Server>
struct Placed {
  explicit Placed(RequestHandler run, const ServerOptions& options = {})
      : server(is_unix ? AddressLike(path) : AddressLike("127.0.0.1", 0), std::move(run), options) {
  }
  static constexpr bool is_unix =
      std::is_base_of_v<UnixStreamServer, Server> || std::is_base_of_v<UnixDatagramServer, Server>;
  TempDir dir;
  std::string path = dir / "sock";
  Server server;
};

}  // namespace

TEMPLATE_TEST_CASE("echoes for three clients each", "[socketserver][native]", TCPServer, UDPServer,
                   UnixStreamServer, UnixDatagramServer, ThreadingTCPServer, ThreadingUDPServer,
                   ThreadingUnixStreamServer, ThreadingUnixDatagramServer, ForkingTCPServer,
                   ForkingUDPServer, ForkingUnixStreamServer, ForkingUnixDatagramServer) {
  Placed<TestType> placed(handler<Echo>);
  {
    Serving serving(placed.server);
    for (const char* text : {"one", "two", "three"}) {
      Socket client = client_of(placed.server);
      REQUIRE(answer_to(client, text) == text);
      client.shutdown(SHUT_WR);  // A child process still has a copy.
    }
  }
  REQUIRE(placed.server.server_close() == 0);
  REQUIRE(placed.server.fileno() == -1);
}

TEST_CASE("a shutdown before serve_forever ends the first one alone", "[socketserver][shutdown]") {
  TCPServer server({"127.0.0.1", 0}, handler<Echo>);
  server.shutdown();
  server.shutdown();
  server.serve_forever();
  Serving serving(server);
  REQUIRE(answer_to(client_of(server), "abc") == "abc");
}

TEST_CASE("a shutdown after the end leaves nothing behind", "[socketserver][shutdown]") {
  TCPServer server({"127.0.0.1", 0}, handler<Echo>);
  Serving(server).stop();
  server.shutdown();
  server.request_shutdown();
  Serving serving(server);
  REQUIRE(answer_to(client_of(server), "abc") == "abc");
}

TEMPLATE_TEST_CASE("a handler may shut the server down, and close it", "[socketserver][shutdown]",
                   TCPServer, ThreadingTCPServer) {
  TestType server({"127.0.0.1", 0}, [](RequestContext& context) {
    context.server.shutdown();
    context.server.server_close();
    context.reply("bye");
  });
  Socket client = client_of(server);
  server.serve_forever();
  REQUIRE(client.recv(9) == "bye");
  REQUIRE(server.fileno() == -1);
}

TEST_CASE("a signal handler may shut the server down", "[socketserver][request_shutdown]") {
  static std::atomic<BaseServer*> running;
  TCPServer server({"127.0.0.1", 0}, handler<Echo>, {.shutdown_timeout = 0s});
  running = &server;
  struct sigaction action {
  }, before;
  action.sa_handler = [](int) { running.load()->request_shutdown(); };
  ::sigaction(SIGUSR2, &action, &before);
  Socket client = client_of(server);
  client.send("x");
  pthread_t target = ::pthread_self();
  std::jthread sender([&] {
    client.recv(1);
    ::pthread_kill(target, SIGUSR2);
  });
  server.serve_forever();  // It is blocked in its handler when the signal comes.
  sender.join();
  ::sigaction(SIGUSR2, &before, nullptr);
  REQUIRE(client.recv(1).empty());
}

TEST_CASE("the stop of a CancelScope ends serve_forever", "[socketserver][cancel]") {
  ThreadingTCPServer server({"127.0.0.1", 0}, handler<Echo>);
  std::jthread loop([&](std::stop_token token) {
    const CancelScope scope(token);
    server.serve_forever();
  });
  REQUIRE(answer_to(client_of(server), "abc") == "abc");
}

TEST_CASE("one thread serves at a time", "[socketserver][serve_forever]") {
  TCPServer server({"127.0.0.1", 0}, handler<Echo>);
  Serving serving(server);
  REQUIRE(answer_to(client_of(server), "abc") == "abc");
  REQUIRE(code_of([&] { server.handle_request(); }) == errc::device_or_resource_busy);
  CHECK_THROWS_WITH(server.serve_forever(), Catch::Contains("another thread serves"));
}

TEST_CASE("a closed server serves nobody", "[socketserver][server_close]") {
  TCPServer server({"127.0.0.1", 0}, handler<Echo>);
  const Address address = server.server_address;
  server.server_close();
  server.server_close();
  server.serve_forever();
  server.serve_forever();
  REQUIRE(code_of([&] { server.handle_request(); }) == errc::bad_file_descriptor);
  REQUIRE(code_of([&] { (void)create_connection(address, kPatience); }) ==
          errc::connection_refused);
}

TEST_CASE("a server is closed beside a thread that calls handle_request for ever",
          "[socketserver][server_close]") {
  for (int i = 0; i < 100; ++i) {
    TCPServer server({"127.0.0.1", 0}, handler<Echo>);
    std::jthread loop([&] {
      while (!code_of([&] { server.handle_request(); })) continue;
    });
    client_of(server);
    server.server_close();
  }
}

TEST_CASE("twenty servers start and stop at once, fifty times", "[socketserver][shutdown]") {
  for (int i = 0; i < 50; ++i) {
    std::vector<std::unique_ptr<TCPServer>> servers;
    std::vector<std::unique_ptr<Serving>> loops;
    for (int j = 0; j < 20; ++j) {
      servers.push_back(std::make_unique<TCPServer>(AddressLike("127.0.0.1", 0), handler<Echo>));
      loops.push_back(std::make_unique<Serving>(*servers.back()));
    }
    loops.clear();
  }
}

TEST_CASE("server_close cuts an idle client off after shutdown_timeout",
          "[socketserver][server_close]") {
  ThreadingTCPServer server({"127.0.0.1", 0}, handler<Echo>, {.shutdown_timeout = 50ms});
  const Serving serving(server);
  Socket client = client_of(server);
  REQUIRE(answer_to(client, "abc") == "abc");
  const Stopwatch watch;
  REQUIRE(server.server_close() == 1);
  REQUIRE(watch.elapsed() >= 50ms);
  REQUIRE(client.recv(1).empty());
}

TEST_CASE("serve_forever ends after its requests", "[socketserver][serve_forever]") {
  struct Server : ThreadingTCPServer {
    using ThreadingTCPServer::ThreadingTCPServer;
    void shutdown_request(Request& request) override {
      ThreadingTCPServer::shutdown_request(request);
      ++ended["request"];
    }
    std::map<std::string, int> ended;
  };
  for (int i = 0; i < 50; ++i) {
    Socket client{std::nullopt};
    Server server({"127.0.0.1", 0}, handler<Echo>);
    {
      Serving serving(server);
      client = client_of(server);
      REQUIRE(answer_to(client, "abc") == "abc");
      server.shutdown();
      client.close();
    }
    REQUIRE(server.ended["request"] == 1);
  }
}

TEST_CASE("a derived server that is destroyed too early ends the program",
          "[socketserver][native]") {
  struct Derived : ThreadingTCPServer {
    using ThreadingTCPServer::ThreadingTCPServer;
    std::string member = "used by a handler";
  };
  const std::string output = output_of([] {
    {
      Derived server({"127.0.0.1", 0}, handler<Echo>);
      const Socket client = client_of(server);
      server.handle_request();
    }
    std::cout << "survived";
  });
  CAPTURE(output);
  REQUIRE(output.find("server_close()") != output.npos);
  REQUIRE(output.find("survived") == output.npos);
}

TEST_CASE("at max_threads clients wait until there is room", "[socketserver][max_threads]") {
  ThreadingTCPServer server({"127.0.0.1", 0}, handler<Echo>, {.max_threads = 2});
  Serving serving(server);
  Socket one = client_of(server), two = client_of(server), three = client_of(server);
  REQUIRE(answer_to(one, "1") == "1");
  REQUIRE(answer_to(two, "2") == "2");
  three.send("3");
  three.settimeout(30ms);
  REQUIRE_THROWS_AS(three.recv(1), TimeoutError);
  one.close();
  REQUIRE(patient(std::move(three)).recv(1) == "3");
}

TEST_CASE("requests on time are told from slow ones", "[socketserver][request_timeout]") {
  struct Server : TCPServer {
    using TCPServer::TCPServer;
    void handle_error(Request&, const Address&) override {
      try {
        throw;
      } catch (const TimeoutError&) {
        ++late;
      }
    }
    std::atomic<int> late = 0;
  };
  const bool whole = GENERATE(true, false);
  ServerOptions options{.idle_timeout = 40ms};
  if (whole) options = {.request_timeout = 40ms};
  Server server({"127.0.0.1", 0}, handler<Echo>, options);
  {
    Serving serving(server);
    Socket client = client_of(server);
    REQUIRE(answer_to(client, "abc") == "abc");
    REQUIRE(client.recv(1).empty());
  }
  REQUIRE(server.late == 1);
}
