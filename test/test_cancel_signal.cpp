// CancelScope: ending the blocked calls of a thread by a signal.
#include <sys/wait.h>

#include <csignal>
#include <functional>
#include <latch>

#include "child.hpp"
#include "handlers.hpp"
#include "waiting.hpp"

using namespace test;
using std::errc;
using thinsock::Error;

namespace {

std::atomic<int> counted = 0;
void count(int) { ++counted; }

// What the process does on a signal meanwhile.
class Disposition {
 public:
  Disposition(int number, void (*handler)(int)) : number_(number) {
    counted = 0;
    struct sigaction action {};
    action.sa_handler = handler;
    ::sigaction(number, &action, &before_);
  }
  ~Disposition() { ::sigaction(number_, &before_, nullptr); }
  static auto of(int number) {
    struct sigaction now;
    ::sigaction(number, nullptr, &now);
    return now.sa_handler;
  }

 private:
  int number_;
  struct sigaction before_;
};

// Runs body in a child process, and returns the signal that has ended it, or 0.
int signal_that_ended(const std::function<void()>& body) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(30);
    body();
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

// A thread that receives in a scope for SIGUSR2, and what came of it.
class Receiver {
 public:
  Receiver() { ready_.get_future().get(); }
  Outcome outcome() {
    thread_.join();
    return outcome_;
  }
  void release() { pair_.client.sendall("x"); }

 private:
  Pair pair_ = unix_pair();
  std::promise<void> ready_;
  Outcome outcome_;
  std::thread thread_{[this] {
    const CancelScope scope({SIGUSR2});
    ready_.set_value();
    outcome_ = outcome_of([&] { pair_.server.recv(1); });
  }};
};

}  // namespace

TEST_CASE("a signal ends the blocked call of a scope, and later ones", "[cancel][signal]") {
  const Disposition disposition(SIGUSR2, SIG_IGN);
  Pair pair = unix_pair();
  CancelScope scope({SIGUSR2});
  REQUIRE(scope.signal() == 0);
  const pthread_t self = ::pthread_self();
  const bool this_thread = GENERATE(true, false);
  std::thread killer([&] {
    pause_for(20ms);  // Nothing tells that a thread has begun to wait.
    this_thread ? ::pthread_kill(self, SIGUSR2) : ::kill(::getpid(), SIGUSR2);
  });
  REQUIRE_THROWS_MATCHES(pair.server.recv(1), Error, Code(errc::operation_canceled));
  killer.join();
  REQUIRE(scope.signal() == SIGUSR2);
  REQUIRE_THROWS_MATCHES(pair.server.recv(1), Error, Code(errc::operation_canceled));
}

TEST_CASE("a signal that comes before a call ends it at once", "[cancel][signal]") {
  const Disposition disposition(SIGUSR2, SIG_IGN);
  const Kind& kind = GENERATE(from_range(kKinds));
  Pair ends = kind.ends();
  ends.server.settimeout(kPatience);
  const CancelScope scope({SIGUSR1, SIGUSR2});
  std::raise(SIGUSR2);
  INFO(kind.name);
  const Outcome outcome = outcome_of([&] { kind.call(ends); });
  REQUIRE(outcome.error == errc::operation_canceled);
  REQUIRE(outcome.time < kLate);
}

TEST_CASE("a signal ends the scopes of all threads that wait for it", "[cancel][signal]") {
  const Disposition disposition(SIGUSR2, SIG_IGN);
  Receiver one, two;
  Pair bystander = unix_pair();
  const CancelScope other({SIGUSR1});
  ::kill(::getpid(), SIGUSR2);
  REQUIRE(one.outcome().error == errc::operation_canceled);
  REQUIRE(two.outcome().error == errc::operation_canceled);
  REQUIRE(other.signal() == 0);
  bystander.client.sendall("x");
  REQUIRE(bystander.server.recv(1) == "x");
}

TEST_CASE("what a process did on a signal comes back", "[cancel][signal]") {
  const Disposition disposition(SIGUSR2, count);
  {
    const CancelScope scope({SIGUSR2});
    CHECK(Disposition::of(SIGUSR2) != count);
    SECTION("with the first signal") {
      std::raise(SIGUSR2);
      CHECK(Disposition::of(SIGUSR2) == count);
      CHECK(counted == 0);
      std::raise(SIGUSR2);
      CHECK(counted == 1);
    }
    SECTION("at the end of the scope") {}
    SECTION("at the end of the last scope") {
      { const CancelScope inner({SIGUSR1, SIGUSR2}); }
      CHECK(Disposition::of(SIGUSR2) != count);
      std::raise(SIGUSR2);
      CHECK(scope.signal() == SIGUSR2);
    }
    SECTION("for the scope's other signals as well") {
      const Disposition other(SIGUSR1, count);
      const CancelScope inner({SIGUSR1, SIGUSR2});
      std::raise(SIGUSR2);
      CHECK(inner.signal() == SIGUSR2);
      CHECK(Disposition::of(SIGUSR1) == count);
    }
  }
  REQUIRE(Disposition::of(SIGUSR2) == count);
}

TEST_CASE("a handler that somebody installs in a scope stays", "[cancel][signal]") {
  const Disposition disposition(SIGUSR2, SIG_IGN);
  {
    const CancelScope scope({SIGUSR2});
    std::signal(SIGUSR2, count);
  }
  REQUIRE(Disposition::of(SIGUSR2) == count);
}

TEST_CASE("a scope waits for its signal though a handler came after an outer one",
          "[cancel][signal]") {
  const Disposition disposition(SIGUSR2, SIG_IGN);
  const CancelScope outer({SIGUSR2});
  std::signal(SIGUSR2, count);
  const CancelScope inner({SIGUSR2});
  std::raise(SIGUSR2);
  REQUIRE(inner.signal() == SIGUSR2);
  REQUIRE(outer.signal() == SIGUSR2);
  REQUIRE(Disposition::of(SIGUSR2) == SIG_IGN);
}

TEST_CASE("a handler may call the one it replaced", "[cancel][signal]") {
  static struct sigaction replaced;
  const Disposition disposition(SIGUSR2, SIG_IGN);
  const CancelScope scope({SIGUSR2});
  ::sigaction(SIGUSR2, nullptr, &replaced);
  std::signal(SIGUSR2, [](int number) {
    ++counted;
    replaced.sa_handler(number);
  });
  std::raise(SIGUSR2);
  std::raise(SIGUSR2);
  REQUIRE(scope.signal() == SIGUSR2);
  REQUIRE(counted == 2);
}

// system(3), for example, puts back what it has found.
TEST_CASE("an action of a scope that comes back after it acts as the system does",
          "[cancel][signal]") {
  REQUIRE(signal_that_ended([] {
            std::signal(SIGUSR2, SIG_DFL);
            struct sigaction within;
            {
              const CancelScope scope({SIGUSR2});
              ::sigaction(SIGUSR2, nullptr, &within);
            }
            ::sigaction(SIGUSR2, &within, nullptr);
            {
              const CancelScope scope({SIGUSR2});
              std::raise(SIGUSR2);
              if (scope.signal() != SIGUSR2) ::_exit(1);
            }
            ::sigaction(SIGUSR2, &within, nullptr);
            std::raise(SIGUSR2);
          }) == SIGUSR2);
}

// As a handler does that cleans up and then lets the signal act as before.
TEST_CASE("a handler may install the one it replaced and raise the signal again",
          "[cancel][signal]") {
  REQUIRE(signal_that_ended([] {
            static struct sigaction replaced;
            const auto handler = [](int number) {
              ::sigaction(number, &replaced, nullptr);
              std::raise(number);
            };
            {
              const CancelScope outer({SIGUSR2});
              ::sigaction(SIGUSR2, nullptr, &replaced);
              std::signal(SIGUSR2, handler);
              { const CancelScope inner({SIGUSR2}); }
              std::signal(SIGUSR2, handler);
            }
            { const CancelScope later({SIGUSR2}); }
            std::raise(SIGUSR2);
          }) == SIGUSR2);
}

// Not under valgrind, which runs one thread at a time, for long.
TEST_CASE("a signal stops its scope before raise returns", "[cancel][signal][native]") {
  const Disposition first(SIGUSR1, SIG_IGN), second(SIGUSR2, SIG_IGN);
  std::jthread other([](std::stop_token token) {
    while (!token.stop_requested()) const CancelScope scope({SIGUSR1});
  });
  int late = 0;
  for (int i = 0; i < 5'000; ++i) {
    const CancelScope scope({SIGUSR2});
    std::raise(SIGUSR2);
    late += scope.signal() == 0;
  }
  REQUIRE(late == 0);
}

TEST_CASE("a second signal ends a program that hangs", "[cancel][signal]") {
  const int second = GENERATE(SIGINT, SIGTERM);
  REQUIRE(signal_that_ended([&] {
            std::signal(SIGINT, SIG_DFL);
            std::signal(SIGTERM, SIG_DFL);
            const CancelScope ctrl_c({SIGINT, SIGTERM});
            std::raise(SIGINT);
            std::raise(second);
          }) == second);
}

TEST_CASE("a scope for a signal that cannot be caught throws", "[cancel][signal]") {
  const Disposition disposition(SIGUSR2, count);
  const int number = GENERATE(SIGKILL, SIGSTOP, 0, -1, NSIG, 1000);
  Pair pair = unix_pair();
  const CancelScope outer({SIGUSR2});
  std::signal(SIGUSR2, count);
  REQUIRE_THROWS_MATCHES(CancelScope({SIGUSR2, number}), Error, Code(errc::invalid_argument));
  REQUIRE(Disposition::of(SIGUSR2) == count);
  pair.client.sendall("x");
  REQUIRE(pair.server.recv(1) == "x");
}

TEST_CASE("a handler of the program's own cuts no call short", "[cancel][signal]") {
  const Disposition disposition(SIGUSR2, count);
  Pair pair = unix_pair();
  const pthread_t self = ::pthread_self();
  std::thread client([&] {
    for (int i = 0; i < 20; ++i, pause_for(1ms)) ::pthread_kill(self, SIGUSR2);
    pair.client.sendall("x");
  });
  REQUIRE(pair.server.recv(1) == "x");
  client.join();
  REQUIRE(counted > 0);
}

TEST_CASE("a server learns of a signal by its poll_interval and goes on",
          "[signal][socketserver]") {
  struct Reloading : Server {
    using Server::Server;
    void service_actions() override {
      if (counted.exchange(0) > 0) ++reloads;
    }
    std::atomic<int> reloads = 0;
  };
  const Disposition disposition(SIGHUP, count);
  Reloading server(thinsock::handler<Echo>);
  const Serving serving(server, [&] { server.serve_forever(5ms); });
  ::kill(::getpid(), SIGHUP);
  REQUIRE(eventually([&] { return server.reloads > 0; }));
  Socket client = client_of(server);
  REQUIRE(answer_to(client, "hello") == "hello");
}

TEMPLATE_TEST_CASE("a signal ends serve_forever", "[cancel][signal][socketserver]",
                   thinsock::TCPServer, thinsock::ThreadingTCPServer, thinsock::ForkingTCPServer,
                   thinsock::UDPServer) {
  const Disposition disposition(SIGUSR2, SIG_IGN);
  TestType server(kLoopback, thinsock::handler<Echo>, kOptions);
  std::promise<void> ready;
  int signal = 0;
  std::thread loop([&] {
    const CancelScope scope({SIGUSR2});
    ready.set_value();
    server.serve_forever();
    signal = scope.signal();
  });
  ready.get_future().get();
  {
    Socket client = client_of(server);
    REQUIRE(answer_to(client, "hello") == "hello");
    client.shutdown(SHUT_RDWR);  // A child process of the server has a copy of the client, too.
  }
  ::kill(::getpid(), SIGUSR2);
  loop.join();
  REQUIRE(signal == SIGUSR2);
  const Serving again(server);
  Socket client = client_of(server);
  REQUIRE(answer_to(client, "again") == "again");
  client.shutdown(SHUT_RDWR);
}

TEST_CASE("scopes may come and go while signals arrive", "[cancel][signal]") {
  const Disposition first(SIGUSR1, SIG_IGN), second(SIGUSR2, SIG_IGN);
  std::atomic<bool> stop = false;
  std::thread killer([&] {
    for (int number = SIGUSR1; !stop; number = number == SIGUSR1 ? SIGUSR2 : SIGUSR1) {
      ::kill(::getpid(), number);
      std::this_thread::yield();
    }
  });
  std::atomic<int> wrong = 0;
  const auto scopes = [&] {
    for (int i = 0; i < 20'000; ++i) {
      const CancelScope outer({SIGUSR2});
      const CancelScope inner({SIGUSR1, SIGUSR2});
      wrong += outer.signal() != 0 && outer.signal() != SIGUSR2;
    }
  };
  std::thread other(scopes);
  scopes();
  other.join();
  stop = true;
  killer.join();
  REQUIRE(wrong == 0);
  REQUIRE(Disposition::of(SIGUSR1) == SIG_IGN);
  REQUIRE(Disposition::of(SIGUSR2) == SIG_IGN);
}

TEST_CASE("a child process has a parent's scope of its own", "[cancel][signal]") {
  const Disposition disposition(SIGUSR2, SIG_IGN);
  Pair pair = unix_pair();
  const CancelScope scope({SIGUSR2});
  in_child([&] {
    std::raise(SIGUSR2);
    expect(scope.signal() == SIGUSR2);
    const Outcome outcome = outcome_of([&] { pair.server.recv(1); });
    expect(outcome.error == errc::operation_canceled);
  });
  REQUIRE(scope.signal() == 0);
  pair.client.sendall("x");
  REQUIRE(pair.server.recv(1) == "x");
}
