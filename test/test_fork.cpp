// A program's own fork(): prefork servers, daemons, and children that go on with their parent's
// sockets.
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <functional>
#include <future>
#include <latch>
#include <memory>
#include <stop_token>
#include <thread>
#include <vector>

#include "handlers.hpp"
#include "support.hpp"
#include "thinsock/cancel.hpp"

using namespace test;
using thinsock::CancelScope;
using thinsock::ThreadingTCPServer;
using thinsock::UnixStreamServer;

namespace {

// Forks a child that runs the program and exits with its result. SIGALRM ends a child that hangs.
pid_t forked(const std::function<int()>& program) {
  const pid_t child = ::fork();
  REQUIRE(child != -1);
  if (child != 0) return child;
  ::alarm(15);
  int status = 99;
  try {
    status = program();
  } catch (const std::exception& exception) {
    std::fprintf(stderr, "child: %s\n", exception.what());
  }
  ::_exit(status);
}

int status_of(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) == -1 && errno == EINTR) continue;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

[[maybe_unused]] auto action_of(int number) {
  struct sigaction now;
  ::sigaction(number, nullptr, &now);
  return now.sa_handler;
}

BaseServer* running;

bool exists(const std::string& path) {
  struct stat status;
  return ::lstat(path.c_str(), &status) == 0;
}

}  // namespace

TEMPLATE_TEST_CASE("each process that serves after a fork ends by its own signal", "[fork]",
                   thinsock::TCPServer, ThreadingTCPServer) {
  for (int round = 0; round < 10; ++round) {
    TestType server(AddressLike("127.0.0.1", 0), [](Socket&, const Address&) {});
    std::vector<pid_t> workers;
    std::vector<Socket> ready;
    for (int i = 0; i < 8; ++i) {
      Pair pair = unix_pair();
      workers.push_back(forked([&] {
        running = &server;
        std::signal(SIGTERM, [](int) { running->request_shutdown(); });
        pair.server.sendall("x");
        server.serve_forever();
        return 0;
      }));
      pair.server.close();
      ready.push_back(std::move(pair.client));
    }
    for (Socket& worker : ready) REQUIRE(worker.recv(1) == "x");
    for (const pid_t worker : workers) ::kill(worker, SIGTERM);
    for (const pid_t worker : workers) REQUIRE(status_of(worker) == 0);
  }
}

TEST_CASE("the last process that has a Unix server open removes its path", "[fork]") {
  const TempDir dir;
  const std::string path = dir / "sock";
  auto server = std::make_unique<UnixStreamServer>(path, [](Socket&, const Address&) {});
  Pair pair = unix_pair();
  const pid_t daemon = forked([&] {
    pair.server.recv(1);
    server.reset();
    return exists(path);
  });
  server.reset();
  REQUIRE(exists(path));
  pair.client.sendall("x");
  REQUIRE(status_of(daemon) == 0);
  REQUIRE_FALSE(exists(path));
}

TEST_CASE("parent and child have timeouts of their own on one socket", "[fork]") {
  Pair pair = unix_pair();
  pair.server.settimeout(200ms);
  std::error_code error;
  char byte[1];
  pair.server.recv_into(byte, error);
  REQUIRE(status_of(forked([&] {
            pair.server.settimeout(20s);
            return 0;
          })) == 0);
  const Outcome outcome = outcome_of([&] { pair.server.recv(1); });
  REQUIRE(outcome.is_timeout);
  REQUIRE(outcome.time < kPatience);
}

TEST_CASE("a timed accept ends though somebody else has made the listener blocking", "[fork]") {
  Socket lst = listener();
  lst.settimeout(100ms);
  REQUIRE(outcome_of([&] { (void)lst.accept(); }).is_timeout);
  SECTION("a Socket for the same descriptor") {
    Socket::fromfd(lst.fileno()).settimeout(std::nullopt);
  }
  SECTION("another process") {
    REQUIRE(status_of(forked([&] {
              lst.settimeout(std::nullopt);
              return 0;
            })) == 0);
  }
  auto waiting =
      std::async(std::launch::async, [&] { return outcome_of([&] { (void)lst.accept(); }); });
  const bool ended = waiting.wait_for(kPatience) == std::future_status::ready;
  if (!ended) ::shutdown(lst.fileno(), SHUT_RDWR);
  REQUIRE(ended);
  REQUIRE(waiting.get().is_timeout);
}

TEST_CASE("a stop after a fork ends the calls of its own process alone", "[fork][cancel]") {
  Pair pair = unix_pair();
  std::stop_source source;
  const CancelScope scope(source.get_token());
  const bool in_child = GENERATE(true, false);
  // Parent and child each wait in their copy of the scope. One of them is stopped. The other one's
  // call is not ended by that: the parent's times out, and the child's receives a byte.
  Pair told = unix_pair();
  const pid_t child = forked([&] {
    if (in_child) source.request_stop();
    const Outcome outcome = outcome_of([&] { told.server.recv(1); });
    if (in_child) return outcome.error == std::errc::operation_canceled ? 0 : 1;
    return !outcome.error && outcome.cpu < 50ms ? 0 : 2;
  });
  pair.server.settimeout(300ms);
  if (!in_child) source.request_stop();
  const Outcome outcome = outcome_of([&] { pair.server.recv(1); });
  CHECK(outcome.error == (in_child ? std::errc::timed_out : std::errc::operation_canceled));
  CHECK(outcome.cpu < 50ms);
  told.client.send("x", MSG_DONTWAIT);
  REQUIRE(status_of(child) == 0);
}

#ifndef __SANITIZE_THREAD__  // It cannot follow a fork of a program with threads.
// Not under valgrind, which reports the other threads' memory as leaked by the child.
TEST_CASE("a child has no scopes of its parent's other threads", "[fork][cancel][native]") {
  // More threads than libc keeps stacks for. The bells of their scopes are on those stacks.
  std::latch waited(12), over(1);
  std::stop_source source;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 12; ++i) {
    threads.emplace_back([&] {
      Pair pair = unix_pair();
      const CancelScope by_signal({SIGUSR1}), by_token(source.get_token());
      pair.server.settimeout(1ms);
      outcome_of([&] { pair.server.recv(1); });
      waited.count_down();
      over.wait();
    });
  }
  waited.wait();
  const pid_t child = forked([&] {
    if (action_of(SIGUSR1) != SIG_DFL) return 2;
    std::thread([] {}).join();
    source.request_stop();
    const CancelScope scope({SIGUSR1});
    std::raise(SIGUSR1);
    return scope.signal() == SIGUSR1 ? 0 : 1;
  });
  over.count_down();
  REQUIRE(status_of(child) == 0);
}

TEST_CASE("a child that has no scope dies of the signal of a parent's scope",
          "[fork][cancel][native]") {
  const CancelScope scope({SIGUSR1});
  int survived = 0;
  std::thread([&] {
    for (int i = 0; i < 100 && survived == 0; ++i) {
      const pid_t child = forked([] {
        ::pause();
        return 0;
      });
      ::kill(child, SIGUSR1);
      survived += status_of(child) != 1000 + SIGUSR1;
    }
  }).join();
  REQUIRE(survived == 0);
}

TEST_CASE("a child that is forked amid signals is stopped as far as it says",
          "[fork][cancel][native]") {
  for (const int number : {SIGUSR1, SIGUSR2}) std::signal(number, SIG_IGN);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 2; ++i) {
    threads.emplace_back([](std::stop_token token) {
      while (!token.stop_requested()) {
        const CancelScope scope({SIGUSR1, SIGUSR2});
        ::kill(::getpid(), SIGUSR1);
        ::kill(::getpid(), SIGUSR2);
      }
    });
  }
  Pair pair = unix_pair();
  int wrong = 0;
  for (int i = 0; i < 1000; ++i) {
    const CancelScope scope({SIGUSR2});
    wrong += status_of(forked([&] {
               if (action_of(SIGUSR1) != SIG_IGN) return 1;
               if (scope.signal() == 0) return action_of(SIGUSR2) == SIG_IGN ? 2 : 0;
               if (action_of(SIGUSR2) != SIG_IGN) return 3;
               pair.server.settimeout(1s);
               return outcome_of([&] { pair.server.recv(1); }).is_timeout ? 4 : 0;
             })) != 0;
  }
  threads.clear();
  for (const int number : {SIGUSR1, SIGUSR2}) std::signal(number, SIG_DFL);
  REQUIRE(wrong == 0);
}
#endif

#ifndef __SANITIZE_ADDRESS__  // Its fork waits for the locks of its malloc.
TEST_CASE("a handler may fork while its thread begins and ends scopes", "[fork][cancel][native]") {
  // In a process with one thread, where a fork in a handler does not wait for malloc's locks.
  REQUIRE(status_of(forked([] {
            static volatile std::sig_atomic_t forks = 0;
            std::signal(SIGPROF, [](int) {
              const pid_t child = ::fork();
              if (child == 0) ::_exit(0);
              ::waitpid(child, nullptr, 0);
              forks = forks + 1;
            });
            const itimerval often{{0, 1000}, {0, 1000}};
            ::setitimer(ITIMER_PROF, &often, nullptr);
            const auto end = std::chrono::steady_clock::now() + 10s;
            while (forks < 100 && std::chrono::steady_clock::now() < end) {
              const CancelScope scope({SIGUSR1, SIGUSR2});
            }
            return forks < 100;
          })) == 0);
}
#endif
