// Every call that may have to wait, each with what makes it wait, and a thread to make it in.
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

using std::chrono::milliseconds;
using thinsock::Address;
using thinsock::CancelScope;
using thinsock::create_connection;
using thinsock::SocketStream;
using thinsock::Timeout;

// By a socket nobody ever sends to.
inline void let_pass(milliseconds time) {
  Pair pair = unix_pair();
  pair.server.settimeout(time);
  std::error_code error;
  char byte[1];
  pair.server.recv_into(byte, error);
}

// Until no more fits. By the kernel's own calls: what is tested here should not be the tool.
inline Pair filled(Pair pair, const Address& to = Address()) {
  const std::string block(4096, 'x');
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

// How much was still to be received.
inline std::size_t drain(Socket& sk) {
  std::string buf(65536, '\0');
  std::error_code error;
  std::size_t all = 0;
  while (!error) all += sk.recv_into(buf, MSG_DONTWAIT, error);
  return all;
}

// What the calls below are made on, at the server's end of it.
inline Pair tcp() { return tcp_pair(); }
inline Pair tcp6() { return tcp_pair(AF_INET6); }
inline Pair stream() { return unix_pair(); }
inline Pair packets() { return unix_pair(SOCK_SEQPACKET); }
inline Pair full_stream() { return filled(stream()); }
inline Pair listening() { return {patient(Socket()), listener()}; }
inline Pair full_queue() {
  Pair pair{patient(Socket(AF_UNIX, SOCK_DGRAM)), patient(Socket(AF_UNIX, SOCK_DGRAM))};
  pair.client.bind("");
  const Address name = pair.client.getsockname();
  return filled(std::move(pair), name);
}
inline Pair full_listener(FullListener full) {
  return {std::move(full.first), std::move(full.lst)};
}
inline Pair tcp_backlog() { return full_listener(FullListener(Address("127.0.0.1", 0))); }
inline Pair unix_backlog() { return full_listener(FullListener("", AF_UNIX)); }

// What lets such a call go on, and the next one.
inline void give(Pair& p) { p.client.sendall("xxx\n"); }
inline void take(Pair& p) { drain(p.client); }
inline void come(Pair& p) { p.client.connect(p.server.getsockname()); }
inline void admit(Pair& p) { patient(p.server.dup()).accept(); }

inline void connect(Pair& p) {
  Socket sk(p.server.family());
  sk.settimeout(p.server.gettimeout());
  sk.connect(p.server.getsockname());
}

inline void create(Pair& p, Timeout delay) {
  create_connection(p.server.getsockname(), p.server.gettimeout(), {}, delay);
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

// A call that has to wait.
struct Kind {
  const char* name;
  Pair (*ends)();
  void (*call)(Pair&);
  void (*release)(Pair&);
};

inline char sink[16];
inline const thinsock::ConstBuffer kTwo[] = {"x", "x"};

inline const Kind kKinds[] = {
    {"accept", listening, [](Pair& p) { p.server.accept(); }, come},
    {"recv", tcp, [](Pair& p) { p.server.recv(9); }, give},
    {"recv of a message", packets, [](Pair& p) { p.server.recv(1 << 20); }, give},
    {"recv_into", stream, [](Pair& p) { p.server.recv_into(sink); }, give},
    {"recv_exactly", tcp6, [](Pair& p) { p.server.recv_exactly(4); }, give},
    {"recvfrom", packets, [](Pair& p) { p.server.recvfrom(9); }, give},
    {"recvmsg", stream, [](Pair& p) { p.server.recvmsg(9, 64); }, give},
    {"readline", stream, readline, give},
    {"send on Unix", full_stream, [](Pair& p) { p.server.send("x"); }, take},
    {"sendall", full_stream, [](Pair& p) { p.server.sendall("xx"); }, take},
    {"sendmsg", full_stream, [](Pair& p) { p.server.sendmsg(kTwo); }, take},
    {"sendfile", full_stream, sendfile, take},
    {"sendfile of a pipe", full_stream, sendfile_of_a_pipe, take},
    {"flush", full_stream, flush, take},
    {"sendto", full_queue, sendto, take},
    {"sendmsg to a path", full_queue, sendmsg_to, take},
    {"connect on TCP", tcp_backlog, connect, admit},
    {"connect on Unix", unix_backlog, connect, admit},
    {"create_connection", tcp_backlog, [](Pair& p) { create(p, std::nullopt); }, admit},
    {"create_connection, delay", tcp_backlog, [](Pair& p) { create(p, 250ms); }, admit},
    {"create_connection to a path", unix_backlog, [](Pair& p) { create(p, std::nullopt); }, admit},
};

// A call under way in a scope of its own thread, which is left behind if the call hangs.
class Running {
 public:
  Running(const Kind& kind, Timeout timeout, std::stop_token token, Timeout budget,
          bool interrupted = false)
      : kind_(kind), ends_(std::make_shared<Pair>(kind.ends())) {
    ends_->server.settimeout(timeout);
    std::packaged_task<Outcome()> task([&kind, token, budget, interrupted, ends = ends_] {
      std::optional<Interrupter> interrupter;
      if (interrupted) interrupter.emplace();
      return outcome_of([&] {
        const CancelScope scope(token, budget);
        kind.call(*ends);
      });
    });
    outcome_ = task.get_future();
    thread_ = std::thread(std::move(task));
  }
  Running(Running&&) = default;
  ~Running() {
    if (!thread_.joinable()) return;
    ended() ? thread_.join() : thread_.detach();
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
    REQUIRE(ended());
    thread_.join();
    return outcome_.get();
  }

 private:
  bool ended() const { return outcome_.wait_for(2 * kPatience) == std::future_status::ready; }

  const Kind& kind_;
  std::shared_ptr<Pair> ends_;
  std::future<Outcome> outcome_;
  std::thread thread_;
};

}  // namespace test
