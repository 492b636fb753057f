// Servers survive what clients, handlers, hooks and the system do to them.
#include <malloc.h>

#include <ctime>
#include <future>
#include <mutex>

#include "child.hpp"
#include "handlers.hpp"
#include "thinsock/message.hpp"

using namespace test;
using namespace thinsock;

// While this is set the thread gets no memory, the library's code neither.
static thread_local bool no_memory = false;

[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  return no_memory ? nullptr : std::malloc(size == 0 ? 1 : size);
}
void* operator new(std::size_t size) {
  if (void* memory = operator new(size, std::nothrow)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }

namespace {

// A server that records the exceptions which handle_error is called for.
struct Recording : ThreadingTCPServer {
  using ThreadingTCPServer::ThreadingTCPServer;
  ~Recording() override { server_close(); }
  void handle_error(Request&, const Address&) override {
    std::string text = "not a std::exception";
    try {
      throw;
    } catch (const std::exception& error) {
      text = error.what();
    } catch (...) {
    }
    const std::lock_guard lock(mutex);
    errors.push_back(text);
  }
  std::mutex mutex;
  std::vector<std::string> errors;
};

// A threading server and the thread that serves, until the end of the scope.
struct Served {
  explicit Served(const RequestHandler& run, const ServerOptions& options = {})
      : server(kLoopback, run, options) {}
  Socket client() const { return client_of(server); }
  bool answers() const { return answer_to(client(), "abc") == "abc"; }
  std::vector<std::string> errors() {
    serving.stop();
    return server.errors;
  }

  Recording server;
  Serving serving{server};
};

// A server that calls an action in one of its hooks.
template <class Base>
struct During : Base {
  using Action = std::function<void(BaseServer&)>;
  During(const char* where, Action what, RequestHandler run)
      : Base(AddressLike("127.0.0.1", 0), std::move(run), {.idle_timeout = kPatience}),
        hook(where),
        action(std::move(what)) {}
  void in(const char* name) {
    if (hook == name) action(*this);
  }
  std::pair<Request, Address> get_request() override {
    return in("get_request"), Base::get_request();
  }
  bool verify_request(Request&, const Address&) override { return in("verify_request"), true; }
  void finish_request(Request& request, const Address& client) override {
    in("finish_request"), Base::finish_request(request, client);
  }
  void shutdown_request(Request& request) override {
    in("shutdown_request"), Base::shutdown_request(request);
  }
  void service_actions() override { in("service_actions"); }
  void handle_error(Request&, const Address&) override { ++reports, in("handle_error"); }

  const std::string hook;
  const Action action;
  std::atomic<int> reports = 0;
};

struct Footprint {
  std::size_t threads, descriptors, bytes;
};

Footprint footprint() {
  using Entries = std::filesystem::directory_iterator;
  const auto threads = std::distance(Entries("/proc/self/task"), Entries());
  return {static_cast<std::size_t>(threads), open_descriptors(), ::mallinfo2().uordblks};
}

}  // namespace

TEST_CASE("a client that connects and closes at once is no error", "[socketserver][errors]") {
  Served served(handler<Echo>);
  for (int i = 0; i < 100; ++i) served.client();
  REQUIRE(served.answers());
  REQUIRE(served.errors().empty());
}

TEST_CASE("a handler may throw anything", "[socketserver][handle_error]") {
  std::atomic<int> count = 0;
  Served served([&](Socket&, const Address&) {
    if (++count == 1) throw std::runtime_error("reason");
    throw 42;
  });
  REQUIRE(served.client().recv(1).empty());
  REQUIRE(served.client().recv(1).empty());
  REQUIRE(served.errors() == std::vector<std::string>{"reason", "not a std::exception"});
}

TEST_CASE("an error is printed on one line", "[socketserver][handle_error]") {
  TCPServer server(kLoopback, [](Socket&, const Address&) { throw std::runtime_error("reason"); });
  const Socket client = client_of(server);
  const std::string line = "socketserver: " + client.getsockname().str() + ": reason\n";
  REQUIRE(output_of([&] { server.handle_request(); }) == line);
}

TEMPLATE_TEST_CASE("a server without memory to report an error goes on",
                   "[socketserver][handle_error][native]", TCPServer, ThreadingTCPServer) {
  const std::string output = output_of([] {
    TestType server(kLoopback, [](Socket& sk, const Address&) {
      const std::string data = sk.recv(9);
      no_memory = true;
      if (data == "fail") throw std::bad_alloc();
      no_memory = false;
      sk.sendall(data);
    });
    const Serving serving(server, [&] {
      server.serve_forever();
      no_memory = false;
    });
    for (int i = 0; i < 3; ++i) {
      client_of(server).sendall("fail");
      expect(answer_to(client_of(server), "hello") == "hello");
    }
  });
  REQUIRE(output == "socketserver: no memory\nsocketserver: no memory\nsocketserver: no memory\n");
}

TEST_CASE("nothing is printed about a client that has gone", "[socketserver][handle_error]") {
  const RequestHandler run =
      GENERATE(as<RequestHandler>(), handler<Echo>,
               stream([](auto& self) { self.rfile.readline(); }), [](Socket& sk, const Address&) {
                 expect(code_of([&] { sk.recv(1); }) == std::errc::connection_reset);
                 sk.shutdown(SHUT_WR);
               });
  in_child([&] {
    TCPServer server(kLoopback, run);
    reset(client_of(server));
    server.handle_request();
  });
}

TEST_CASE("a client that resets in the midst of a reply leaves the others alone",
          "[socketserver][errors]") {
  Served served([](Socket& sk, const Address&) {
    const std::string data = sk.recv(9);
    sk.sendall(data == "abc" ? data : std::string(16 << 20, 'x'));
  });
  for (int i = 0; i < 10; ++i) {
    Socket client = served.client();
    client.sendall("more");
    client.recv(1);
    reset(std::move(client));
  }
  REQUIRE(served.answers());
  for (const std::string& error : served.errors()) CHECK(error.find("send") != error.npos);
}

TEST_CASE("two thousand clients at once are served by 64 threads", "[socketserver][max_threads]") {
  rlimit old{}, limit{};
  ::getrlimit(RLIMIT_NOFILE, &old);
  limit = {std::max<rlim_t>(old.rlim_cur, std::min<rlim_t>(old.rlim_max, 4096)), old.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &limit);
  std::atomic<int> now = 0, most = 0;
  Served served(
      [&](Socket& sk, const Address&) {
        const int mine = ++now;
        for (int seen = most; mine > seen && !most.compare_exchange_weak(seen, mine);) continue;
        sk.sendall(sk.recv(9));
        --now;
      },
      {.max_threads = 64});
  const std::size_t count = std::min<std::size_t>(2000, (limit.rlim_cur - 200) / 2);
  std::vector<Socket> clients;
  while (clients.size() < count) clients.push_back(served.client());
  for (Socket& client : clients) client.sendall("abc");
  std::size_t answered = 0;
  for (Socket& client : clients) answered += client.recv(9) == "abc";
  CHECK(answered == count);
  CHECK(most <= 64);
  clients.clear();
  served.serving.stop();
  ::setrlimit(RLIMIT_NOFILE, &old);
}

TEST_CASE("a shutdown amid a thousand connects loses none silently", "[socketserver][shutdown]") {
  Served served(handler<Echo>);
  std::atomic<int> answered = 0, refused = 0, lost = 0;
  std::vector<std::thread> clients;
  for (int i = 0; i < 10; ++i) {
    clients.emplace_back([&] {
      for (int j = 0; j < 100; ++j) {
        try {
          ++(served.answers() ? answered : refused);
        } catch (const TimeoutError&) {
          ++lost;
        } catch (const Error&) {
          ++refused;
        }
      }
    });
  }
  CHECK(eventually([&] { return answered >= 300; }));
  served.serving.stop();
  served.server.server_close();
  for (std::thread& client : clients) client.join();
  CHECK(lost == 0);
  CHECK(answered + refused == 1000);
}

TEST_CASE("a server that is destroyed amid requests ends them first", "[socketserver]") {
  for (int i = 0; i < 20; ++i) {
    std::vector<Socket> clients;
    std::thread loop;
    {
      ThreadingTCPServer server({"127.0.0.1", 0}, handler<Echo>, {.daemon_threads = true});
      loop = std::thread([&] { server.serve_forever(); });
      for (int j = 0; j < 5; ++j) {
        clients.push_back(client_of(server));
        REQUIRE(answer_to(clients.back(), "abc") == "abc");
      }
    }
    loop.join();
    for (Socket& client : clients) REQUIRE(client.recv(1).empty());
  }
}

TEST_CASE("what a handler did with its descriptor is no target of a cut", "[socketserver]") {
  Pair bystander = unix_pair();
  {
    ThreadingTCPServer server({"127.0.0.1", 0},
                              [&](Socket& sk, const Address&) {
                                const int number = sk.fileno();
                                sk.close();
                                const Descriptor same(::dup2(bystander.client.fileno(), number));
                                bystander.client.send("x");
                                bystander.client.recv(1);  // The cut ends this call.
                              },
                              {.daemon_threads = true});
    const Socket client = client_of(server);
    server.handle_request();
    REQUIRE(bystander.server.recv(1) == "x");
    server.server_close();
  }
  bystander.server.send("z");
  REQUIRE(bystander.client.recv(1) == "z");
}

TEST_CASE("a thread that cannot be had is an error of its request", "[socketserver][errors]") {
  Recording server(kLoopback, handler<Echo>,
                   {.timeout = kPatience, .thread_stack_size = std::size_t(1) << 60});
  Socket client = client_of(server);
  server.handle_request();
  REQUIRE(client.recv(1).empty());
  REQUIRE(server.errors.size() == 1);
}

TEST_CASE("serve_forever throws if it cannot have a first thread", "[socketserver][errors]") {
  Recording server(kLoopback, handler<Echo>, {.thread_stack_size = std::size_t(1) << 60});
  REQUIRE_THROWS_AS(server.serve_forever(), thinsock::Error);
  REQUIRE(server.errors.empty());
}

TEST_CASE("nothing grows with the number of past requests", "[socketserver][native]") {
  Served served(handler<Echo>);
  const auto serve = [&](int count) {
    for (int i = 0; i < count; ++i) REQUIRE(served.answers());
    return footprint();
  };
  const Footprint before = serve(500), after = serve(4500);
  // A client does not wait until its thread is idle, so the next one may need another thread.
  CHECK(after.threads <= before.threads + 20);
  CHECK(after.descriptors <= before.descriptors + 20);
  CHECK(after.bytes < before.bytes + 65536);
}

TEMPLATE_TEST_CASE("what a hook throws goes to handle_error and ends no server",
                   "[socketserver][handle_error]", TCPServer, ThreadingTCPServer) {
  const char* hook = GENERATE("get_request", "verify_request", "finish_request", "shutdown_request",
                              "service_actions");
  INFO(hook);
  std::atomic<int> failures = 0;
  // The hook fails twice, in case the server calls it again after a failure.
  const auto fail = [&](BaseServer&) {
    if (++failures <= 2) throw std::runtime_error("reason");
  };
  During<TestType> server(hook, fail, handler<Echo>);
  auto loop = std::async(std::launch::async, [&] { server.serve_forever(); });
  std::string got;
  const Outcome outcome = outcome_of([&] {
    for (int i = 0; i < 3; ++i) {
      Socket client = client_of(server);
      client.sendall("abc");
      got = client.recv(9);
    }
  });
  server.shutdown();
  CHECK_NOTHROW(loop.get());
  CHECK(outcome.error == std::error_code());
  CHECK(got == "abc");
  CHECK(server.reports > 0);
}

TEMPLATE_TEST_CASE("any hook of a server may close it", "[socketserver][server_close]", TCPServer,
                   ThreadingTCPServer) {
  const char* hook = GENERATE("get_request", "verify_request", "finish_request", "handle_error",
                              "shutdown_request", "service_actions");
  INFO(hook);
  During<TestType> server(
      hook, [](BaseServer& its) { its.server_close(); }, [](Socket&, const Address&) { throw 42; });
  Socket client = client_of(server);
  server.serve_forever();
  REQUIRE(server.fileno() == -1);
  REQUIRE(client.recv(1).empty());
}

TEST_CASE("what handle_error throws leaves serve_forever, and the request is closed",
          "[socketserver][handle_error]") {
  During<TCPServer> server(
      "handle_error", [](BaseServer&) { throw 'x'; }, [](Socket&, const Address&) { throw 42; });
  Socket client = client_of(server);
  REQUIRE_THROWS_AS(server.serve_forever(), char);
  REQUIRE(client.recv(1).empty());
}

TEST_CASE("what handle_error throws for a hook leaves serve_forever of a threading server",
          "[socketserver][handle_error]") {
  struct Refusing : ThreadingTCPServer {
    using ThreadingTCPServer::ThreadingTCPServer;
    ~Refusing() override { server_close(); }
    bool verify_request(Request&, const Address&) override { throw 42; }
    void handle_error(Request&, const Address&) override { throw 'x'; }
  } server(kLoopback, handler<Echo>);
  Socket client = client_of(server);
  REQUIRE_THROWS_AS(server.serve_forever(), char);
  REQUIRE(client.recv(1).empty());
}

TEST_CASE("what handle_error throws in a thread is printed", "[socketserver][handle_error]") {
  const std::string text = output_of([] {
    During<ThreadingTCPServer> server(
        "handle_error", [](BaseServer&) { throw std::runtime_error("reason"); },
        [](Socket&, const Address&) { throw 42; });
    Socket client = client_of(server);
    server.handle_request();
    expect(client.recv(1).empty());
    server.server_close();
  });
  REQUIRE(text.find(": reason\n") != text.npos);
}

TEST_CASE("nothing is printed about a client that resets in the midst of a reply",
          "[socketserver][handle_error]") {
  in_child([] {
    TCPServer server(kLoopback,
                     [](Socket& sk, const Address&) { sk.sendall(std::string(16 << 20, 'x')); });
    std::jthread client([&] {
      Socket sk = client_of(server);
      sk.recv(1);
      reset(std::move(sk));
    });
    server.handle_request();
  });
}

TEST_CASE("a client that drips on is ended by request_timeout", "[socketserver][request_timeout]") {
  Served served(
      [](Socket& sk, const Address&) {
        while (!sk.recv(1024).empty()) continue;
      },
      {.idle_timeout = kPatience, .request_timeout = 150ms});
  Socket client = served.client();
  client.settimeout(10ms);
  const Stopwatch watch;
  Outcome outcome;
  do {
    outcome = outcome_of([&] { client.sendall("x"), client.recv(1); });
  } while (outcome.is_timeout && watch.elapsed() < kPatience);
  CHECK(!outcome.is_timeout);
  CHECK(watch.elapsed() >= 150ms);
  CHECK(served.errors().size() == 1);
}

TEMPLATE_TEST_CASE("a server without descriptors says so once, sleeps, and recovers",
                   "[socketserver][errors][native]", TCPServer, ThreadingTCPServer) {
  During<TestType> server("", {}, handler<Echo>);
  Socket client = patient(Socket());
  Serving serving(server);
  {
    const DescriptorLimit none(0);
    client.connect(server.server_address);
    client.sendall("abc");
    pause_for(400ms);
    CHECK(arrived(client).empty());
  }
  CHECK(client.recv(9) == "abc");
  client.close();
  CHECK(serving.stop() < 100ms);
  CHECK(server.reports == 1);
}

TEST_CASE("threads that wait for requests sleep without descriptors",
          "[socketserver][errors][native]") {
  ThreadingTCPServer server({"127.0.0.1", 0}, handler<Echo>);
  const Serving serving(server);
  std::vector<Socket> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(client_of(server));
    CHECK(answer_to(clients.back(), "x") == "x");
  }
  Socket client = patient(Socket());
  {
    const DescriptorLimit none(0);
    client.connect(server.server_address);
    client.sendall("abc");
    const std::clock_t before = std::clock();
    pause_for(400ms);
    CHECK(std::clock() - before < CLOCKS_PER_SEC / 10);
    CHECK(arrived(client).empty());
  }
  CHECK(client.recv(9) == "abc");
  clients.clear();
  client.close();
}
