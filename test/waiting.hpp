// Tables of every call that may have to wait, each with what makes it wait and what releases it,
// and a thread that makes the call.
#pragma once

#include <poll.h>
#include <sys/mman.h>

#include <future>
#include <memory>
#include <optional>
#include <stop_token>

#include "support.hpp"
#include "thinsock/cancel.hpp"
#include "thinsock/message.hpp"
#include "thinsock/stream.hpp"

namespace test {

using thinsock::Address;
using thinsock::CancelScope;
using thinsock::create_connection;
using thinsock::SocketStream;
using thinsock::Timeout;

/// How late a call may end on a loaded machine: well within kPatience.
constexpr auto kLate = 1000ms;

/// Sends from the server's end until no more fits. It makes the system calls itself, so as not to
/// rely on the code under test.
inline Pair filled(Pair pair, const Address& to = Address()) {
  // Datagrams are short, so that they fill the receiver's queue and not the sender's buffer.
  const std::string block(pair.server.type() == SOCK_DGRAM ? 1 : 4096, 'x');
  const int fd = pair.server.fileno();
  const sockaddr* name = to.size() == 0 ? nullptr : to.data();
  pollfd entry{fd, POLLOUT, 0};
  do {
    for (const std::size_t size : {block.size(), std::size_t(1)}) {
      while (::sendto(fd, block.data(), size, MSG_DONTWAIT, name, to.size()) > 0) continue;
    }
  } while (name == nullptr && ::poll(&entry, 1, 10) == 1);
  return pair;
}

/// Receives all that has arrived, and returns how much that was.
inline std::size_t drain(Socket& sk) {
  std::string buf(65536, '\0');
  std::error_code error;
  std::size_t all = 0;
  while (!error) all += sk.recv_into(buf, MSG_DONTWAIT, error);
  return all;
}

// The pairs of sockets on whose server's end the calls below are made.
inline Pair tcp() { return tcp_pair(); }
inline Pair tcp6() { return tcp_pair(AF_INET6); }
inline Pair stream() { return unix_pair(); }
inline Pair udp() { return udp_pair(); }
inline Pair packets() { return unix_pair(SOCK_SEQPACKET); }
inline Pair full_stream() { return filled(stream()); }
inline Pair full_packets() { return filled(packets()); }
inline Pair listening() { return {patient(Socket()), listener()}; }
// A sender waits while the queue of a bound socket is full. A socketpair's queues have no limit.
inline Pair queue() { return {named_socket(AF_UNIX), patient(Socket(AF_UNIX, SOCK_DGRAM))}; }
inline Pair full_queue() {
  Pair pair = queue();
  const Address name = pair.client.getsockname();
  return filled(std::move(pair), name);
}
inline Pair full_connected_queue() {
  Pair pair = queue();
  pair.server.connect(pair.client.getsockname());
  return filled(std::move(pair));
}
inline Pair full_listener(FullListener full) {
  return {std::move(full.first), std::move(full.lst)};
}
inline Pair tcp_backlog() { return full_listener(FullListener(Address("127.0.0.1", 0))); }
inline Pair unix_backlog() { return full_listener(FullListener("", AF_UNIX)); }

// Each of these lets a waiting call go on, and the call after it.
inline void give(Pair& p) { p.client.sendall("xxx\n"); }
inline void take(Pair& p) { drain(p.client); }
inline void come(Pair& p) { p.client.connect(p.server.getsockname()); }
inline void admit(Pair& p) { (void)patient(p.server.dup()).accept(); }

inline void connect(Pair& p) {
  Socket sk(p.server.family());
  sk.settimeout(p.server.gettimeout());
  sk.connect(p.server.getsockname());
}

inline void connect_ex(Pair& p) {
  Socket sk(p.server.family());
  sk.settimeout(p.server.gettimeout());
  const std::error_code error = sk.connect_ex(p.server.getsockname());
  if (error == std::errc::timed_out) throw thinsock::TimeoutError(error, "connect_ex");
  if (error) throw thinsock::Error(error, "connect_ex");
}

inline void create(Pair& p, Timeout delay) {
  (void)create_connection(p.server.getsockname(), p.server.gettimeout(), {}, delay);
}

inline void recv_exactly_into(Pair& p) {
  char buf[4];
  p.server.recv_exactly_into(buf);
}

inline void recvfrom_into(Pair& p) {
  char buf[4];
  p.server.recvfrom_into(buf);
}

inline void readline(Pair& p) {
  SocketStream in = p.server.makefile("r");
  in.exceptions(std::ios::badbit);
  in.readline();
}

inline void flush(Pair& p) {
  SocketStream out(p.server);
  out.exceptions(std::ios::badbit);
  out << "x" << std::flush;
}

inline void sendto(Pair& p) { p.server.sendto("x", p.client.getsockname()); }
inline void sendmsg_to(Pair& p) { p.server.sendmsg({"x"}, {}, 0, p.client.getsockname()); }

inline void sendfile(Pair& p) {
  const thinsock::Descriptor file(::memfd_create("one byte", MFD_CLOEXEC));
  p.server.sendfile(::pwrite(file.fileno(), "x", 1, 0) == 1 ? file.fileno() : -1);
}

inline void sendfile_of_a_pipe(Pair& p) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) < 0) return;
  const thinsock::Descriptor in(ends[0]);
  thinsock::Descriptor out(ends[1]);
  if (::write(out.fileno(), "x", 1) == 1) out.close();
  p.server.sendfile(in.fileno());
}

inline char sink[16];
inline const thinsock::ConstBuffer kTwo[] = {"x", "x"};

/// A call that has to wait.
struct Kind {
  const char* name;
  Pair (*ends)();
  void (*call)(Pair&);
  void (*release)(Pair&);
};
using Kinds = std::vector<Kind>;

inline const Kinds kTransfers = {
    {"accept", listening, [](Pair& p) { (void)p.server.accept(); }, come},
    {"recv", tcp, [](Pair& p) { p.server.recv(9); }, give},
    {"recv on UDP", udp, [](Pair& p) { p.server.recv(9); }, give},
    {"recv of a message", packets, [](Pair& p) { p.server.recv(1 << 20); }, give},
    {"recv_into", stream, [](Pair& p) { p.server.recv_into(sink); }, give},
    {"recv_exactly", tcp6, [](Pair& p) { (void)p.server.recv_exactly(4); }, give},
    {"recv_exactly_into", stream, recv_exactly_into, give},
    {"recvfrom", udp, [](Pair& p) { p.server.recvfrom(9); }, give},
    {"recvfrom_into", [] { return unix_pair(SOCK_DGRAM); }, recvfrom_into, give},
    {"recvmsg", stream, [](Pair& p) { p.server.recvmsg(9, 64); }, give},
    {"readline", stream, readline, give},
    {"send on Unix", full_stream, [](Pair& p) { p.server.send("x"); }, take},
    {"send of a message", full_packets, [](Pair& p) { p.server.send("x"); }, take},
    {"send to a full queue", full_connected_queue, [](Pair& p) { p.server.send("x"); }, take},
    {"sendall", full_stream, [](Pair& p) { p.server.sendall("xx"); }, take},
    {"sendall of several", full_stream, [](Pair& p) { p.server.sendall(kTwo); }, take},
    {"sendmsg", full_stream, [](Pair& p) { p.server.sendmsg(kTwo); }, take},
    {"sendfile", full_stream, sendfile, take},
    {"sendfile of a pipe", full_stream, sendfile_of_a_pipe, take},
    {"flush", full_stream, flush, take},
    {"sendto", full_queue, sendto, take},
    {"sendmsg to a path", full_queue, sendmsg_to, take},
};
inline const Kinds kConnects = {
    {"connect on TCP", tcp_backlog, connect, admit},
    {"connect on Unix", unix_backlog, connect, admit},
    {"connect_ex", tcp_backlog, connect_ex, admit},
    {"create_connection", tcp_backlog, [](Pair& p) { create(p, std::nullopt); }, admit},
    {"create_connection, delay", tcp_backlog, [](Pair& p) { create(p, 250ms); }, admit},
    {"create_connection to a path", unix_backlog, [](Pair& p) { create(p, std::nullopt); }, admit},
};
inline const Kinds kKinds = [] {
  Kinds all = kTransfers;
  all.insert(all.end(), kConnects.begin(), kConnects.end());
  return all;
}();

/// How a call is made: in a CancelScope if that has a token or a budget.
struct Manner {
  Timeout timeout = std::nullopt;  // The timeout of the socket.
  std::optional<std::stop_token> token = {};
  Timeout budget = std::nullopt;
  bool interrupted = false;
  void (*prepare)(const Socket&) = [](const Socket&) {};  // Called after settimeout().
};

/// A call that runs in its own thread. The thread is detached if the call hangs.
class Running {
 public:
  Running(const Kind& kind, const Manner& manner)
      : kind_(kind), ends_(std::make_shared<Pair>(kind.ends())) {
    ends_->server.settimeout(manner.timeout);
    manner.prepare(ends_->server);
    std::packaged_task<Outcome()> task([&kind, manner, ends = ends_] {
      std::optional<Interrupter> interrupter;
      if (manner.interrupted) interrupter.emplace();
      return outcome_of([&] {
        std::optional<CancelScope> scope;
        if (manner.token || manner.budget != std::nullopt)
          scope.emplace(manner.token.value_or(std::stop_token()), manner.budget);
        kind.call(*ends);
      });
    });
    outcome_ = task.get_future();
    thread_ = std::thread(std::move(task));
  }
  Running(Running&&) = default;
  ~Running() {
    if (thread_.joinable()) finish();
  }

  const char* name() const { return kind_.name; }
  Pair& ends() { return *ends_; }
  void release() { kind_.release(*ends_); }
  void call_again() {
    ends_->server.settimeout(kPatience);
    kind_.call(*ends_);
  }
  Outcome outcome() {
    INFO(name());
    CHECK(finish());
    REQUIRE(ended());
    return outcome_.get();
  }

 private:
  bool ended() const { return outcome_.wait_for(2 * kPatience) == std::future_status::ready; }
  // Whether the call has ended by itself. If it has not, it is released, and its thread is detached
  // if the call hangs all the same.
  bool finish() {
    const bool by_itself = ended();
    if (!by_itself) release();
    by_itself || ended() ? thread_.join() : thread_.detach();
    return by_itself;
  }

  const Kind& kind_;
  std::shared_ptr<Pair> ends_;
  std::future<Outcome> outcome_;
  std::thread thread_;
};

inline std::vector<Running> all_running(const Manner& manner, const Kinds& kinds = kKinds) {
  std::vector<Running> all;
  for (const Kind& kind : kinds) all.emplace_back(kind, manner);
  return all;
}

/// Calls check(outcome) or check(outcome, running) for each call.
template <class Check>
void check_each(std::vector<Running> all, const Check& check) {
  for (Running& running : all) {
    const Outcome outcome = running.outcome();
    INFO(running.name() << ": " << outcome.error.message());
    if constexpr (std::is_invocable_v<Check, Outcome, Running&>) {
      check(outcome, running);
    } else {
      check(outcome);
    }
  }
}

inline void check_timed_out(const Outcome& outcome, Milliseconds earliest) {
  CAPTURE(outcome.error.message(), outcome.time.count(), earliest.count());
  CHECK(outcome.error == std::errc::timed_out);
  CHECK(outcome.is_timeout);
  CHECK(outcome.time >= earliest);
  CHECK(outcome.time < earliest + kLate);
}

}  // namespace test
