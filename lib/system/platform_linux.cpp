#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <csignal>

#include "door.hpp"
#include "platform.hpp"
#include "waiting.hpp"

namespace thinsock {

namespace {

// Blocks SIGPIPE in this thread during a call that has no MSG_NOSIGNAL.
class SigpipeBlocked {
 public:
  SigpipeBlocked() noexcept {
    ::sigemptyset(&sigpipe_);
    ::sigaddset(&sigpipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
    was_pending_ = is_pending();
  }
  ~SigpipeBlocked() {
    if (!::sigismember(&before_, SIGPIPE)) ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  // Consumes the SIGPIPE that a failed call has raised, also after a partial send. If one was
  // pending for this thread before, the kernel has merged the two, so it is raised again.
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

Descriptor open_socket(int family, int type, int proto) {
  const Result fd = once([&] { return ::socket(family, type | SOCK_CLOEXEC, proto); });
  return Descriptor(static_cast<int>(check(fd, "socket")));
}

std::pair<Descriptor, Descriptor> open_socketpair(int family, int type, int proto) {
  int fds[2];
  check(once([&] { return ::socketpair(family, type | SOCK_CLOEXEC, proto, fds); }), "socketpair");
  return {Descriptor(fds[0]), Descriptor(fds[1])};
}

int accept_once(int fd, Address& peer, bool nonblocking) noexcept {
  socklen_t size = Address::capacity();
  const int flags = SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0);
  const int accepted = ::accept4(fd, peer.data(), &size, flags);
  peer.resize(accepted == -1 ? 0 : size);
  return accepted;
}

namespace {

bool is_readable_pipe(int fd) noexcept {
  struct stat status {};
  return ::fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode) &&
         (::fcntl(fd, F_GETFL) & O_ACCMODE) != O_WRONLY;
}

}  // namespace

Result send_file(int fd, int file, std::uint64_t offset, std::uint64_t count, std::uint64_t& sent,
                 Deadline& deadline) noexcept {
  // The kernel's limit for one call; less where the deadline must be checked between calls.
  const std::uint64_t most = deadline.kernel_waits(fd) ? 0x7ffff000 : 4 << 20;
  const bool is_pipe = is_readable_pipe(file);
  const SigpipeBlocked blocked;
  Result result = 1;
  while (sent < count && result > 0) {
    // Once the pipe is ready, EAGAIN is about the socket.
    if (is_pipe) result = wait(file, POLLIN, deadline);
    if (result < 0) break;
    off_t position = static_cast<off_t>(offset + sent);
    const auto size = static_cast<std::size_t>(std::min(count - sent, most));
    const auto call = [&] {
      return is_pipe ? ::splice(file, nullptr, fd, nullptr, size, SPLICE_F_NONBLOCK)
                     : ::sendfile(fd, file, &position, size);
    };
    result = answer_of(call, fd, POLLOUT, deadline);
    if (result > 0) sent += static_cast<std::uint64_t>(result);
    if (result > 0 && sent < count && deadline.over()) result = -ETIMEDOUT;
  }
  if (result < 0) blocked.swallow(result);
  return result;
}

// SO_PEERNAME, unlike getpeername(2), works in every state of a connection. The size must not
// exceed that of the address.
Address former_peer(int fd, int family) noexcept {
  Address peer;
  socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  const auto call = [&] { return ::getsockopt(fd, SOL_SOCKET, SO_PEERNAME, peer.data(), &size); };
  peer.resize(once(call) < 0 ? 0 : size);
  return peer;
}

std::uint64_t cookie_of(int fd) noexcept {
  std::uint64_t cookie = 0;
  socklen_t size = sizeof cookie;
  ::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size);
  return cookie;
}

Descriptor open_pidfd(int pid) noexcept {
  const Result fd = once([&] { return ::syscall(SYS_pidfd_open, pid, 0); });
  return Descriptor(fd < 0 ? -1 : static_cast<int>(fd));
}

Result Bell::open() noexcept {
  if (fd_ != -1) return 0;
  const Result fd = once([] { return ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); });
  if (fd >= 0) fd_ = static_cast<int>(fd);
  return fd;
}

void Bell::close() noexcept {
  if (const int fd = fd_.exchange(-1); fd != -1) close_descriptor(fd);
}

void Bell::ring() const noexcept {
  const int fd = fd_;
  if (fd != -1) once([&] { return ::eventfd_write(fd, 1); });
}

void Bell::silence() const noexcept {
  eventfd_t count;
  once([&] { return ::eventfd_read(fd_, &count); });
}

void Bell::replace_after_fork() noexcept {
  const int same = fd_;
  if (same == -1) return;
  close();  // First, because there may be no descriptor to spare.
  open();
  if (fd_ == -1 || fd_ == same) return;
  if (once([&] { return ::dup3(fd_, same, O_CLOEXEC); }) >= 0) close_descriptor(fd_.exchange(same));
}

namespace {

Result control(int epoll, int operation, int fd, std::uint32_t events) noexcept {
  epoll_event event{events, {.fd = fd}};
  return once([&] { return ::epoll_ctl(epoll, operation, fd, &event); });
}

}  // namespace

Door::Door(const Bell& bell)
    : epoll_(
          static_cast<int>(check(once([] { return ::epoll_create1(EPOLL_CLOEXEC); }), "epoll"))) {
  check(watch(bell.fileno()), "epoll");
}

Result Door::open_once(int listener) noexcept {
  const std::uint32_t events = EPOLLIN | EPOLLONESHOT;
  const Result result = control(epoll_.fileno(), EPOLL_CTL_MOD, listener, events);
  return result == -ENOENT ? control(epoll_.fileno(), EPOLL_CTL_ADD, listener, events) : result;
}

Result Door::open(int listener) noexcept {
  if (listener == listener_) return 0;
  shut();
  const Result result = watch(listener);
  if (result == 0) listener_ = listener;
  return result;
}

void Door::shut() noexcept {
  if (listener_ != -1) unwatch(listener_);
  listener_ = -1;
}

Result Door::watch(int fd) noexcept { return control(epoll_.fileno(), EPOLL_CTL_ADD, fd, EPOLLIN); }

void Door::unwatch(int fd) noexcept { control(epoll_.fileno(), EPOLL_CTL_DEL, fd, 0); }

Door::Passed Door::wait(Deadline& deadline) noexcept {
  for (;;) {
    int patience = -1;
    if (current_scope != nullptr) {
      const Result ready = thinsock::wait(epoll_.fileno(), POLLIN, deadline);
      if (ready < 0) return {ready, false};
      patience = 0;
    } else if (!deadline.never()) {
      const auto rounded_up = std::chrono::ceil<std::chrono::milliseconds>(deadline.remaining());
      patience = static_cast<int>(std::min<std::int64_t>(rounded_up.count(), INT_MAX));
    }
    epoll_event event;
    const Result count = once([&] { return ::epoll_wait(epoll_.fileno(), &event, 1, patience); });
    if (count > 0) return {event.data.fd, (event.events & EPOLLIN) != 0};
    if (count < 0 && count != -EINTR) return {count, false};
    if (!deadline.never() && deadline.remaining().count() == 0) return {-ETIMEDOUT, false};
  }
}

}  // namespace thinsock
