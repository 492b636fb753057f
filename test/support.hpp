// What all tests share: real sockets on loopback, each with a timeout, and what the kernel knows of
// them.
#pragma once

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <ctime>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "thinsock/socket.hpp"

namespace test {

using namespace std::chrono_literals;
using thinsock::Socket;

/// Long enough for any machine: a wait that takes this long has failed.
constexpr auto kPatience = 5s;

inline Socket patient(Socket sk) {
  sk.settimeout(kPatience);
  return sk;
}

/// A listening TCP socket on a free port of 127.0.0.1 or ::1.
inline Socket listener(int family = AF_INET, int backlog = 128) {
  const char* host = family == AF_INET6 ? "::1" : "127.0.0.1";
  return patient(thinsock::create_server({host, 0}, {.family = family, .backlog = backlog}));
}

struct Pair {
  Socket client;
  Socket server;
};

/// Two ends of one connection.
inline Pair unix_pair(int type = SOCK_STREAM) {
  auto [a, b] = thinsock::socketpair(AF_UNIX, type);
  return {patient(std::move(a)), patient(std::move(b))};
}

inline Pair tcp_pair(int family = AF_INET) {
  Socket lst = listener(family);
  Socket client = patient(Socket(family));
  client.connect(lst.getsockname());
  return {std::move(client), patient(lst.accept().socket)};
}

/// A datagram socket bound to an abstract name of the kernel's choice, or to a free port.
inline Socket named_socket(int family = AF_INET) {
  Socket sk = patient(Socket(family, SOCK_DGRAM));
  if (family == AF_UNIX) {
    sk.bind("");
  } else {
    sk.bind({family == AF_INET6 ? "::1" : "127.0.0.1", 0});
  }
  return sk;
}

inline Pair udp_pair(int family = AF_INET) {
  Pair pair{named_socket(family), named_socket(family)};
  pair.client.connect(pair.server.getsockname());
  pair.server.connect(pair.client.getsockname());
  return pair;
}

using MakePair = Pair (*)();

/// Runs the test once for each kind of stream.
inline Pair stream_pair() {
  return GENERATE(
      Catch::Generators::as<MakePair>{}, [] { return tcp_pair(AF_INET); },
      [] { return tcp_pair(AF_INET6); }, [] { return unix_pair(); })();
}

/// Runs the test once for each kind of socket that keeps messages apart.
inline Pair message_pair() {
  return GENERATE(
      Catch::Generators::as<MakePair>{}, [] { return udp_pair(AF_INET); },
      [] { return udp_pair(AF_INET6); }, [] { return unix_pair(SOCK_DGRAM); },
      [] { return unix_pair(SOCK_SEQPACKET); })();
}

inline Pair any_pair() { return GENERATE(true, false) ? stream_pair() : message_pair(); }

/// Bytes in which no two blocks are alike, so that a lost, doubled or swapped part shows.
inline std::string pattern(std::size_t size) {
  std::string data(size, '\0');
  std::uint32_t state = 1;
  for (char& c : data) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return data;
}

/// Receives what has arrived, without waiting. On a Unix socket that is all that was sent.
inline std::string arrived(Socket& sk) {
  std::string data(1 << 16, '\0');
  std::error_code none;
  data.resize(sk.recv_into(data, MSG_DONTWAIT, none));
  return data;
}

/// Receives until the end of file.
inline std::string rest_of(Socket& sk) {
  std::string all;
  for (std::string part; !(part = sk.recv(1 << 20)).empty();) all += part;
  return all;
}

/// Waits until poll(2) reports one of the events, an error or a hang-up.
inline void wait_for(const Socket& sk, short events) {
  pollfd entry{sk.fileno(), events, 0};
  REQUIRE(::poll(&entry, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())) == 1);
}

/// A TCP address of 127.0.0.1 that refuses connections: its socket is bound, but does not listen.
struct RefusingPort {
  Socket holder = [] {
    Socket sk;
    sk.bind({"127.0.0.1", 0});
    return sk;
  }();
  thinsock::Address address = holder.getsockname();
};

/// Sends a datagram to a port that refuses it, which leaves an error in the error queue of the UDP
/// socket (IP_RECVERR, ip(7)). It stays there until it is received with MSG_ERRQUEUE, although the
/// next call on the socket reports the error as well.
inline void leave_error_unread(Socket& sk) {
  Socket refusing = named_socket();
  refusing.connect(refusing.getsockname());  // It takes datagrams only from itself.
  sk.setsockopt(IPPROTO_IP, IP_RECVERR, 1);
  sk.sendto("x", refusing.getsockname());
  wait_for(sk, 0);
}

/// A listener with a full backlog: the next connect waits, because nobody accepts.
struct FullListener {
  explicit FullListener(thinsock::AddressLike address, int family = AF_INET)
      : lst(thinsock::create_server(address, {.family = family, .backlog = 0})),
        first(family),
        name(lst.getsockname()) {
    first.connect(name);
  }
  FullListener(FullListener&&) = delete;
  Socket lst;
  Socket first;
  thinsock::Address name;
};

/// A new directory, removed with its content at the end of the scope.
class TempDir {
 public:
  TempDir() {
    std::string name = "/tmp/thinsock-XXXXXX";
    if (!::mkdtemp(name.data())) throw std::system_error(errno, std::system_category(), "mkdtemp");
    path_ = name;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() { std::filesystem::remove_all(path_); }
  std::string operator/(const char* name) const { return path_ + '/' + name; }

 private:
  std::string path_;
};

inline bool is_open(int fd) { return ::fcntl(fd, F_GETFD) != -1; }

/// How many descriptors the process has open.
inline std::size_t open_descriptors() {
  using Entries = std::filesystem::directory_iterator;
  return static_cast<std::size_t>(std::distance(Entries("/proc/self/fd"), Entries()));
}

/// Until the end of the scope the process can open only `left` more descriptors.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(std::size_t left) {
    ::getrlimit(RLIMIT_NOFILE, &old_);
    rlimit limit = old_;
    limit.rlim_cur = std::max<rlim_t>(256, open_descriptors() + 64);
    ::setrlimit(RLIMIT_NOFILE, &limit);
    for (int fd; (fd = ::dup(0)) != -1;) fillers_.push_back(fd);
    for (; left > 0; --left) free_one();
  }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;
  ~DescriptorLimit() {
    while (!fillers_.empty()) free_one();
    ::setrlimit(RLIMIT_NOFILE, &old_);
  }
  void free_one() {
    ::close(fillers_.back());
    fillers_.pop_back();
  }

 private:
  rlimit old_{};
  std::vector<int> fillers_;
};

using Milliseconds = std::chrono::duration<double, std::milli>;

class Stopwatch {
 public:
  Milliseconds elapsed() const { return std::chrono::steady_clock::now() - start_; }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// The only sleep in the tests, for what no event announces: that a thread waits in a call by now,
/// or that nothing happens for a while (no timeout, no wake-up, no processor time). A pause that is
/// too short makes a test weaker, but cannot make it fail.
inline void pause_for(std::chrono::milliseconds time) { std::this_thread::sleep_for(time); }

/// Checks the condition again and again until it holds; false if it does not within kPatience.
template <class Condition>
bool eventually(const Condition& condition) {
  const Stopwatch watch;
  while (!condition()) {
    if (watch.elapsed() > kPatience) return false;
    std::this_thread::yield();
  }
  return true;
}

/// Closes a TCP socket with a reset. On a Unix socket it is a plain close, after which the peer's
/// sends fail with EPIPE.
inline void reset(Socket sk) {
  sk.set_linger(0s);
  sk.close();
}

/// Interrupts this thread every few milliseconds, by a signal that does not restart system calls.
class Interrupter {
 public:
  ~Interrupter() {
    stop_ = true;
    sender_.join();
  }

 private:
  // Declared before sender_, so that the handler is installed before the first signal is sent.
  int installed_ = [] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    return ::sigaction(SIGUSR1, &action, nullptr);
  }();
  pthread_t target_ = ::pthread_self();
  std::atomic<bool> stop_ = false;
  std::thread sender_{[this] {
    for (; !stop_; pause_for(2ms)) ::pthread_kill(target_, SIGUSR1);
  }};
};

/// Whether SO_RCVTIMEO or SO_SNDTIMEO is set.
inline bool has_timer(const Socket& sk, int option) {
  return sk.getsockopt(SOL_SOCKET, option, sizeof(timeval)) != std::string(sizeof(timeval), '\0');
}

inline bool nonblocking(const Socket& sk) { return ::fcntl(sk.fileno(), F_GETFL) & O_NONBLOCK; }

/// Sets the default timeout until the end of the scope.
struct DefaultTimeout {
  explicit DefaultTimeout(thinsock::Timeout timeout) { thinsock::setdefaulttimeout(timeout); }
  ~DefaultTimeout() { thinsock::setdefaulttimeout(old); }
  thinsock::Timeout old = thinsock::getdefaulttimeout();
};

/// The processor time of this thread.
inline Milliseconds cpu_time() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

/// How a call ended.
struct Outcome {
  std::error_code error;
  std::size_t transferred = 0;
  bool is_timeout = false;
  Milliseconds time{};
  Milliseconds cpu{};
};

template <class Call>
Outcome outcome_of(const Call& call) {
  Outcome outcome;
  const Milliseconds cpu = cpu_time();
  const Stopwatch watch;
  try {
    call();
  } catch (const thinsock::Error& error) {
    outcome.error = error.code();
    outcome.transferred = error.transferred();
    outcome.is_timeout = dynamic_cast<const thinsock::TimeoutError*>(&error) != nullptr;
  }
  outcome.time = watch.elapsed();
  outcome.cpu = cpu_time() - cpu;
  return outcome;
}

/// The code of the Error that a call threw, or no code if it threw none.
template <class Call>
std::error_code code_of(const Call& call) {
  try {
    call();
  } catch (const thinsock::Error& error) {
    return error.code();
  }
  return {};
}

/// Matches an Error by its code, as in
/// REQUIRE_THROWS_MATCHES(call, Error, Code(std::errc::connection_refused)).
class Code : public Catch::MatcherBase<thinsock::Error> {
 public:
  explicit Code(std::errc expected) : expected_(expected) {}
  bool match(const thinsock::Error& error) const override { return error.code() == expected_; }
  std::string describe() const override {
    return "has code " + std::make_error_code(expected_).message();
  }

 private:
  std::errc expected_;
};

}  // namespace test
