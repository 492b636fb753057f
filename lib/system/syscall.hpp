// The engine: the only retry after a signal, the only wait. What needs neither is in socket.hpp.
//
// On a blocking socket a call is made as it is. Under a timeout it is made so that it cannot block,
// and where nothing is ready the engine waits for what is left of the deadline and tries again.
// Receiving lets the kernel wait instead (SO_RCVTIMEO), so that a call which has to wait is still
// one system call; that timer is late by up to an eighth, so it is set short and poll does the
// rest.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "thinsock/address.hpp"
#include "thinsock/buffer.hpp"
#include "thinsock/error.hpp"
#include "thinsock/socket.hpp"
#include "thinsock/timeout.hpp"

namespace thinsock {

inline bool is_internet(int family) noexcept { return family == AF_INET || family == AF_INET6; }

/// What the kernel answered: a value, or an errno with its sign turned.
using Result = long;

template <class Call>
Result once(const Call& call) noexcept {
  const Result result = call();
  return result == -1 ? -errno : result;
}

template <class Call>
Result retried(const Call& call) noexcept {
  Result result;
  do {
    result = once(call);
  } while (result == -EINTR);
  return result;
}

inline std::error_code code_of(Result result) noexcept {
  return {result < 0 ? static_cast<int>(-result) : 0, std::system_category()};
}

/// What errno says now: to be asked before anything else is called.
inline std::error_code last_error() noexcept { return {errno, std::system_category()}; }

/// Throws the class of Error that fits the code.
[[noreturn]] void fail(std::error_code code, const std::string& what, std::size_t transferred = 0);

/// The value, or an Error that names the operation and the address.
inline Result check(Result result, const char* operation) {
  if (result < 0) fail(code_of(result), operation);
  return result;
}
inline Result check(Result result, const char* operation, const Address& address) {
  if (result < 0) fail(code_of(result), operation + (' ' + address.str()));
  return result;
}

/// For signal handlers: the code they interrupt may be about to look at errno.
class ErrnoKept {
 public:
  ~ErrnoKept() { errno = errno_; }

 private:
  int errno_ = errno;
};

/// What ends the calls of this thread: another one, or the time (cancel.hpp). `wakeup`, of
/// socket.hpp, is the innermost.
struct Wakeup {
  int fd;                            // Readable once it is raised; perhaps -1.
  std::int64_t end;                  // In nanoseconds of the steady clock; INT64_MAX is never.
  Wakeup* outer;                     // Of the scope around this one.
  std::atomic<bool> raised = false;  // Before the descriptor is.
};

/// Why a call that has to wait may not go on, -ECANCELED or -ETIMEDOUT; as a rule 0.
Result interruption() noexcept;
inline Result interrupted() noexcept { return wakeup == nullptr ? 0 : interruption(); }

/// In a child process, which shares the scopes' descriptors with its parent: neither do they end
/// its calls, nor does a stop in it wake the parent.
void leave_scopes_in_child() noexcept;

/// For calls that a CancelScope of this thread must not end.
class OutOfScope {
 public:
  OutOfScope() noexcept = default;
  OutOfScope(const OutOfScope&) = delete;
  ~OutOfScope() { wakeup = scope_; }

 private:
  Wakeup* scope_ = std::exchange(wakeup, nullptr);
};

/// In nanoseconds of the steady clock.
std::int64_t now() noexcept;

/// When a call gives up: one moment for the whole call, however often it waits, and not after the
/// thread's own end of all calls. It starts at the first look, so that outside of a timed
/// CancelScope a call which never waits never reads the clock.
class Deadline {
 public:
  /// began: by now(), if it has started before.
  explicit Deadline(Timeout timeout, std::int64_t began = 0) noexcept : timeout_(timeout) {
    if (began != 0 && timeout != std::nullopt) start(began);
  }

  bool never() const noexcept {
    return timeout_ == std::nullopt && (wakeup == nullptr || wakeup->end == INT64_MAX);
  }
  /// Whether the kernel may be left to wait, since nothing but the call itself can end it.
  bool leaves_waiting() const noexcept { return never() && wakeup == nullptr; }
  bool at_once() const noexcept { return timeout_ == std::chrono::nanoseconds(0); }
  bool started() const noexcept { return end_ != 0; }
  /// Does nothing if it has started already, or never ends.
  void start() noexcept;
  /// The moment it ends, in nanoseconds of the steady clock; starts it.
  std::int64_t end() noexcept;
  /// Whether a call that has done part of its work has to stop here.
  bool over() noexcept { return !never() && !at_once() && remaining().count() == 0; }
  /// Not negative; starts the deadline. The longest there is, for one that is never.
  std::chrono::nanoseconds remaining() noexcept;

 private:
  void start(std::int64_t moment) noexcept;

  Timeout timeout_;
  std::int64_t end_ = 0;  // In nanoseconds of the steady clock; 0 before the start.
};

/// Waits for any of the poll(2) events, or trouble: what poll saw, or -ETIMEDOUT or -ECANCELED.
/// With no descriptor (-1) it waits the deadline out.
Result wait(int fd, short events, Deadline& deadline) noexcept;
/// The same for several descriptors, each entry being told what poll saw; 0. The last entry is left
/// free for the wakeup's.
Result wait_any(pollfd* entries, std::size_t count, Deadline& deadline) noexcept;

/// Repeats a call that does not block until it has an answer.
template <class Call>
Result when_ready(int fd, short events, Deadline& deadline, const Call& call) noexcept {
  for (bool hung_up = false;;) {
    if (const Result stop = interrupted(); stop < 0 && !deadline.at_once()) return stop;
    const Result result = retried(call);
    if (result != -EAGAIN || deadline.at_once()) return result;
    // Nothing will ever come: a Unix listener that was shut down says so to poll alone.
    if (hung_up) return -EINVAL;
    const Result ready = wait(fd, events, deadline);
    if (ready < 0) return ready;
    hung_up = ready & POLLHUP;
  }
}

/// What a Socket knows of its O_NONBLOCK, which belongs to all duplicates of a descriptor: where
/// there may be any it is set anew whenever it counts.
enum class DescriptorMode : unsigned char { blocking, nonblocking, shared };

/// Starts the deadline and the kernel's timer; false where poll has to do all the waiting.
bool start_receive_timer(int fd, ReceiveTimer& timer, Timeout timeout, Deadline& deadline) noexcept;
void stop_receive_timer(int fd, ReceiveTimer& timer) noexcept;

/// recv(2) and its like, as call(flags).
template <class Call>
Result receive(int fd, ReceiveTimer& timer, Timeout timeout, Deadline& deadline, int flags,
               const Call& call) noexcept {
  if (deadline.at_once() || flags & (MSG_DONTWAIT | MSG_ERRQUEUE)) {
    return retried([&] { return call(flags | MSG_DONTWAIT); });
  }
  if (!deadline.leaves_waiting()) {
    // MSG_WAITALL would return what has come when the kernel's timer ends, too early.
    if (!(flags & MSG_WAITALL) && start_receive_timer(fd, timer, timeout, deadline)) {
      const Result result = once([&] { return call(flags); });
      if (result != -EAGAIN && result != -EINTR) return result;
    }
    flags |= MSG_DONTWAIT;
  }
  return when_ready(fd, flags & MSG_OOB ? POLLPRI : POLLIN, deadline, [&] { return call(flags); });
}

/// Whether what a first try gave is the answer: not if a signal came, or there is to be waited.
inline bool is_answer(Result tried, Timeout timeout, int flags) noexcept {
  const bool waits = timeout != std::chrono::nanoseconds(0) && !(flags & MSG_DONTWAIT);
  return tried != -EINTR && !(tried == -EAGAIN && waits);
}

/// send(2) and its like, as call(flags).
template <class Call>
Result transmit(int fd, Deadline& deadline, int flags, const Call& call) noexcept {
  if (deadline.at_once() || flags & MSG_DONTWAIT) {
    return retried([&] { return call(flags | MSG_DONTWAIT); });
  }
  if (!deadline.leaves_waiting()) flags |= MSG_DONTWAIT;
  return when_ready(fd, POLLOUT, deadline, [&] { return call(flags); });
}

/// sendmsg(2); to a Unix address it waits though poll does not see that the receiver is full.
Result send_message(int fd, Deadline& deadline, const msghdr& message, int flags) noexcept;

/// connect(2), and the wait for its end.
Result connect(int fd, const Address& address, Deadline& deadline) noexcept;

Result set_nonblocking(int fd, bool nonblocking) noexcept;

/// close(2): never repeated, since the descriptor is gone whatever it says.
Result close_descriptor(int fd) noexcept;

// What differs between kernels; platform_linux.cpp. Descriptors come close-on-exec.

Result open_socket(int family, int type, int proto) noexcept;
Result open_pair(int family, int type, int proto, int (&fds)[2]) noexcept;
/// accept(2), made once: for when_ready.
int accept_once(int fd, Address& peer, bool nonblocking) noexcept;
/// sendfile(2) until count bytes are sent, or the file ends: 0. SIGPIPE is held back. The socket
/// must be non-blocking if there is anything but its peer to wait for.
Result send_file(int fd, int file, std::uint64_t offset, std::uint64_t count, std::uint64_t& sent,
                 Deadline& deadline) noexcept;
/// A descriptor that poll finds readable once it is raised.
Result open_wakeup() noexcept;
void raise_wakeup(int fd) noexcept;
void lower_wakeup(int fd) noexcept;
/// For many threads that wait, each at a descriptor from open_turnstile of its own, until fd or
/// bell is readable: fd wakes up one of them, bell all. Which it was, or -ETIMEDOUT.
Result open_turnstile(int fd, int bell) noexcept;
Result pass_turnstile(int turnstile, std::chrono::milliseconds patience) noexcept;
/// What no other socket has, ever; 0 if the descriptor is none.
std::uint64_t cookie_of(int fd) noexcept;
/// A descriptor that poll finds readable once the child process has ended.
Result open_child(int pid) noexcept;

}  // namespace thinsock
