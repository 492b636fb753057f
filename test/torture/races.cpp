// Ends servers of each kind in every way, at a random moment, while clients come: `races [ROUNDS]`.
//
// No echo may be wrong, nothing may hang, and no descriptor, thread or child may be left.
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <iterator>
#include <latch>
#include <memory>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "faulty_calls.hpp"
#include "thinsock/thinsock.hpp"

using namespace std::chrono_literals;
using namespace thinsock;
using Clock = std::chrono::steady_clock;

namespace {

constexpr auto kPatience = 20s;
constexpr std::string_view kWord = "12345678";
std::atomic<long> echoes = 0;

void expect(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

// --- clients, until the server has gone ---

bool use_connection(const Address& address) {
  Socket client = create_connection(address, kPatience);
  client.sendall(kWord);
  expect(client.recv_exactly(kWord.size()) == kWord, "a wrong echo");
  return true;
}

// A datagram may be lost when the server ends. Returns whether an echo came.
bool use_datagram(const Address& address) {
  Socket client(address.family(), SOCK_DGRAM);
  if (address.family() == AF_UNIX) client.bind("");
  client.settimeout(20ms);
  try {
    client.sendto(kWord, address);
    expect(client.recv(100) == kWord, "a wrong echo");
    return true;
  } catch (const TimeoutError&) {
    return false;
  }
}

void keep_coming(const Address& address, bool datagrams, const std::atomic<bool>& over) {
  while (!over) {
    try {
      echoes += datagrams ? use_datagram(address) : use_connection(address);
    } catch (const TimeoutError&) {
      throw std::logic_error("a client is neither answered nor refused");
    } catch (const Error&) {  // The server has ended.
    }
  }
}

// --- servers ---

void echo(RequestContext& context) {
  if (context.request.type() == SOCK_DGRAM) return context.reply(context.packet);
  for (std::string data; !(data = context.request.recv(100)).empty();) context.reply(data);
}

struct Kind {
  const char* name;
  std::unique_ptr<BaseServer> (*make)(AddressLike, const ServerOptions&);
  Address address;
};

template <class Server>
std::unique_ptr<BaseServer> make(AddressLike address, const ServerOptions& options) {
  return std::make_unique<Server>(address, echo, options);
}

// Clients go on connecting after their server has ended, when another program may have got its
// port. So this process uses a loopback address that no other program uses.
Address loopback() {
  const int pid = ::getpid();
  return {"127." + std::to_string(128 + (pid >> 16)) + '.' + std::to_string(pid >> 8 & 255) + '.' +
              std::to_string(pid & 255),
          0};
}

const Address kLoopback = loopback(), kUnixName("");
const Kind kKinds[] = {
    {"TCPServer", make<TCPServer>, kLoopback},
    {"UDPServer", make<UDPServer>, kLoopback},
    {"UnixStreamServer", make<UnixStreamServer>, kUnixName},
    {"ThreadingTCPServer", make<ThreadingTCPServer>, kLoopback},
    {"ThreadingUDPServer", make<ThreadingUDPServer>, kLoopback},
    {"ThreadingUnixStreamServer", make<ThreadingUnixStreamServer>, kUnixName},
    {"ThreadingUnixDatagramServer", make<ThreadingUnixDatagramServer>, kUnixName},
#ifndef __SANITIZE_THREAD__  // It cannot follow a fork of a program with threads.
    {"ForkingTCPServer", make<ForkingTCPServer>, kLoopback},
    {"ForkingUDPServer", make<ForkingUDPServer>, kLoopback},
    {"ForkingUnixStreamServer", make<ForkingUnixStreamServer>, kUnixName},
#endif
};

// --- ways to end a server that serves in another thread ---

std::atomic<BaseServer*> signalled = nullptr;

struct Round {
  std::unique_ptr<BaseServer> server;
  std::jthread loop;
};

void by_shutdown(Round& round) { round.server->shutdown(); }
void by_server_close(Round& round) { round.server->server_close(); }
void by_stop_token(Round& round) { round.loop.request_stop(); }
void by_signal_of_scope(Round&) { ::kill(::getpid(), SIGUSR1); }
void by_signal_handler(Round& round) {
  signalled = round.server.get();
  ::pthread_kill(round.loop.native_handle(), SIGUSR2);
}
void by_two_at_once(Round& round) {
  const std::jthread other([&] { round.server->shutdown(); });
  round.server->server_close();
}
[[maybe_unused]] void by_shutdown_beside_a_fork(Round& round) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  round.server->shutdown();
  ::waitpid(child, nullptr, 0);
}

struct End {
  const char* name;
  void (*end)(Round&);
};
constexpr End kEnds[] = {
    {"shutdown", by_shutdown},
    {"server_close", by_server_close},
    {"stop token", by_stop_token},
    {"CancelScope for a signal", by_signal_of_scope},
    {"request_shutdown in a signal handler", by_signal_handler},
    {"shutdown beside server_close", by_two_at_once},
#ifndef __SANITIZE_THREAD__
    {"shutdown beside a fork", by_shutdown_beside_a_fork},
#endif
};

// Returns after how long the server had ended.
Clock::duration run_round(const Kind& kind, const End& end, std::minstd_rand& random) {
  const auto grace = random() % 2 == 0 ? Timeout(0s) : Timeout(2ms);
  Round round{kind.make(kind.address, {.shutdown_timeout = grace, .max_threads = 20}), {}};
  const Address address = round.server->server_address;
  const bool datagrams = round.server->socket_type() == SOCK_DGRAM;
  std::latch scopes_exist(1);
  round.loop = std::jthread([&, server = round.server.get()](const std::stop_token& token) {
    const CancelScope scope(token), signals({SIGUSR1});
    scopes_exist.count_down();
    server->serve_forever();
  });
  scopes_exist.wait();
  std::atomic<bool> over = false;
  std::vector<std::future<void>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(
        std::async(std::launch::async, [&] { keep_coming(address, datagrams, over); }));
  }
  std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
  const auto start = Clock::now();
  end.end(round);
  round.loop.join();
  const auto took = Clock::now() - start;
  round.server.reset();
  over = true;
  for (std::future<void>& client : clients) client.get();
  return took;
}

long entries_of(const char* folder) {
  return std::distance(std::filesystem::directory_iterator(folder), {});
}

struct Use {
  long threads = entries_of("/proc/self/task"), descriptors = entries_of("/proc/self/fd");
};

void expect_nothing_left(const Use& before) {
  const auto end = Clock::now() + kPatience;  // A joined thread may be listed for a moment.
  while (Use().threads > before.threads && Clock::now() < end) std::this_thread::yield();
  expect(Use().threads <= before.threads, "a thread is left");
  expect(Use().descriptors == before.descriptors, "a descriptor is left");
  expect(::waitpid(-1, nullptr, WNOHANG) == -1, "a child is left");
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 300;
  ::signal(SIGUSR2, [](int) { signalled.load()->request_shutdown(); });
  torture::set_up();
  torture::delay(static_cast<unsigned>(rounds));
  std::thread([] {}).join();  // With the first one, ThreadSanitizer starts a thread that stays.
  std::minstd_rand random(static_cast<unsigned>(rounds));
  Clock::duration slowest{};
  for (int i = 0; i < rounds; ++i) {
    const Kind& kind = kKinds[random() % std::size(kKinds)];
    const End& end = kEnds[random() % std::size(kEnds)];
    ::alarm(60);
    const Use before;
    try {
      slowest = std::max(slowest, run_round(kind, end, random));
      expect(slowest < kPatience / 4, "the end takes too long");
      expect_nothing_left(before);
    } catch (const std::exception& exception) {
      std::printf("races: round %d, %s, %s: %s\n", i, kind.name, end.name, exception.what());
      return 1;
    }
  }
  std::printf("races: %d rounds, %ld echoes, slowest end after %.1f ms\n", rounds, echoes.load(),
              std::chrono::duration<double, std::milli>(slowest).count());
}
