// System call results, and how a failure becomes an Error. errno is read only here. retried() is
// the retry after EINTR; the loops around ppoll and epoll_wait go round again.
#pragma once

#include <cerrno>
#include <cstddef>
#include <exception>
#include <string>
#include <system_error>

#include "thinsock/error.hpp"

namespace thinsock {

/// The value of a system call, or a negated errno. -ETIMEDOUT is the caller's own: the timeout of
/// the call or of a scope has passed. Where the kernel gave up on the peer it is kPeerTimedOut.
using Result = long;

constexpr Result kPeerTimedOut = -ETIMEDOUT - 4096;  // No errno is above 4095.

/// The result of a system call that failed with this errno.
inline Result failure_of(int error) noexcept { return error == ETIMEDOUT ? kPeerTimedOut : -error; }

/// Turns -1 into a negated errno. Call it right after the system call.
inline Result result_of(long returned) noexcept {
  return returned < 0 ? failure_of(errno) : returned;
}

template <class Call>
Result once(const Call& call) noexcept {
  return result_of(call());
}

/// Repeats a call while signals interrupt it (EINTR).
template <class Call>
Result retried(const Call& call) noexcept {
  Result result;
  do {
    result = once(call);
  } while (result == -EINTR);
  return result;
}

/// The code of a negative result.
std::error_code failure_code(Result result) noexcept;
/// No error if the result is not negative.
inline std::error_code code_of(Result result) noexcept {
  return result < 0 ? failure_code(result) : std::error_code();
}

/// errno as a code. Call this before anything that may change errno.
inline std::error_code last_error() noexcept { return {errno, std::system_category()}; }

/// Throws the class of Error that fits the code, with the cause nested in it if there is one.
[[noreturn]] void fail(std::error_code code, const std::string& what, std::size_t transferred = 0,
                       const std::exception_ptr& cause = nullptr);

/// Returns the value, or throws an Error that names the operation.
inline Result check(Result result, const char* operation) {
  if (result < 0) fail(code_of(result), operation);
  return result;
}

/// Restores errno at the end: a signal handler must not change it for the code that it interrupts.
class ErrnoKept {
 public:
  ~ErrnoKept() { errno = errno_; }

 private:
  int errno_ = errno;
};

/// close(2), never repeated: the descriptor is gone in any case. EINTR and ECONNRESET are no
/// failure.
Result close_descriptor(int fd) noexcept;

/// Sets or clears O_NONBLOCK, which all duplicates of a descriptor share.
Result set_nonblocking(int fd, bool nonblocking) noexcept;

}  // namespace thinsock
