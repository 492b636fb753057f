// The private state of a server.
#pragma once

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <stop_token>
#include <typeinfo>

#include "../system/bell.hpp"
#include "../system/door.hpp"
#include "answering.hpp"
#include "children.hpp"
#include "role.hpp"
#include "thinsock/socketserver.hpp"
#include "threads.hpp"

namespace thinsock {

struct BaseServer::State {
  /// What was requested, possibly by a signal handler. Only a stop can be cleared again.
  enum class Asked : unsigned char { nothing, stop, close };
  /// What the server is doing. A stop while ready ends the first serve_forever; once ended, none.
  enum class Doing : unsigned char { ready, taking, draining, ended };

  explicit State(BaseServer& server) : threads(server), children(server) {
    check(bell.open(), "eventfd");
    door.emplace(bell);
  }

  static_assert(std::atomic<Asked>::is_always_lock_free);
  std::atomic<Asked> asked = Asked::nothing;
  Bell bell;  // Wakes the loop and every thread at the door.
  std::optional<Door> door;
  pid_t process = ::getpid();  // The process that opened bell and door.

  std::mutex mutex;
  std::condition_variable changed;
  Doing doing = Doing::ready;
  /// The server's class while its requests may run, else null; close_in_destructor checks it.
  const std::type_info* in_use_as = nullptr;

  Answering loop_request;           // The request that the loop itself answers.
  bool failure_reported = false;    // No request could be taken, and handle_error was told.
  bool listener_has_error = false;  // What woke the server is an error, not a client.
  /// When requests that begin now have to end.
  std::atomic<Answering::Ends> requests_end = Answering::Ends::when_answered;
  std::stop_source handlers_stop;  // Stopped when requests are cut off.
  std::atomic<std::size_t> cut_off = 0;
  RequestThreads threads;
  RequestChildren children;

  bool is_asked_to_end() const noexcept { return asked != Asked::nothing; }
  /// Async-signal-safe.
  void stop() noexcept {
    Asked before = Asked::nothing;
    if (asked.compare_exchange_strong(before, Asked::stop)) bell.ring();
  }
  void close() noexcept {
    asked = Asked::close;
    bell.ring();
  }
  bool serving() const noexcept { return doing == Doing::taking || doing == Doing::draining; }
};

/// The moment at which the timeout passes.
inline std::chrono::steady_clock::time_point moment_after(Timeout timeout) noexcept {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(Deadline(timeout).end()));
}

}  // namespace thinsock
