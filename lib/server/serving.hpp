// What goes on inside a server: its loop, and the requests under way beside it.
#pragma once

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <typeinfo>
#include <utility>
#include <vector>

#include "../system/syscall.hpp"
#include "thinsock/message.hpp"
#include "thinsock/socketserver.hpp"

namespace thinsock {

/// The requests that a mix-in has under way beside the loop.
class Requests {
 public:
  virtual ~Requests() = default;

  /// Whether one more may be begun.
  virtual bool has_room() = 0;
  /// Whether the loop is to wait for the next one: there is room, or it is to be refused, and no
  /// thread waits for it itself; after a pause also if one does, which may not be told of requests
  /// that came before. If not, the loop is woken when that changes.
  virtual bool loop_waits(bool after_pause) = 0;
  /// None waits itself from here on.
  virtual void stop_waiting() noexcept {}
  /// Takes the request over unless it throws.
  virtual void start(Request& request, const Address& client_address) = 0;
  /// Waits for all of them, and cuts off those that have not ended by then: how many.
  virtual std::size_t finish(Timeout grace) = 0;

  /// What the loop is to poll for them, how long it may do so, and what came of it.
  virtual void watch(std::vector<pollfd>&) {}
  virtual Timeout patience() const { return std::nullopt; }
  virtual void tend(const pollfd*) {}

  virtual std::vector<pid_t> children() const { return {}; }
};

std::unique_ptr<Requests> make_threads(BaseServer& server, bool wait_themselves);
std::unique_ptr<Requests> make_children(BaseServer& server);

/// A connection that may have to be cut off from elsewhere: shut down, which wakes whoever is
/// blocked on it. Its handler may have closed it, and then the number may be another's.
struct Connection {
  Connection() = default;
  Connection(int fd, const Address& client) noexcept;
  bool cut() const noexcept;

  int fd = -1;
  const Address* client = nullptr;
  std::uint64_t cookie = 0;  // Of a Unix connection: its client may have no name to know it by.
};

/// Before bind: what Python's create_server and servers set.
void prepare_listener(Socket& sk, bool reuse_port, bool dualstack_ipv6);

inline std::chrono::steady_clock::time_point moment_after(Timeout timeout) noexcept {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(Deadline(timeout).end()));
}

/// What this thread is in the middle of, the innermost first: the loop of a server, or one of the
/// requests that a mix-in took from it.
struct Frame {
  const BaseServer* server;
  bool loop;
  const Frame* outer;
};
extern constinit thread_local const Frame* frames;

inline bool within(const BaseServer& server, bool loop_only = false) noexcept {
  for (const Frame* frame = frames; frame != nullptr; frame = frame->outer) {
    if (frame->server == &server && (frame->loop || !loop_only)) return true;
  }
  return false;
}

/// When to try for another request before it is known that there is one: again and again while that
/// goes well, and ever more seldom while it does not. Under load it spares every other call.
class Eagerness {
 public:
  bool tries() noexcept { return ++passed_ >= pause_; }
  void tried(bool well) noexcept {
    passed_ = 0;
    pause_ = well ? 1 : std::min(2 * pause_, 64U);
  }

 private:
  unsigned passed_ = 0, pause_ = 1;
};

struct BaseServer::State {
  /// What shutdown() means. Open: it ends the loop that runs or, if none does, the next. Ended:
  /// there is nothing to end. Closed: nor will there ever be.
  enum Phase { open, stopping, ended, closed };

  static_assert(std::atomic<Phase>::is_always_lock_free);  // A signal handler writes it.
  std::atomic<Phase> phase = open;
  Descriptor bell{static_cast<int>(check(open_wakeup(), "socketserver"))};  // Wakes the loop.

  std::mutex close_mutex;  // One server_close() at a time; locked before the other.
  std::mutex mutex;
  std::condition_variable changed;
  bool accepting = false;              // The loop runs.
  bool serving = false;                // Or its requests are being waited for.
  bool for_ever = false;               // As serve_forever does.
  bool closing = false;                // server_close() was called from within.
  std::atomic<bool> unwaited = false;  // Requests were begun and not waited for since.
  const std::type_info* served_as = nullptr;
  bool has_hooks = true;  // That may not be the library's own, and could tell who calls them.

  std::vector<pollfd> entries;
  Eagerness eagerness;
  Request request;  // What the loop has taken; its memory serves the next one too.
  Address client_address;
  std::mutex taking;  // Datagrams are taken one after the other, through one buffer.
  std::atomic<std::int64_t> pause_length = 0, pause_end = 0;  // After a failure to accept.

  std::unique_ptr<Requests> requests;
  std::atomic<std::size_t> cut_off = 0;

  // The connection that the loop itself answers, who is just cutting it off, and whether it would
  // come too late.
  std::atomic<const Connection*> current = nullptr;
  std::atomic<int> cutting = 0;
  std::atomic<bool> overdue = false;

  /// How long no request is to be taken.
  std::chrono::nanoseconds pause_left() const noexcept {
    const std::int64_t end = pause_end;
    return std::chrono::nanoseconds(end == 0 ? 0 : std::max<std::int64_t>(end - now(), 0));
  }
  void wake() noexcept { raise_wakeup(bell.fileno()); }
  /// May be called by signal handlers, as the next.
  void stop() noexcept {
    Phase before = open;
    if (phase.compare_exchange_strong(before, stopping)) wake();
  }
  void cut_current() noexcept {
    ++cutting;
    const Connection* connection = current.exchange(nullptr);
    if (connection != nullptr && connection->cut()) ++cut_off;
    --cutting;
  }
  void set(std::unique_ptr<Requests> made) {
    const std::lock_guard lock(mutex);
    requests = std::move(made);
  }
};

}  // namespace thinsock
