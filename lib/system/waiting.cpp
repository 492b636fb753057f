#include "waiting.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <ctime>

using std::chrono::nanoseconds;
using std::chrono::seconds;

namespace thinsock {

namespace {

constexpr nanoseconds kLongestStep = std::chrono::milliseconds(10);

}  // namespace

Result wait(int fd, short events, Deadline& deadline) noexcept {
  // Checked first, or a descriptor that is always ready would keep the call from timing out.
  if (!deadline.never() && deadline.remaining() == nanoseconds(0)) return -ETIMEDOUT;
  pollfd entries[2] = {{fd, events, 0}, {}};
  const Result result = wait_any(entries, 1, deadline);
  return result < 0 ? result : entries[0].revents;
}

Result wait_any(pollfd* entries, std::size_t count, Deadline& deadline) noexcept {
  const bool can_be_stopped = count > 1 || scopes_end(entries[0].fd);
  const Bell* bell = can_be_stopped ? bell_of_scopes() : nullptr;
  pollfd& stop_entry = entries[count];
  for (;;) {
    if (const Result stop = interrupted(); stop < 0) return stop;
    stop_entry = {bell ? bell->fileno() : -1, POLLIN, 0};  // poll ignores -1.
    // With a bell that has no descriptor, poll in steps and check for a stop after each.
    const nanoseconds step = bell && stop_entry.fd == -1 ? kLongestStep : nanoseconds::max();
    const nanoseconds left = std::min(deadline.remaining(), step);
    const timespec time{static_cast<std::time_t>(left / seconds(1)),
                        static_cast<long>((left % seconds(1)).count())};
    const Result ready = once([&] {
      return ::ppoll(entries, count + 1, left == nanoseconds::max() ? nullptr : &time, nullptr);
    });
    if (ready == 0 && left < step) return -ETIMEDOUT;
    if (ready < 0 && ready != -EINTR) return ready;
    // An earlier scope, or a forked process that shares the bell, may have rung it.
    const bool rang = ready > 0 && stop_entry.revents != 0;
    if (rang) bell->silence();
    if (ready > rang) return 0;
  }
}

// If poll reports ready but the call returns EAGAIN, poll cannot see what is missing: there is no
// room at the receiver of a Unix datagram, or nobody reads the socket's error queue. Then the
// retries back off, so no call spins, and none is late by more than it has waited.
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
  // After shutdown(SHUT_RD) poll reports a hang-up, while some calls still return EAGAIN.
  const short hang_up = events_ == POLLIN ? POLLHUP | POLLRDHUP : 0;
  const Result seen = thinsock::wait(fd_, static_cast<short>(events_ | hang_up), deadline_);
  hung_up_ = seen > 0 && seen & hang_up;
  return std::min(seen, 0L);
}

}  // namespace thinsock
