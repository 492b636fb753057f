// What the tests of processes share: clients that know theirs, and programs of one's own to run.
#pragma once

#include <sys/wait.h>

#include <cstdio>
#include <functional>
#include <iostream>

#include "handlers.hpp"

namespace test {

using thinsock::ForkingTCPServer;

inline const AddressLike kLoopback("127.0.0.1", 0);

inline ServerOptions options_with(ServerOptions changed) {
  changed.timeout = changed.idle_timeout = kPatience;
  return changed;
}

// Tells its process, and ends when the client says so.
inline void tell_pid_and_wait(Socket& request, const Address&) {
  request.sendall(std::to_string(::getpid()) + '\n');
  request.recv(1);
}
inline void tell_pid(Socket& request, const Address&) {
  request.sendall(std::to_string(::getpid()) + '\n');
}

inline Socket client_of(const BaseServer& server) {
  Socket sk = patient(Socket(server.server_address.family()));
  sk.connect(server.server_address);
  return sk;
}

inline pid_t pid_from(Socket& client) {
  std::string line;
  for (char c; client.recv_into({&c, 1}) == 1 && c != '\n';) line += c;
  return line.empty() ? -1 : std::stoi(line);
}

// A client whose request has begun, and ends with it. By shutdown: later processes have a copy of
// the client's descriptor.
struct Served {
  explicit Served(BaseServer& server) : client(client_of(server)) {
    server.handle_request();
    pid = pid_from(client);
  }
  Served(Served&&) = default;
  ~Served() { end(); }
  void end() { ::shutdown(client.fileno(), SHUT_WR); }
  // But not waited for: how it ended.
  int wait_until_dead() const {
    siginfo_t info{};
    ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
    return info.si_status;
  }

  Socket client;
  pid_t pid = -1;
};

inline void serve_one(BaseServer& server) {
  Served served(server);
  served.end();
  served.wait_until_dead();
}

// handle_request that finds no client, which has other things to do all the same.
inline bool childless_in_time(ForkingTCPServer& server, bool serves = true) {
  const Stopwatch watch;
  server.socket.settimeout(1ms);
  while (!server.active_children().empty() && watch.elapsed() < kPatience) {
    serves ? server.handle_request() : std::this_thread::yield();
  }
  return server.active_children().empty();
}

inline bool exists(pid_t pid) { return ::kill(pid, 0) == 0; }

// Whether the test has any children left, dead or alive.
inline bool no_children() { return ::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }

// What a program that does this prints; an exception is printed too.
inline std::string output_of(const std::function<void()>& program) {
  Pair out = unix_pair();
  out.client.settimeout(4 * kPatience);
  const pid_t child = ::fork();
  REQUIRE(child != -1);
  if (child == 0) {
    ::alarm(15);
    std::fflush(stdout);
    ::dup2(out.server.fileno(), STDOUT_FILENO);
    out.client.close();
    out.server.close();
    try {
      program();
    } catch (const std::exception& exception) {
      std::printf("[%s]", exception.what());
    }
    std::cout.flush();
    std::fflush(stdout);
    ::_exit(0);
  }
  out.server.close();
  std::string all;
  for (std::string part; !(part = out.client.recv(4096)).empty();) all += part;
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  return all;
}

}  // namespace test
