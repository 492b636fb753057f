// The only wait. A call that finds nothing waits here until it is worth another try.
#pragma once

#include <poll.h>

#include <chrono>
#include <cstddef>

#include "deadline.hpp"
#include "result.hpp"

namespace thinsock {

/// Waits for one of the poll(2) events, or trouble: returns what poll saw, or -ETIMEDOUT or
/// -ECANCELED. Without a descriptor (-1) it waits until the deadline.
Result wait(int fd, short events, Deadline& deadline) noexcept;

/// Waits for any of several descriptors, whose entries say afterwards what poll saw, and returns 0.
/// There must be room for one more entry behind them.
Result wait_any(pollfd* entries, std::size_t count, Deadline& deadline) noexcept;

/// What a call waits for between two tries.
class Retry {
 public:
  Retry(int fd, short events, Deadline& deadline) noexcept
      : fd_(fd), events_(events), deadline_(deadline) {}

  /// Waits until another try may succeed: 0, or -ETIMEDOUT or -ECANCELED.
  Result wait() noexcept;
  /// Whether poll has said that nothing will ever come.
  bool hung_up() const noexcept { return hung_up_; }

 private:
  int fd_;
  short events_;
  Deadline& deadline_;
  bool waited_ = false;
  bool hung_up_ = false;
  std::chrono::nanoseconds step_ = std::chrono::microseconds(50);
};

/// Goes on with a call whose first try has had this result: makes it again after a signal, and
/// whenever its descriptor is ready, until it has another answer than EAGAIN. This is the one way
/// of every byte and connection that has to wait. The call itself must not block, unless
/// deadline.kernel_waits(fd). `at_end` is the answer once the descriptor has hung up.
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

/// The same from the first try on.
template <class Call>
Result answer_of(const Call& call, int fd, short events, Deadline& deadline) noexcept {
  const Result stop = deadline.at_once() ? 0 : interrupted();
  return stop < 0 ? stop : resumed(once(call), call, fd, events, deadline);
}

}  // namespace thinsock
