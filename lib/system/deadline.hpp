// The moment at which a call gives up.
#pragma once

#include <chrono>
#include <cstdint>

#include "scope.hpp"
#include "thinsock/timeout.hpp"

namespace thinsock {

/// The steady clock, in nanoseconds.
std::int64_t now() noexcept;

/// The moment at which a whole call gives up, however often it waits; never after the end of the
/// thread's scopes. The clock is first read when the call has to wait, so a ready socket costs
/// none.
class Deadline {
 public:
  explicit Deadline(Timeout timeout) noexcept : timeout_(timeout) {}

  Timeout timeout() const noexcept { return timeout_; }
  bool never() const noexcept {
    return timeout_ == std::nullopt &&
           (current_scope == nullptr || earliest_scope_end() == INT64_MAX);
  }
  /// Whether the call may block in the kernel: it has no timeout, and no scope has to end it.
  bool kernel_waits(int fd) const noexcept { return timeout_ == std::nullopt && !scopes_end(fd); }
  /// Whether the socket is non-blocking: the call must not wait.
  bool at_once() const noexcept { return timeout_ == std::chrono::nanoseconds(0); }
  /// Starts the deadline, unless it has started or never ends.
  void start() noexcept;
  /// Starts the deadline. Returns it in nanoseconds of the steady clock; INT64_MAX is never.
  std::int64_t end() noexcept;
  /// Starts the deadline. Returns the time that is left, never negative.
  std::chrono::nanoseconds remaining() noexcept;
  /// Whether a partly done call must give up; never for a non-blocking socket.
  bool over() noexcept { return !never() && !at_once() && remaining().count() == 0; }

 private:
  Timeout timeout_;
  std::int64_t end_ = 0;  // 0 before the start.
};

}  // namespace thinsock
