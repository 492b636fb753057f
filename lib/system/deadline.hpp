// When a call gives up.
#pragma once

#include <chrono>
#include <cstdint>

#include "scope.hpp"
#include "thinsock/timeout.hpp"

namespace thinsock {

/// The steady clock, in nanoseconds.
std::int64_t now() noexcept;

/// One moment for a whole call, however often the call waits, and never after the end of the
/// thread's scopes. A deadline starts when it is first looked at, so that a call which finds its
/// socket ready never reads the clock.
class Deadline {
 public:
  explicit Deadline(Timeout timeout) noexcept : timeout_(timeout) {}

  Timeout timeout() const noexcept { return timeout_; }
  bool never() const noexcept {
    return timeout_ == std::nullopt && (current_scope == nullptr || end_of_scopes() == INT64_MAX);
  }
  /// Whether the kernel may wait for the descriptor, because nothing but the call itself can end.
  bool kernel_waits(int fd) const noexcept { return timeout_ == std::nullopt && !scopes_end(fd); }
  /// Whether the call may not wait at all: its socket is non-blocking.
  bool at_once() const noexcept { return timeout_ == std::chrono::nanoseconds(0); }
  /// Starts the deadline, unless it has started or never ends.
  void start() noexcept;
  /// The moment, in nanoseconds of the steady clock; INT64_MAX if it never comes. Starts it.
  std::int64_t end() noexcept;
  /// How long it is until the end, not negative. Starts it.
  std::chrono::nanoseconds remaining() noexcept;
  /// Whether the end has come for a call that has done part of its work.
  bool over() noexcept { return !never() && !at_once() && remaining().count() == 0; }

 private:
  Timeout timeout_;
  std::int64_t end_ = 0;  // 0 before the start.
};

}  // namespace thinsock
