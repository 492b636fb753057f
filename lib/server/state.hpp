// What goes on inside a server.
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
  /// What somebody has asked for; signal handlers do. Only a stop is ever taken back.
  enum class Asked : unsigned char { nothing, stop, close };
  /// What the server is doing. A stop counts for the next serve_forever if that is the first
  /// (ready), and for none if one has ended.
  enum class Doing : unsigned char { ready, taking, draining, ended };

  explicit State(BaseServer& server) : threads(server), children(server) {
    check(bell.open(), "eventfd");
    door.emplace(bell);
  }

  static_assert(std::atomic<Asked>::is_always_lock_free);
  std::atomic<Asked> asked = Asked::nothing;
  Bell bell;  // Rings when something is asked.
  std::optional<Door> door;
  pid_t process = ::getpid();  // Whose bell and door these are.

  std::mutex mutex;
  std::condition_variable changed;
  Doing doing = Doing::ready;
  /// The class that serves, while its requests may run: the guard against destroying it too early.
  const std::type_info* in_use_as = nullptr;

  Answering current;     // What the loop itself answers.
  bool failing = false;  // The last attempt to get a request has failed.
  bool trouble = false;  // The listener is ready, but not readable.
  /// When requests that begin now have to end.
  std::atomic<Answering::Ends> requests_end = Answering::Ends::when_answered;
  std::stop_source cut;  // Stopped when requests are cut off.
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

/// A moment of the steady clock.
inline std::chrono::steady_clock::time_point moment_after(Timeout timeout) noexcept {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(Deadline(timeout).end()));
}

}  // namespace thinsock
