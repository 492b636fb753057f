// Servers with a thread for each request: how many threads there are, and how requests end.
#include <atomic>
#include <fstream>
#include <future>
#include <mutex>
#include <set>

#include "processes.hpp"
#include "thinsock/message.hpp"

using namespace test;
using std::errc;
using thinsock::create_connection;
using thinsock::Descriptor;
using thinsock::Error;
using thinsock::TCPServer;
using thinsock::ThreadingMixIn;
using thinsock::ThreadingTCPServer;
using thinsock::ThreadingUnixStreamServer;

namespace {

// Sends a byte when the request has begun, and ends when the client sends a byte or end of file.
void greet_and_wait(Socket& request, const Address&) {
  request.sendall("x");
  request.recv(1);
}
void greet(Socket& request, const Address&) { request.sendall("x"); }

Socket greeted(const BaseServer& server) {
  Socket client = client_of(server);
  REQUIRE(client.recv(1) == "x");
  return client;
}

// Ends the client's request. After that, the thread of the request is about to become idle.
bool ended_by(Socket& client) {
  client.shutdown(SHUT_WR);
  return client.recv(1).empty();
}

std::size_t threads() {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    if (word == "Threads:" && status >> word) return std::stoul(word);
  }
  return 0;
}

// Waits until the address refuses connections.
bool comes_to_refuse(const Address& address) {
  return eventually([&] {
    return code_of([&] { (void)create_connection(address, kPatience); }) ==
           errc::connection_refused;
  });
}

std::future<std::size_t> closing(BaseServer& server) {
  return std::async(std::launch::async, [&server] { return server.server_close(); });
}

template <class T>
bool ready(const std::future<T>& future) {
  return future.wait_for(0s) == std::future_status::ready;
}

// A server whose hooks use its members, which are destroyed before its base class is.
struct Noting : ThreadingTCPServer {
  using ThreadingTCPServer::ThreadingTCPServer;
  void note(const char* hook) {
    const std::lock_guard lock(mutex);
    notes->insert(hook);
  }
  void finish_request(Request& request, const Address& client) override {
    ThreadingTCPServer::finish_request(request, client);
    note("finish_request");
  }
  void shutdown_request(Request& request) override {
    ThreadingTCPServer::shutdown_request(request);
    note("shutdown_request");
  }
  std::mutex mutex;
  std::unique_ptr<std::multiset<std::string>> notes =
      std::make_unique<std::multiset<std::string>>();
};

}  // namespace

TEST_CASE("a thousand clients one after the other need few threads", "[socketserver][threads]") {
  ThreadingTCPServer server(kLoopback, greet_and_wait, kOptions);
  const Serving serving(server);
  Socket first = greeted(server);
  const std::size_t before = threads();
  REQUIRE(ended_by(first));
  for (int i = 0; i < 1000; ++i) {
    Socket client = greeted(server);
    REQUIRE(ended_by(client));
  }
  REQUIRE(threads() <= before + 10);
}

TEST_CASE("hooks never run at the same time", "[socketserver][threads]") {
  struct Server : ThreadingTCPServer {
    using ThreadingTCPServer::ThreadingTCPServer;
    struct Alone {
      explicit Alone(Server& s) : server(s) { server.overlaps += ++server.inside > 1; }
      ~Alone() { --server.inside; }
      Server& server;
    };
    std::pair<Request, Address> get_request() override {
      const Alone alone(*this);
      return ThreadingTCPServer::get_request();
    }
    bool verify_request(Request&, const Address&) override {
      const Alone alone(*this);
      return ++asked > 0;
    }
    void process_request(Request& request, const Address& client) override {
      const Alone alone(*this);
      ThreadingTCPServer::process_request(request, client);
    }
    void service_actions() override {
      const Alone alone(*this);
      ++serviced;
    }
    std::atomic<int> inside = 0, overlaps = 0;
    int asked = 0, serviced = 0;  // Hooks never run concurrently.
  };
  Server server(kLoopback, greet, kOptions);
  std::thread loop([&] { server.serve_forever(1ms); });
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      for (int j = 0; j < 100; ++j) client_of(server).recv(1);
    });
  }
  for (std::thread& client : clients) client.join();
  server.shutdown();
  loop.join();
  CHECK(server.asked == 400);
  CHECK(server.serviced >= 400);
  CHECK(server.overlaps == 0);
}

TEST_CASE("a hook may hand its request to another thread", "[socketserver][threads]") {
  struct Server : ThreadingTCPServer {
    using ThreadingTCPServer::ThreadingTCPServer;
    void process_request(Request& request, const Address& client) override {
      later = std::thread([this, its = std::make_shared<Request>(std::move(request)), client] {
        ThreadingTCPServer::process_request(*its, client);
      });
      later.join();
    }
    std::thread later;
  };
  Server server(kLoopback, greet, kOptions);
  const Serving serving(server);
  for (int i = 0; i < 10; ++i) greeted(server);
}

TEST_CASE("the hooks of the class that the mix-in is put on are called",
          "[socketserver][threads]") {
  struct Picky : TCPServer {
    using TCPServer::TCPServer;
    bool verify_request(Request&, const Address&) override { return ++asked % 2 == 1; }
    int asked = 0;
  };
  ThreadingMixIn<Picky> server(kLoopback, greet, kOptions);
  const Serving serving(server);
  for (int i = 0; i < 100; ++i) REQUIRE(client_of(server).recv(1) == (i % 2 == 0 ? "x" : ""));
}

TEST_CASE("a client that comes between two serve_forever is served by the second",
          "[socketserver]") {
  ThreadingTCPServer server(kLoopback, greet, kOptions);
  {
    const Serving serving(server);
    for (int i = 0; i < 10; ++i) greeted(server);  // Leaves idle threads.
  }
  Socket client = client_of(server);
  client.settimeout(100ms);
  REQUIRE_THROWS_AS(client.recv(1), thinsock::TimeoutError);
  const Serving serving(server);
  client.settimeout(kPatience);
  REQUIRE(client.recv(1) == "x");
}

TEST_CASE("requests run side by side", "[socketserver][threads]") {
  ThreadingTCPServer server(kLoopback, greet_and_wait, kOptions);
  const Serving serving(server);
  std::vector<Socket> clients;
  while (clients.size() < 20) clients.push_back(greeted(server));  // No request has ended yet.
}

TEST_CASE("clients are refused at the limit, until there is room",
          "[socketserver][handle_overload]") {
  struct Server : ThreadingTCPServer {
    using ThreadingTCPServer::ThreadingTCPServer;
    void handle_overload(Request& request, const Address&) override {
      request.socket.sendall("full");
    }
  };
  Server server(kLoopback, greet_and_wait,
                options_with({.max_threads = 1, .refuse_at_limit = true}));
  const Serving serving(server);
  Socket first = greeted(server);
  REQUIRE(client_of(server).recv(9) == "full");
  REQUIRE(ended_by(first));
  REQUIRE(eventually([&] { return client_of(server).recv(9) == "x"; }));
}

TEST_CASE("shutdown does not wait for requests, which go on", "[socketserver][shutdown]") {
  ThreadingTCPServer server(
      kLoopback,
      [](Socket& request, const Address& client) {
        greet_and_wait(request, client);
        request.sendall("still here");
      },
      kOptions);
  const Serving serving(server);
  Socket client = greeted(server);
  server.shutdown();
  client.sendall("x");
  REQUIRE(client.recv(99) == "still here");
}

TEST_CASE("server_close refuses new clients before it waits for the others",
          "[socketserver][server_close]") {
  ThreadingTCPServer server(kLoopback, greet_and_wait, kOptions);
  const Serving serving(server);
  Socket client = greeted(server);
  std::future<std::size_t> closed = closing(server);
  CHECK(comes_to_refuse(server.server_address));
  CHECK_FALSE(ready(closed));
  CHECK(ended_by(client));
  CHECK(closed.get() == 0);
}

TEST_CASE("server_close waits for what handle_request has begun", "[socketserver][server_close]") {
  bool finished = false;
  ThreadingTCPServer server(
      kLoopback,
      [&](Socket& request, const Address& client) {
        greet_and_wait(request, client);
        finished = true;
      },
      kOptions);
  Socket client = client_of(server);
  server.handle_request();
  REQUIRE(client.recv(1) == "x");
  std::future<std::size_t> closed = closing(server);
  client.close();
  REQUIRE(closed.get() == 0);
  REQUIRE(finished);
}

TEST_CASE("server_close tells how many requests it has cut off", "[socketserver][server_close]") {
  ThreadingTCPServer server(kLoopback, greet_and_wait, options_with({.shutdown_timeout = 20ms}));
  const Serving serving(server);
  Socket one = greeted(server), two = greeted(server), three = greeted(server);
  REQUIRE(ended_by(two));
  REQUIRE(server.server_close() == 2);
  REQUIRE(one.recv(1).empty());
  REQUIRE(three.recv(1).empty());
  REQUIRE(server.server_close() == 2);
}

TEMPLATE_TEST_CASE("daemon_threads leaves requests no time", "[socketserver][daemon_threads]",
                   ThreadingTCPServer, ThreadingUnixStreamServer) {
  const TempDir dir;
  const std::string path = dir / "sock";
  constexpr bool is_unix = std::is_same_v<TestType, ThreadingUnixStreamServer>;
  for (int i = 0; i < 50; ++i) {  // Some rounds close the server while a spare thread starts.
    TestType server(is_unix ? AddressLike(path) : kLoopback, greet_and_wait,
                    options_with({.shutdown_timeout = 1h, .daemon_threads = true}));
    const Serving serving(server);
    Socket client = greeted(server);
    REQUIRE(server.server_close() == 1);
    REQUIRE(client.recv(1).empty());
  }
}

TEST_CASE("threads are waited for though block_on_close is off", "[socketserver][serve_forever]") {
  Noting server(kLoopback, greet_and_wait, options_with({.block_on_close = false}));
  Socket client{std::nullopt};
  {
    const Serving serving(server);
    client = greeted(server);
    server.shutdown();
    client.close();
  }
  REQUIRE(server.notes->count("shutdown_request") == 1);
}

TEST_CASE("server_close cuts off what begins when the time is over",
          "[socketserver][server_close]") {
  // A server without a mix-in, whose verify_request takes a while.
  struct Server : TCPServer {
    using TCPServer::TCPServer;
    bool verify_request(Request&, const Address&) override {
      closed = closing(*this);
      closed.wait_for(200ms);
      return true;
    }
    std::future<std::size_t> closed;
  };
  std::error_code error;
  Server server(
      kLoopback,
      [&](Socket& request, const Address&) {
        char byte;
        request.recv_into({&byte, 1}, error);
      },
      options_with({.shutdown_timeout = 10ms}));
  const Socket client = client_of(server);
  server.serve_forever();
  CHECK(server.closed.get() == 1);
  CHECK(error == errc::operation_canceled);
}

TEST_CASE("two threads may close a server at once, and both wait", "[socketserver][server_close]") {
  for (int i = 0; i < 50; ++i) {
    Noting server(kLoopback, greet_and_wait, kOptions);
    const Serving serving(server);
    Socket client = greeted(server);
    const auto close = [&] {
      server.server_close();
      const std::lock_guard lock(server.mutex);
      return server.notes->size();
    };
    auto one = std::async(std::launch::async, close), two = std::async(std::launch::async, close);
    client.close();
    REQUIRE(one.get() == 2);
    REQUIRE(two.get() == 2);
  }
}

TEST_CASE("a server may be closed while another thread calls handle_request", "[socketserver]") {
  constexpr auto kLong = kPatience / 2;
  for (int i = 0; i < 200; ++i) {
    ThreadingTCPServer server(kLoopback, greet, {.timeout = kLong, .idle_timeout = kPatience});
    auto loop = std::async(std::launch::async, [&] {
      const Stopwatch watch;
      return code_of([&] {
        while (watch.elapsed() < kLong) server.handle_request();
      });
    });
    if (i % 2 == 0) greeted(server);
    server.server_close();
    REQUIRE(loop.get() == errc::bad_file_descriptor);
  }
}

TEST_CASE("a derived server may be destroyed as soon as serve_forever has ended",
          "[socketserver][serve_forever]") {
  for (int i = 0; i < 200; ++i) {
    Noting server(kLoopback, greet_and_wait, kOptions);
    std::vector<Socket> clients;
    const Serving serving(server);
    while (clients.size() < 4) clients.push_back(greeted(server));
    server.request_shutdown();
    clients.clear();
  }
}

TEMPLATE_TEST_CASE("a derived server that is destroyed while it serves ends the program",
                   "[socketserver]", TCPServer, ThreadingTCPServer) {
  struct Derived : TestType {
    using TestType::TestType;
    std::string member = "used by a hook";
  };
  const std::string output = output_of([] {
    std::thread loop;
    {
      Derived server(kLoopback, greet, kOptions);
      loop = std::thread([&] { server.serve_forever(); });
      client_of(server).recv(1);
    }
    std::printf("survived");
    std::fflush(stdout);
    ::_exit(0);
  });
  INFO(output);
  REQUIRE(output.find("call server_close() in the destructor") != output.npos);
  REQUIRE(output.find("survived") == output.npos);
}

TEST_CASE("a derived server that closes itself may be destroyed at any time", "[socketserver]") {
  struct Derived : Noting {
    using Noting::Noting;
    ~Derived() override { server_close(); }
  };
  for (int i = 0; i < 50; ++i) {
    std::thread loop;
    {
      Derived server(kLoopback, greet_and_wait, options_with({.daemon_threads = true}));
      loop = std::thread([&] { server.serve_forever(); });
      greeted(server);
    }
    loop.join();
  }
}

TEST_CASE("a server serves again after a shutdown, with the same threads", "[socketserver]") {
  ThreadingTCPServer server(kLoopback, greet_and_wait, kOptions);
  std::size_t before = 0;
  for (int i = 0; i < 50; ++i) {
    const Serving serving(server);
    Socket client = greeted(server);
    if (i == 0) before = threads();
    REQUIRE(ended_by(client));
  }
  REQUIRE(threads() <= before + 3);
}

TEST_CASE("a cut leaves alone what has a Unix client's descriptor now", "[socketserver]") {
  const TempDir dir;
  const std::string path = dir / "sock";
  Pair bystander = unix_pair();
  ThreadingUnixStreamServer server(
      AddressLike(path),
      [&](Socket& request, const Address&) {
        const int number = request.fileno();
        request.close();
        const Descriptor same(::dup2(bystander.client.fileno(), number));
        bystander.client.sendall("x");
        bystander.client.recv(1);  // The cut ends this call, in the handler's scope.
      },
      options_with({.shutdown_timeout = 0s}));
  const Socket client = client_of(server);
  server.handle_request();
  REQUIRE(bystander.server.recv(1) == "x");
  std::future<std::size_t> closed = closing(server);
  REQUIRE(closed.get() == 1);
  bystander.client.sendall("y");
  REQUIRE(bystander.server.recv(1) == "y");
}

TEST_CASE("thread_stack_size is that of the handlers' threads", "[socketserver][threads]") {
  constexpr std::size_t kSize = 1 << 20;
  std::size_t size = 0;
  ThreadingTCPServer server(
      kLoopback,
      [&](Socket&, const Address&) {
        pthread_attr_t attributes;
        ::pthread_getattr_np(::pthread_self(), &attributes);
        ::pthread_attr_getstacksize(&attributes, &size);
        ::pthread_attr_destroy(&attributes);
      },
      options_with({.thread_stack_size = kSize}));
  const Socket client = client_of(server);
  server.handle_request();
  server.server_close();
  REQUIRE(size >= kSize);
  REQUIRE(size < 2 * kSize);
}
