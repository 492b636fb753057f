#include "syscall.hpp"

#include <sys/ioctl.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

namespace thinsock {

namespace {

// How long a kernel timer may run so that it has ended, late as it may be (measured: by 6 ms or an
// eighth of its length), when `time` is over. Not positive if that is too short for it.
nanoseconds kernel_part(nanoseconds time) { return time - time / 8 - milliseconds(6); }

// Zero switches it off.
Result set_timer(int fd, int option, nanoseconds time) noexcept {
  const auto us = std::chrono::ceil<microseconds>(time).count();
  timeval value{};
  value.tv_sec = us / 1'000'000;
  value.tv_usec = us % 1'000'000;
  return once([&] { return ::setsockopt(fd, SOL_SOCKET, option, &value, sizeof value); });
}

// A call that may block, for no longer than `time`; for no time at all if that is not positive.
template <class Call>
Result try_for(int fd, nanoseconds time, const Call& call) noexcept {
  if (time <= nanoseconds(0)) {
    set_nonblocking(fd, true);
    const Result result = once(call);
    set_nonblocking(fd, false);
    return result;
  }
  set_timer(fd, SO_SNDTIMEO, time);
  const Result result = once(call);
  set_timer(fd, SO_SNDTIMEO, nanoseconds(0));
  return result;
}

// For what poll cannot wait for: the kernel's send timer does, in ever shorter steps, which are
// never long where a wakeup has to be looked for between them.
template <class Call>
Result by_send_timer(int fd, Deadline& deadline, const Call& call) noexcept {
  while (interrupted() == 0) {
    nanoseconds part = kernel_part(deadline.remaining());
    if (wakeup != nullptr) part = std::min<nanoseconds>(part, milliseconds(50));
    const Result result = try_for(fd, part, call);
    if (result != -EAGAIN && result != -EINTR) return result;
    if (part <= nanoseconds(0)) return wait(-1, 0, deadline);
    set_nonblocking(fd, false);  // Or another owner's O_NONBLOCK would make this loop spin.
  }
  return interrupted();
}

}  // namespace

constinit thread_local Wakeup* wakeup = nullptr;

// As std::chrono::steady_clock has it, at less cost.
std::int64_t now() noexcept {
  timespec time;
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

Result interruption() noexcept {
  if (wakeup->raised) return -ECANCELED;
  return wakeup->end != INT64_MAX && now() >= wakeup->end ? -ETIMEDOUT : 0;
}

void Deadline::start() noexcept {
  if (!started() && timeout_ != std::nullopt) start(now());
}

void Deadline::start(std::int64_t moment) noexcept {
  const std::int64_t length = std::optional<nanoseconds>(timeout_)->count();
  end_ = moment + std::min(length, INT64_MAX - moment);
}

void leave_scopes_in_child() noexcept {
  for (; wakeup != nullptr; wakeup = wakeup->outer) wakeup->fd = -1;
}

std::int64_t Deadline::end() noexcept {
  start();
  const std::int64_t scope = wakeup == nullptr ? INT64_MAX : wakeup->end;
  return started() ? std::min(end_, scope) : scope;
}

nanoseconds Deadline::remaining() noexcept {
  if (never()) return nanoseconds::max();
  return nanoseconds(std::max<std::int64_t>(end() - now(), 0));
}

Result wait(int fd, short events, Deadline& deadline) noexcept {
  // Or poll would go on telling of what the call it is for makes nothing of.
  if (!deadline.never() && deadline.remaining() == nanoseconds(0)) return -ETIMEDOUT;
  pollfd entries[2] = {{fd, events, 0}, {}};
  const Result result = wait_any(entries, 1, deadline);
  return result < 0 ? result : entries[0].revents;
}

Result wait_any(pollfd* entries, std::size_t count, Deadline& deadline) noexcept {
  if (wakeup != nullptr) entries[count++] = {wakeup->fd, POLLIN, 0};
  Result ready;
  do {
    timespec left{};
    if (!deadline.never()) {
      const nanoseconds remaining = deadline.remaining();
      left.tv_sec = remaining / std::chrono::seconds(1);
      left.tv_nsec = (remaining % std::chrono::seconds(1)).count();
    }
    ready =
        once([&] { return ::ppoll(entries, count, deadline.never() ? nullptr : &left, nullptr); });
  } while (ready == -EINTR);
  if (const Result stop = interrupted(); stop < 0) return stop;
  if (ready == 0) return -ETIMEDOUT;
  return ready < 0 ? ready : 0;
}

bool start_receive_timer(int fd, ReceiveTimer& timer, Timeout timeout,
                         Deadline& deadline) noexcept {
  if (timer == ReceiveTimer::forbidden || deadline.started() || wakeup != nullptr) return false;
  if (timer != ReceiveTimer::set) {
    // Below this the kernel's share is too small to be worth reading the clock first.
    if (timeout < milliseconds(100)) return false;
    deadline.start();
    if (set_timer(fd, SO_RCVTIMEO, kernel_part(deadline.remaining())) < 0) return false;
    timer = ReceiveTimer::set;
  }
  deadline.start();
  return true;
}

void stop_receive_timer(int fd, ReceiveTimer& timer) noexcept {
  if (timer == ReceiveTimer::forbidden || timer == ReceiveTimer::off) return;
  set_timer(fd, SO_RCVTIMEO, nanoseconds(0));
  timer = ReceiveTimer::off;
}

Result send_message(int fd, Deadline& deadline, const msghdr& message, int flags) noexcept {
  const auto call = [&](int more) { return ::sendmsg(fd, &message, flags | more); };
  const auto* name = static_cast<const sockaddr*>(message.msg_name);
  if (message.msg_namelen < sizeof name->sa_family || name->sa_family != AF_UNIX ||
      deadline.at_once() || flags & MSG_DONTWAIT) {
    return transmit(fd, deadline, flags, call);
  }
  if (const Result stop = interrupted(); stop < 0) return stop;
  const int first = deadline.leaves_waiting() ? 0 : MSG_DONTWAIT;
  const Result result = retried([&] { return call(first); });
  return result == -EAGAIN ? by_send_timer(fd, deadline, [&] { return call(0); }) : result;
}

Result connect(int fd, const Address& address, Deadline& deadline) noexcept {
  const auto call = [&] { return ::connect(fd, address.data(), address.size()); };
  const bool bounded = !deadline.leaves_waiting() && !deadline.at_once();
  if (const Result stop = interrupted(); bounded && stop < 0) return stop;
  // A Unix connect is never under way: it is made, or to be tried again.
  if (address.family() == AF_UNIX)
    return bounded ? by_send_timer(fd, deadline, call) : retried(call);

  const nanoseconds part = wakeup ? nanoseconds(0) : kernel_part(deadline.remaining());
  Result result = bounded ? try_for(fd, part, call) : once(call);
  if (result == -EINTR) result = -EINPROGRESS;
  if (result != -EINPROGRESS || deadline.at_once()) return result;
  if (const Result ready = wait(fd, POLLOUT, deadline); ready < 0) return ready;
  int error = 0;
  socklen_t size = sizeof error;
  result = once([&] { return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size); });
  return result < 0 ? result : -error;
}

Result set_nonblocking(int fd, bool nonblocking) noexcept {
  int value = nonblocking;
  return once([&] { return ::ioctl(fd, FIONBIO, &value); });
}

Result close_descriptor(int fd) noexcept {
  const Result result = once([&] { return ::close(fd); });
  return result == -EINTR || result == -ECONNRESET ? 0 : result;
}

}  // namespace thinsock
