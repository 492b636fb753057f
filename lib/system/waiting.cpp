#include "waiting.hpp"

#include <sys/socket.h>

#include <algorithm>

using std::chrono::nanoseconds;

namespace thinsock {

namespace {

constexpr nanoseconds kLongestStep = std::chrono::milliseconds(10);

}  // namespace

Result wait(int fd, short events, Deadline& deadline) noexcept {
  // A deadline that is over must end the call, however often poll finds the descriptor ready.
  if (!deadline.never() && deadline.remaining() == nanoseconds(0)) return -ETIMEDOUT;
  pollfd entries[2] = {{fd, events, 0}, {}};
  const Result result = wait_any(entries, 1, deadline);
  return result < 0 ? result : entries[0].revents;
}

Result wait_any(pollfd* entries, std::size_t count, Deadline& deadline) noexcept {
  const bool can_be_stopped = current_scope != nullptr && scope_bell != nullptr;
  pollfd& stop_entry = entries[count];
  if (can_be_stopped) stop_entry = {scope_bell->fileno(), POLLIN, 0};
  for (;;) {
    timespec left{};
    if (!deadline.never()) {
      const nanoseconds remaining = deadline.remaining();
      left.tv_sec = remaining / std::chrono::seconds(1);
      left.tv_nsec = (remaining % std::chrono::seconds(1)).count();
    }
    const Result ready = once([&] {
      return ::ppoll(entries, count + can_be_stopped, deadline.never() ? nullptr : &left, nullptr);
    });
    if (const Result stop = interrupted(); stop < 0) return stop;
    if (ready == 0) return -ETIMEDOUT;
    if (ready < 0 && ready != -EINTR) return ready;
    // The bell is a former scope's, or rang for a process that has a copy of it.
    const bool rang = ready > 0 && can_be_stopped && stop_entry.revents != 0;
    if (rang) scope_bell->silence();
    if (ready > rang) return 0;
  }
}

// Where poll says "ready" and the call finds nothing all the same, poll cannot see what is missing:
// room at the receiver of a Unix datagram, or a read error queue. Then the tries follow each other
// in growing steps, so that no call spins, and none is late by more than it has waited.
Result Retry::wait() noexcept {
  pollfd entry{fd_, events_, 0};
  if (fd_ == -1 || (waited_ && retried([&] { return ::poll(&entry, 1, 0); }) > 0)) {
    if (deadline_.remaining() <= step_) return thinsock::wait(-1, 0, deadline_);
    Deadline step(step_);
    step_ = std::min(2 * step_, kLongestStep);
    const Result result = thinsock::wait(-1, 0, step);
    return result == -ETIMEDOUT ? interrupted() : result;
  }
  waited_ = true;
  // Of a socket that was shut down for receiving, poll says so, but not every call.
  const short hang_up = events_ == POLLIN ? POLLHUP | POLLRDHUP : 0;
  const Result seen = thinsock::wait(fd_, static_cast<short>(events_ | hang_up), deadline_);
  hung_up_ = seen > 0 && seen & hang_up;
  return std::min(seen, 0L);
}

}  // namespace thinsock
