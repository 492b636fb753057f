// What a system call answered, and how a failure becomes an Error: the only look at its errno, and
// the only retry after a signal.
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

/// The result of a system call that has just returned this.
inline Result result_of(long returned) noexcept {
  return returned < 0 ? failure_of(errno) : returned;
}

template <class Call>
Result once(const Call& call) noexcept {
  return result_of(call());
}

/// Repeats a call that a signal has interrupted.
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

/// What errno says now. Ask before calling anything else, which may change it.
inline std::error_code last_error() noexcept { return {errno, std::system_category()}; }

/// Throws the class of Error that fits the code, with the cause nested in it if there is one.
[[noreturn]] void fail(std::error_code code, const std::string& what, std::size_t transferred = 0,
                       const std::exception_ptr& cause = nullptr);

/// Returns the value, or throws an Error that names the operation.
inline Result check(Result result, const char* operation) {
  if (result < 0) fail(code_of(result), operation);
  return result;
}

/// Keeps errno as it is: a signal handler must not change it for the code that it interrupts.
class ErrnoKept {
 public:
  ~ErrnoKept() { errno = errno_; }

 private:
  int errno_ = errno;
};

/// close(2), which is never repeated: the descriptor is gone whatever the call reports.
Result close_descriptor(int fd) noexcept;

/// Sets or clears O_NONBLOCK, which all duplicates of a descriptor share.
Result set_nonblocking(int fd, bool nonblocking) noexcept;

}  // namespace thinsock
