// The servers, of every kind: who answers, in which order the hooks are called, and how it all
// ends.
#include "thinsock/socketserver.hpp"

#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <future>
#include <map>
#include <memory>
#include <mutex>

#include "support.hpp"
#include "thinsock/cancel.hpp"

using namespace test;
using namespace thinsock;
using std::errc;

namespace {

struct Echo : BaseRequestHandler {
  void handle() override {
    if (request.type() == SOCK_DGRAM) return reply(packet);
    for (std::string data; !(data = request.recv(1024)).empty();) request.sendall(data);
  }
};

// The thread that serves, until the end of the scope.
class Service {
 public:
  explicit Service(BaseServer& server) : server_(server) {}
  ~Service() { stop(); }
  void stop() {
    server_.shutdown();
    if (thread_.joinable()) thread_.join();
  }

 private:
  BaseServer& server_;
  std::thread thread_{[this] { server_.serve_forever(); }};
};

Socket client_of(const TCPServer& server) {
  Socket sk = patient(Socket(server.address_family(), server.socket_type()));
  if (server.address_family() == AF_UNIX && sk.type() == SOCK_DGRAM) sk.bind("");
  sk.connect(server.server_address);
  return sk;
}

std::string echoed(const Socket& client, const std::string& text) {
  Socket sk = patient(client.dup());
  sk.sendall(text);
  return sk.recv(1024);
}

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
    Service service(placed.server);
    for (const char* text : {"one", "two", "three"}) {
      Socket client = client_of(placed.server);
      REQUIRE(echoed(client, text) == text);
      client.shutdown(SHUT_WR);  // A child of this process has a copy that stays open.
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
  Service service(server);
  REQUIRE(echoed(client_of(server), "abc") == "abc");
}

TEST_CASE("a shutdown after the end leaves nothing behind", "[socketserver][shutdown]") {
  TCPServer server({"127.0.0.1", 0}, handler<Echo>);
  Service(server).stop();
  server.shutdown();
  server.request_shutdown();
  Service service(server);
  REQUIRE(echoed(client_of(server), "abc") == "abc");
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
  server.serve_forever();  // Its handler is blocked on the client.
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
  REQUIRE(echoed(client_of(server), "abc") == "abc");
}

TEST_CASE("one thread serves at a time", "[socketserver][serve_forever]") {
  TCPServer server({"127.0.0.1", 0}, handler<Echo>);
  Service service(server);
  REQUIRE(echoed(client_of(server), "abc") == "abc");
  REQUIRE(code_of([&] { server.handle_request(); }) == errc::device_or_resource_busy);
}

TEST_CASE("a closed server serves nobody", "[socketserver][server_close]") {
  TCPServer server({"127.0.0.1", 0}, handler<Echo>);
  const Address address = server.server_address;
  server.server_close();
  server.server_close();
  server.serve_forever();
  server.serve_forever();
  REQUIRE(code_of([&] { server.handle_request(); }) == errc::bad_file_descriptor);
  REQUIRE(code_of([&] { create_connection(address, kPatience); }) == errc::connection_refused);
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
    std::vector<std::unique_ptr<Service>> services;
    for (int j = 0; j < 20; ++j) {
      servers.push_back(std::make_unique<TCPServer>(AddressLike("127.0.0.1", 0), handler<Echo>));
      services.push_back(std::make_unique<Service>(*servers.back()));
    }
    services.clear();
  }
}

TEST_CASE("server_close cuts an idle client off after shutdown_timeout",
          "[socketserver][server_close]") {
  ThreadingTCPServer server({"127.0.0.1", 0}, handler<Echo>, {.shutdown_timeout = 50ms});
  std::jthread loop([&] { server.serve_forever(); });
  Socket client = client_of(server);
  REQUIRE(echoed(client, "abc") == "abc");
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
      Service service(server);
      client = client_of(server);
      REQUIRE(echoed(client, "abc") == "abc");
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
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], 2);
    std::signal(SIGABRT, SIG_DFL);
    {
      Derived server({"127.0.0.1", 0}, handler<Echo>);
      const Socket client = client_of(server);
      server.handle_request();
    }
    ::_exit(0);
  }
  ::close(ends[1]);
  std::string said;
  char piece[256];
  for (ssize_t size; (size = ::read(ends[0], piece, sizeof piece)) > 0;)
    said.append(piece, static_cast<std::size_t>(size));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  CAPTURE(said);
  REQUIRE(said.find("server_close()") != said.npos);
  REQUIRE(WIFSIGNALED(status));
}

TEST_CASE("at max_threads clients wait until there is room", "[socketserver][max_threads]") {
  ThreadingTCPServer server({"127.0.0.1", 0}, handler<Echo>, {.max_threads = 2});
  Service service(server);
  Socket one = client_of(server), two = client_of(server), three = client_of(server);
  REQUIRE(echoed(one, "1") == "1");
  REQUIRE(echoed(two, "2") == "2");
  three.send("3");
  three.settimeout(30ms);
  REQUIRE_THROWS_AS(three.recv(1), TimeoutError);
  one.close();
  REQUIRE(patient(std::move(three)).recv(1) == "3");
}

TEST_CASE("at max_threads clients may be refused", "[socketserver][handle_overload]") {
  struct Server : ThreadingTCPServer {
    using ThreadingTCPServer::ThreadingTCPServer;
    void handle_overload(Request& request, const Address&) override {
      request.socket.sendall("full");
    }
  };
  Server server({"127.0.0.1", 0}, handler<Echo>, {.max_threads = 1, .refuse_at_limit = true});
  Service service(server);
  Socket one = client_of(server);
  REQUIRE(echoed(one, "1") == "1");
  REQUIRE(client_of(server).recv(9) == "full");
  one.close();
}

TEST_CASE("an exception of verify_request closes its request alone",
          "[socketserver][errors][native]") {
  struct Server : TCPServer {
    using TCPServer::TCPServer;
    bool verify_request(Request&, const Address&) override {
      if (++asked == 1) throw 42;
      return true;
    }
    void handle_error(Request&, const Address&) override { ++errors; }
    int asked = 0, errors = 0;
  };
  Server server({"127.0.0.1", 0}, handler<Echo>);
  {
    Service service(server);
    REQUIRE(client_of(server).recv(1).empty());
    REQUIRE(echoed(client_of(server), "abc") == "abc");
  }
  REQUIRE(server.errors == 1);
}

TEST_CASE("a server without descriptors says so once and recovers",
          "[socketserver][errors][native]") {
  struct Server : TCPServer {
    using TCPServer::TCPServer;
    void handle_error(Request&, const Address& client) override {
      if (client.size() == 0) ++reports;
    }
    void service_actions() override { ++turns; }
    std::atomic<int> reports = 0, turns = 0;
  };
  const auto wait_for = [](const std::atomic<int>& turns, int count) {
    const Stopwatch watch;
    while (turns < count && watch.elapsed() < kPatience) std::this_thread::yield();
  };
  Server server({"127.0.0.1", 0}, handler<Echo>, {.idle_timeout = kPatience});
  Socket client = patient(Socket());
  Service service(server);
  REQUIRE(echoed(client_of(server), "abc") == "abc");
  wait_for(server.turns, 1);  // Its descriptor is free again.
  {
    const DescriptorLimit none(0);
    client.connect(server.server_address);
    wait_for(server.turns, 4);
  }
  REQUIRE(echoed(client, "abc") == "abc");
  REQUIRE(server.reports == 1);
  client.close();
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
    Service service(server);
    Socket client = client_of(server);
    REQUIRE(echoed(client, "abc") == "abc");
    REQUIRE(client.recv(1).empty());
  }
  REQUIRE(server.late == 1);
}
