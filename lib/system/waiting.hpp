// Waits in ppoll(2) until a descriptor is ready, the deadline has passed, or a scope is stopped.
#pragma once

#include <poll.h>

#include <chrono>
#include <cstddef>

#include "deadline.hpp"
#include "result.hpp"

namespace thinsock {

/// Waits for one of the poll(2) events, an error or a hang-up: returns revents, -ETIMEDOUT or
/// -ECANCELED. With fd -1 it waits until the deadline.
Result wait(int fd, short events, Deadline& deadline) noexcept;

/// Waits for any of several descriptors, sets their revents, and returns 0. entries must have room
/// for one more.
Result wait_any(pollfd* entries, std::size_t count, Deadline& deadline) noexcept;

/// The waits between the tries of one call.
class Retry {
 public:
  Retry(int fd, short events, Deadline& deadline) noexcept
      : fd_(fd), events_(events), deadline_(deadline) {}

  /// Waits until another try may succeed: 0, or -ETIMEDOUT or -ECANCELED.
  Result wait() noexcept;
  /// Whether poll has reported a hang-up: nothing more will come.
  bool hung_up() const noexcept { return hung_up_; }

 private:
  int fd_;
  short events_;
  Deadline& deadline_;
  bool waited_ = false;
  bool hung_up_ = false;
  std::chrono::nanoseconds step_ = std::chrono::microseconds(50);
};

/// Continues a call after its first try: repeats it after EINTR, and on EAGAIN whenever fd is
/// ready. The call must not block, unless deadline.kernel_waits(fd). After a hang-up the result is
/// `at_end`.
template <class Call>
Result resumed(Result result, const Call& call, int fd, short events, Deadline& deadline,
               Result at_end = -EINVAL) noexcept {
  if (result == -EINTR) result = retried(call);
  if (deadline.at_once()) return result;
  for (Retry retry(fd, events, deadline); result == -EAGAIN; result = retried(call)) {
    if (retry.hung_up()) return at_end;
    if (const Result ready = retry.wait(); ready < 0) return ready;
  }
  return result;
}

/// The same, including the check for a stop and the first try.
template <class Call>
Result answer_of(const Call& call, int fd, short events, Deadline& deadline) noexcept {
  const Result stop = deadline.at_once() ? 0 : interrupted();
  return stop < 0 ? stop : resumed(once(call), call, fd, events, deadline);
}

}  // namespace thinsock
