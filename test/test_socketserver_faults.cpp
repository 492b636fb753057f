// What clients, handlers and the system do to servers, and that these survive it.
#include <malloc.h>

#include <atomic>
#include <ctime>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <sstream>

#include "support.hpp"
#include "thinsock/message.hpp"
#include "thinsock/socketserver.hpp"

using namespace test;
using namespace thinsock;

namespace {

struct Echo : BaseRequestHandler {
  void handle() override {
    for (std::string data; !(data = request.recv(1024)).empty();) request.sendall(data);
  }
};

// A threading server that serves until the end of the scope.
class Served {
 public:
  explicit Served(RequestHandler run, ServerOptions options = {}) : server_(run, options) {}
  ~Served() { stop(); }
  void stop() {
    server_.shutdown();
    if (thread_.joinable()) thread_.join();
  }
  Socket client() const { return create_connection(server_.server_address, kPatience); }
  bool answers() const {
    Socket sk = client();
    sk.sendall("abc");
    return sk.recv(9) == "abc";
  }
  std::vector<std::string> errors() {
    stop();
    return server_.errors;
  }
  ThreadingTCPServer& server() { return server_; }

 private:
  struct Server : ThreadingTCPServer {
    Server(RequestHandler run, const ServerOptions& given)
        : ThreadingTCPServer({"127.0.0.1", 0}, std::move(run), given) {}
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

  Server server_;
  std::thread thread_{[this] { server_.serve_forever(); }};
};

void reset(Socket sk) {
  sk.set_linger(0s);
  sk.close();
}

// What the process writes to standard error meanwhile.
std::string printed(const std::function<void()>& action) {
  const TempDir dir;
  const Descriptor file(::open((dir / "err").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const Descriptor before(::fcntl(2, F_DUPFD_CLOEXEC, 0));
  ::dup2(file.fileno(), 2);
  action();
  ::dup2(before.fileno(), 2);
  std::ostringstream text;
  text << std::ifstream(dir / "err").rdbuf();
  return text.str();
}

// Does something in the midst of one of its hooks.
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

TEST_CASE("an error is one line, and a client that vanished none", "[socketserver][handle_error]") {
  const auto serve = [](RequestHandler run, const std::function<void(Socket)>& act) {
    TCPServer server({"127.0.0.1", 0}, std::move(run));
    act(create_connection(server.server_address, kPatience));
    server.handle_request();
  };
  Address client;
  const std::string text = printed([&] {
    serve([](Socket&, const Address&) { throw std::runtime_error("reason"); },
          [&](const Socket& sk) { client = sk.getsockname(); });
  });
  REQUIRE(text == "socketserver: " + client.str() + ": reason\n");
  REQUIRE(printed([&] { serve(handler<Echo>, [](Socket sk) { reset(std::move(sk)); }); }).empty());
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
  served.stop();
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
  const Stopwatch watch;
  while (answered < 300 && watch.elapsed() < kPatience) std::this_thread::yield();
  served.stop();
  served.server().server_close();
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
        clients.push_back(create_connection(server.server_address, kPatience));
        clients.back().sendall("abc");
        REQUIRE(clients.back().recv(9) == "abc");
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
                                bystander.client.recv(1);
                              },
                              {.daemon_threads = true});
    const Socket client = create_connection(server.server_address, kPatience);
    server.handle_request();
    REQUIRE(bystander.server.recv(1) == "x");
    std::jthread closer([&] { server.server_close(); });
    bystander.server.send("y");
  }
  bystander.server.send("z");
  REQUIRE(bystander.client.recv(1) == "z");
}

TEST_CASE("a thread that cannot be had is an error of its request", "[socketserver][errors]") {
  Served served(handler<Echo>, {.thread_stack_size = std::size_t(1) << 60});
  REQUIRE(served.client().recv(1).empty());
  REQUIRE(served.client().recv(1).empty());
  REQUIRE(served.errors().size() == 2);
}

TEST_CASE("nothing grows with the number of past requests", "[socketserver][native]") {
  Served served(handler<Echo>);
  const auto serve = [&](int count) {
    for (int i = 0; i < count; ++i) REQUIRE(served.answers());
    return footprint();
  };
  const Footprint before = serve(500), after = serve(4500);
  // A client does not wait for its thread to be done: the next one may find it busy.
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
  // Twice: a second attempt at what has failed fails too.
  const auto fail = [&](BaseServer&) {
    if (++failures <= 2) throw std::runtime_error("reason");
  };
  During<TestType> server(hook, fail, handler<Echo>);
  auto loop = std::async(std::launch::async, [&] { server.serve_forever(); });
  std::string got;
  const Outcome outcome = outcome_of([&] {
    for (int i = 0; i < 3; ++i) {
      Socket client = create_connection(server.server_address, kPatience);
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
  Socket client = create_connection(server.server_address, kPatience);
  server.serve_forever();
  REQUIRE(server.fileno() == -1);
  REQUIRE(client.recv(1).empty());
}

TEST_CASE("what handle_error throws leaves serve_forever, and the request is closed",
          "[socketserver][handle_error]") {
  During<TCPServer> server(
      "handle_error", [](BaseServer&) { throw 'x'; }, [](Socket&, const Address&) { throw 42; });
  Socket client = create_connection(server.server_address, kPatience);
  REQUIRE_THROWS_AS(server.serve_forever(), char);
  REQUIRE(client.recv(1).empty());
}

TEST_CASE("what handle_error throws in a thread is printed", "[socketserver][handle_error]") {
  std::string answer = "none";
  const std::string text = printed([&] {
    During<ThreadingTCPServer> server(
        "handle_error", [](BaseServer&) { throw std::runtime_error("reason"); },
        [](Socket&, const Address&) { throw 42; });
    Socket client = create_connection(server.server_address, kPatience);
    server.handle_request();
    answer = client.recv(1);
    server.server_close();
  });
  REQUIRE(answer.empty());
  REQUIRE(text.find(": reason\n") != text.npos);
}

TEST_CASE("nothing is printed of clients that reset in the midst of a reply",
          "[socketserver][handle_error]") {
  REQUIRE(printed([&] {
            TCPServer server({"127.0.0.1", 0}, [](Socket& sk, const Address&) {
              sk.sendall(std::string(16 << 20, 'x'));
            });
            std::jthread client([&] {
              Socket sk = create_connection(server.server_address, kPatience);
              sk.recv(1);
              reset(std::move(sk));
            });
            server.handle_request();
          }).empty());
}

TEST_CASE("nothing is printed of a client that has reset before it is shut down",
          "[socketserver][handle_error]") {
  REQUIRE(printed([&] {
            TCPServer server({"127.0.0.1", 0}, [](Socket& sk, const Address&) {
              REQUIRE_THROWS_AS(sk.recv(1), Error);
              sk.shutdown(SHUT_WR);
            });
            reset(create_connection(server.server_address, kPatience));
            server.handle_request();
          }).empty());
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

TEST_CASE("a server without descriptors sleeps", "[socketserver][errors][native]") {
  Milliseconds used{};
  std::atomic<int> reports = 0;
  During<ThreadingTCPServer> server(
      "handle_error", [&](BaseServer&) { ++reports; }, handler<Echo>);
  Socket client = patient(Socket());
  auto loop = std::async(std::launch::async, [&] {
    const Milliseconds before = cpu_time();
    server.serve_forever();
    used = cpu_time() - before;
  });
  {
    const DescriptorLimit none(0);
    client.connect(server.server_address);
    client.sendall("abc");
    client.settimeout(400ms);
    CHECK_THROWS_AS(client.recv(9), TimeoutError);
  }
  client.settimeout(kPatience);
  CHECK(client.recv(9) == "abc");
  client.close();
  server.shutdown();
  loop.get();
  CHECK(used < 100ms);
  CHECK(reports == 1);
}

TEST_CASE("so do the threads that wait for requests", "[socketserver][errors][native]") {
  ThreadingTCPServer server({"127.0.0.1", 0}, handler<Echo>);
  auto loop = std::async(std::launch::async, [&] { server.serve_forever(); });
  std::vector<Socket> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(patient(create_connection(server.server_address)));
    clients.back().sendall("x");
    CHECK(clients.back().recv(1) == "x");
  }
  Socket client = patient(Socket());
  {
    const DescriptorLimit none(0);
    client.connect(server.server_address);
    client.sendall("abc");
    client.settimeout(400ms);
    const std::clock_t before = std::clock();
    CHECK_THROWS_AS(client.recv(9), TimeoutError);
    CHECK(std::clock() - before < CLOCKS_PER_SEC / 10);
  }
  client.settimeout(kPatience);
  CHECK(client.recv(9) == "abc");
  clients.clear();
  client.close();
  server.shutdown();
}
