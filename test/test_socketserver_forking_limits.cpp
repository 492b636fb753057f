// Servers with a process for each request: how many processes there are, and how they end.
#include <malloc.h>
#include <sys/mman.h>

#include <future>
#include <optional>

#include "processes.hpp"

using namespace test;
using std::errc;

namespace {

// A number in memory that processes share.
class Shared {
 public:
  Shared() = default;
  Shared(const Shared&) = delete;
  ~Shared() { ::munmap(number_, sizeof *number_); }
  std::atomic<int>& operator*() { return *number_; }

 private:
  std::atomic<int>* number_ = new (::mmap(nullptr, sizeof *number_, PROT_READ | PROT_WRITE,
                                          MAP_SHARED | MAP_ANONYMOUS, -1, 0)) std::atomic<int>(0);
};

// Installs a handler for SIGCHLD until the end of the scope.
class OnChild {
 public:
  explicit OnChild(void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    ::sigaction(SIGCHLD, &action, &before_);
  }
  OnChild(const OnChild&) = delete;
  ~OnChild() { ::sigaction(SIGCHLD, &before_, nullptr); }

 private:
  struct sigaction before_ {};
};

}  // namespace

TEST_CASE("server_close leaves no process behind",
          "[socketserver][forking][server_close][native]") {
  ForkingTCPServer server(kLoopback, tell_pid_and_wait, kOptions);
  std::vector<Served> served;
  for (int i = 0; i < 5; ++i) served.emplace_back(server);
  served.clear();
  REQUIRE(server.server_close() == 0);
  REQUIRE(no_children());
}

TEST_CASE("a process that ends is waited for though no request comes",
          "[socketserver][forking][native]") {
  ForkingTCPServer server(kLoopback, tell_pid_and_wait, kOptions);
  const bool serves_forever = GENERATE(true, false);
  Served served(server);
  std::optional<Serving> serving;
  if (serves_forever) serving.emplace(server);
  served.end();
  REQUIRE(childless_in_time(server, serves_forever));
  REQUIRE_FALSE(exists(served.pid));
}

TEST_CASE("handle_request waits for the processes of earlier ones",
          "[socketserver][forking][native]") {
  ForkingTCPServer server(kLoopback, tell_pid_and_wait, kOptions);
  for (int i = 0; i < 10; ++i) serve_one(server);
  REQUIRE(server.active_children().size() <= 2);
}

TEST_CASE("other children of the program are left to it", "[socketserver][forking][native]") {
  const pid_t own = ::fork();
  if (own == 0) ::_exit(7);
  ::waitid(P_PID, static_cast<id_t>(own), nullptr, WEXITED | WNOWAIT);
  {
    ForkingTCPServer server(kLoopback, tell_pid_and_wait, kOptions);
    for (int i = 0; i < 3; ++i) serve_one(server);
    REQUIRE(childless_in_time(server));
  }
  int status = 0;
  REQUIRE(::waitpid(own, &status, WNOHANG) == own);
  REQUIRE(WEXITSTATUS(status) == 7);
}

TEST_CASE("a process is waited for though there was no descriptor for that",
          "[socketserver][forking][native]") {
  ForkingTCPServer server(kLoopback, tell_pid_and_wait, kOptions);
  Socket client = client_of(server);
  {
    const DescriptorLimit connection_alone(1);
    server.handle_request();
  }
  REQUIRE(pid_from(client) > 0);
  const Serving serving(server);
  client.shutdown(SHUT_WR);
  REQUIRE(childless_in_time(server, true));
}

TEST_CASE("the server notices that its processes end though the program ignores or reaps them",
          "[socketserver][forking][native]") {
  const OnChild scope(GENERATE(as<void (*)(int)>(), SIG_IGN, [](int) {
    const int error = errno;
    while (::waitpid(-1, nullptr, WNOHANG) > 0) continue;
    errno = error;
  }));
  ForkingTCPServer server(kLoopback, tell_pid_and_wait, kOptions);
  { const Served one(server), two(server); }
  REQUIRE(childless_in_time(server));
  REQUIRE(Served(server).pid > 0);
}

TEST_CASE("a killed process is waited for, and its client hears the end",
          "[socketserver][forking][native]") {
  ForkingTCPServer server(kLoopback, tell_pid_and_wait, kOptions);
  Served served(server);
  ::kill(served.pid, SIGKILL);
  REQUIRE(served.client.recv(1).empty());
  REQUIRE(childless_in_time(server));
  REQUIRE_FALSE(exists(served.pid));
  REQUIRE(Served(server).pid > 0);
}

TEST_CASE("there are never more processes than max_children", "[socketserver][forking][native]") {
  Shared running, most;
  ForkingTCPServer server(
      kLoopback,
      [&](Socket& request, const Address&) {
        const int now = ++*running;
        for (int seen = *most; seen < now && !(*most).compare_exchange_weak(seen, now);) continue;
        request.recv(1);
        request.sendall("x");
        --*running;
      },
      options_with({.max_children = 3}));
  const Serving serving(server);
  std::vector<Socket> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(client_of(server));
  for (Socket& client : clients) client.send("x");
  for (Socket& client : clients) {
    REQUIRE(server.active_children().size() <= 3);
    REQUIRE(client.recv(1) == "x");
  }
  REQUIRE(*most <= 3);
}

TEST_CASE("active_children may be called while requests come",
          "[socketserver][forking][threads][native]") {
  for (int round = 0; round < 10; ++round) {
    ForkingTCPServer server(kLoopback, tell_pid_and_wait, kOptions);
    std::vector<Socket> clients;
    for (int i = 0; i < 20; ++i) clients.push_back(client_of(server));
    const Serving serving(server);
    CHECK(eventually([&] { return server.active_children().size() == 20; }));
    for (Socket& client : clients) client.shutdown(SHUT_WR);
  }
}

TEST_CASE("clients beyond max_children wait for a process to end",
          "[socketserver][forking][native]") {
  ForkingTCPServer server(kLoopback, tell_pid_and_wait, options_with({.max_children = 1}));
  const Serving serving(server);
  Socket first = client_of(server), second = client_of(server);
  REQUIRE(pid_from(first) > 0);
  second.settimeout(50ms);
  REQUIRE_THROWS_AS(second.recv(1), thinsock::TimeoutError);
  second.settimeout(kPatience);
  first.shutdown(SHUT_WR);
  REQUIRE(pid_from(second) > 0);
  second.shutdown(SHUT_WR);
}

TEST_CASE("clients beyond max_children are refused if so wanted",
          "[socketserver][forking][native]") {
  struct Refusing : ForkingTCPServer {
    using ForkingTCPServer::ForkingTCPServer;
    void handle_overload(Request& request, const Address&) override {
      request.socket.sendall("busy");
    }
  } server(kLoopback, tell_pid_and_wait,
           options_with({.timeout = kPatience, .max_children = 1, .refuse_at_limit = true}));
  Served first(server);
  Socket second = client_of(server);
  server.handle_request();
  REQUIRE(second.recv_exactly(4) == "busy");
  REQUIRE(second.recv(1).empty());
  first.end();
  REQUIRE(childless_in_time(server));
  REQUIRE(Served(server).pid > 0);
}

TEST_CASE("processes that outlast shutdown_timeout are killed and counted",
          "[socketserver][forking][server_close][native]") {
  ForkingTCPServer server(kLoopback, tell_pid_and_wait, options_with({.shutdown_timeout = 20ms}));
  Served first(server), second(server);
  second.end();
  second.wait_until_dead();
  const bool in_serve_forever = GENERATE(true, false);
  if (in_serve_forever) const Serving until_shutdown(server);
  REQUIRE(server.server_close() == 1);
  REQUIRE(first.client.recv(1).empty());
  REQUIRE(no_children());
}

TEST_CASE("nobody waits for processes if block_on_close is off",
          "[socketserver][forking][native]") {
  ForkingTCPServer server(kLoopback, tell_pid_and_wait, options_with({.block_on_close = false}));
  Served served(server);
  SECTION("server_close") {
    server.server_close();
    REQUIRE(exists(served.pid));
  }
  SECTION("serve_forever") {
    const Stopwatch watch;
    Serving(server).stop();
    REQUIRE(watch.elapsed() < kPatience / 2);
    REQUIRE(exists(served.pid));
  }
  served.end();
  ::waitpid(served.pid, nullptr, 0);
}

TEST_CASE("a request for which there can be no process is reported and closed",
          "[socketserver][forking][native]") {
  struct Reporting : ForkingTCPServer {
    using ForkingTCPServer::ForkingTCPServer;
    void handle_error(Request& request, const Address&) override {
      const auto error = code_of([] { throw; });
      const bool open = request.socket.fileno() != -1;
      std::fputs(error == errc::resource_unavailable_try_again && open ? "told " : "?", stdout);
    }
  };
  const std::string output = output_of([] {
    Reporting server(kLoopback, tell_pid, kOptions);
    rlimit limit{}, none{};
    ::getrlimit(RLIMIT_NPROC, &limit);
    none.rlim_max = limit.rlim_max;
    expect(::setresuid(65534, 65534, 65534) == 0 && ::setrlimit(RLIMIT_NPROC, &none) == 0);
    Served refused(server);
    expect(refused.pid == -1 && server.active_children().empty());
    ::setrlimit(RLIMIT_NPROC, &limit);
    expect(Served(server).pid > 0);
  });
  if (::geteuid() == 0) REQUIRE(output == "told ");
}

TEST_CASE("five hundred requests leave nothing behind", "[socketserver][forking][native]") {
  ForkingTCPServer server(kLoopback, tell_pid, kOptions);
  const auto serve = [&](int count) {
    for (int i = 0; i < count; ++i) Served(server).client.recv(1);
    REQUIRE(childless_in_time(server));
  };
  serve(10);
  const std::size_t descriptors = open_descriptors(), memory = ::mallinfo2().uordblks;
  serve(500);
  REQUIRE(open_descriptors() == descriptors);
  REQUIRE(::mallinfo2().uordblks <= memory + 4096);
  REQUIRE(no_children());
}
