// What the tests of forking servers share: handlers that send the id of their process, and clients
// that know which process serves them.
#pragma once

#include "child.hpp"
#include "handlers.hpp"

namespace test {

using thinsock::ForkingTCPServer;

/// Sends the id of its process, and ends when the client sends a byte or its end of file.
inline void tell_pid_and_wait(Socket& request, const Address&) {
  request.sendall(std::to_string(::getpid()) + '\n');
  request.recv(1);
}
inline void tell_pid(Socket& request, const Address&) {
  request.sendall(std::to_string(::getpid()) + '\n');
}

inline pid_t pid_from(Socket& client) {
  std::string line;
  for (char c; client.recv_into({&c, 1}) == 1 && c != '\n';) line += c;
  return line.empty() ? -1 : std::stoi(line);
}

/// A client whose request is being served, until end() or the end of the scope. end() shuts the
/// connection down: a close would not end it, because processes that were forked later have copies
/// of the client's descriptor.
struct Served {
  explicit Served(BaseServer& server) : client(client_of(server)) {
    server.handle_request();
    pid = pid_from(client);
  }
  Served(Served&&) = default;
  ~Served() { end(); }
  void end() { ::shutdown(client.fileno(), SHUT_WR); }
  /// Returns the exit status of the process, which stays a zombie.
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

/// Whether the server reaps all its children in time. A server that does not serve reaps them in
/// handle_request, which is called without a client.
inline bool childless_in_time(ForkingTCPServer& server, bool serves = false) {
  if (!serves) server.socket.settimeout(1ms);
  return eventually([&] {
    if (!serves) server.handle_request();
    return server.active_children().empty();
  });
}

inline bool exists(pid_t pid) { return ::kill(pid, 0) == 0; }

/// Whether this process has no children, not even zombies.
inline bool no_children() { return ::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }

}  // namespace test
