// What the tests share: real sockets on loopback, each with a deadline, and the kernel's own view.
#pragma once

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
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

/// Long enough for any machine; whoever waits this long has failed.
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

/// A UDP socket bound to a free port of 127.0.0.1.
inline Socket udp_socket() {
  Socket sk = patient(Socket(AF_INET, SOCK_DGRAM));
  sk.bind({"127.0.0.1", 0});
  return sk;
}

/// A TCP address of 127.0.0.1 that refuses connections: bound, but not listening.
struct RefusingPort {
  Socket holder = [] {
    Socket sk;
    sk.bind({"127.0.0.1", 0});
    return sk;
  }();
  thinsock::Address address = holder.getsockname();
};

/// A listener whose backlog is full: a further connect waits, and nobody will accept it.
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

/// A directory of its own, removed with all it holds.
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

/// How many descriptors the process has open.
inline std::size_t open_descriptors() {
  using Entries = std::filesystem::directory_iterator;
  return static_cast<std::size_t>(std::distance(Entries("/proc/self/fd"), Entries()));
}

/// Leaves the process only `left` descriptors to open until the end of the scope.
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

/// Sends this thread a signal every few milliseconds, whose handler does not restart system calls.
class Interrupter {
 public:
  ~Interrupter() {
    stop_ = true;
    sender_.join();
  }

 private:
  // Before the first signal is sent.
  int installed_ = [] {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    return ::sigaction(SIGUSR1, &action, nullptr);
  }();
  pthread_t target_ = ::pthread_self();
  std::atomic<bool> stop_ = false;
  std::thread sender_{[this] {
    const timespec pause{0, 2'000'000};
    while (!stop_) {
      ::pthread_kill(target_, SIGUSR1);
      ::nanosleep(&pause, nullptr);
    }
  }};
};

class Stopwatch {
 public:
  std::chrono::duration<double, std::milli> elapsed() const {
    return std::chrono::steady_clock::now() - start_;
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// REQUIRE_THROWS_MATCHES(call, Error, Code(std::errc::connection_refused))
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
