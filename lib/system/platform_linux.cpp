#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "syscall.hpp"

namespace thinsock {

namespace {

// Keeps the SIGPIPE of a call that has no MSG_NOSIGNAL from this thread.
class SigpipeHeldBack {
 public:
  SigpipeHeldBack() noexcept {
    ::sigemptyset(&sigpipe_);
    ::sigaddset(&sigpipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
    was_pending_ = is_pending();
  }
  ~SigpipeHeldBack() {
    if (!::sigismember(&before_, SIGPIPE)) ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  // Takes back the one that came of a failure, perhaps of a call that had sent something all the
  // same. One that waited before is left: the process's is behind the thread's, but the thread's
  // own has become one with the new.
  void swallow(Result failure) const noexcept {
    if (was_pending_ && failure != -EPIPE) return;
    const timespec at_once{};
    retried([&] { return ::sigtimedwait(&sigpipe_, nullptr, &at_once); });
    if (was_pending_ && !is_pending()) ::pthread_kill(::pthread_self(), SIGPIPE);
  }

 private:
  static bool is_pending() noexcept {
    sigset_t pending;
    ::sigpending(&pending);
    return ::sigismember(&pending, SIGPIPE) == 1;
  }

  sigset_t sigpipe_;
  sigset_t before_;
  bool was_pending_;
};

}  // namespace

Result open_socket(int family, int type, int proto) noexcept {
  return once([&] { return ::socket(family, type | SOCK_CLOEXEC, proto); });
}

Result open_pair(int family, int type, int proto, int (&fds)[2]) noexcept {
  return once([&] { return ::socketpair(family, type | SOCK_CLOEXEC, proto, fds); });
}

int accept_once(int fd, Address& peer, bool nonblocking) noexcept {
  socklen_t size = Address::capacity();
  const int flags = SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0);
  const int accepted = ::accept4(fd, peer.data(), &size, flags);
  peer.resize(accepted == -1 ? 0 : size);
  return accepted;
}

Result send_file(int fd, int file, std::uint64_t offset, std::uint64_t count, std::uint64_t& sent,
                 Deadline& deadline) noexcept {
  // What one call takes; and so that it comes back in time from a peer that keeps up with it.
  const std::uint64_t most = deadline.leaves_waiting() ? 0x7ffff000 : 4 << 20;
  const SigpipeHeldBack held_back;
  Result result = 1;
  while (sent < count && result > 0) {
    off_t position = static_cast<off_t>(offset + sent);
    const auto size = static_cast<std::size_t>(std::min(count - sent, most));
    result =
        when_ready(fd, POLLOUT, deadline, [&] { return ::sendfile(fd, file, &position, size); });
    if (result > 0) sent += static_cast<std::uint64_t>(result);
    if (result > 0 && sent < count && deadline.over()) result = -ETIMEDOUT;
  }
  if (result < 0) held_back.swallow(result);
  return result;
}

Result open_wakeup() noexcept {
  return once([] { return ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); });
}

void raise_wakeup(int fd) noexcept {
  once([&] { return ::eventfd_write(fd, 1); });
}

void lower_wakeup(int fd) noexcept {
  eventfd_t count;
  once([&] { return ::eventfd_read(fd, &count); });
}

// Waiting for a descriptor in many epolls, exclusively, wakes up one of them only: the first to
// have been opened of those in which somebody waits.
Result open_turnstile(int fd, int bell) noexcept {
  const Result turnstile = once([] { return ::epoll_create1(EPOLL_CLOEXEC); });
  if (turnstile < 0) return turnstile;
  const auto add = [&](int added, std::uint32_t events) {
    epoll_event event{events, {.fd = added}};
    return once(
        [&] { return ::epoll_ctl(static_cast<int>(turnstile), EPOLL_CTL_ADD, added, &event); });
  };
  Result result = add(fd, EPOLLIN | EPOLLEXCLUSIVE);
  if (result == 0) result = add(bell, EPOLLIN);
  if (result == 0) return turnstile;
  close_descriptor(static_cast<int>(turnstile));
  return result;
}

Result pass_turnstile(int turnstile, std::chrono::milliseconds patience) noexcept {
  epoll_event event;
  const Result result =
      once([&] { return ::epoll_wait(turnstile, &event, 1, static_cast<int>(patience.count())); });
  return result > 0 ? event.data.fd : -ETIMEDOUT;
}

std::uint64_t cookie_of(int fd) noexcept {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  ::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size);
  return cookie;
}

Result open_child(int pid) noexcept {
  return once([&] { return ::syscall(SYS_pidfd_open, pid, 0); });
}

}  // namespace thinsock
