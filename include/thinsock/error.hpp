// thinsock/error.hpp - what is thrown when the system refuses.
//
// Everything the system refuses is an Error. Its what() names the operation and the address
// ("connect 127.0.0.1:9: Connection refused"); programs compare its code() with std::errc.
// A mistake of the caller's own is found before any system call and is not an Error:
// std::invalid_argument (a negative timeout, a NUL in a host) or std::out_of_range (a port).
#pragma once

#include <cstddef>
#include <string>
#include <system_error>

#pragma GCC visibility push(default)  // The library hides all else.
namespace thinsock {

/// Python's OSError. A call that would have blocked compares equal to
/// std::errc::operation_would_block (Python's BlockingIOError).
class Error : public std::system_error {
 public:
  Error(std::error_code code, const std::string& what, std::size_t transferred = 0)
      : std::system_error(code, what), transferred_(transferred) {}

  /// Bytes a sendall or recv_exactly had moved before it failed; 0 for any other call.
  std::size_t transferred() const noexcept { return transferred_; }

 private:
  std::size_t transferred_;
};

/// The timeout passed, or the kernel itself gave up on the peer. code() == std::errc::timed_out.
class TimeoutError : public Error {
 public:
  using Error::Error;
};

/// recv_exactly: the peer closed before all the bytes had come; transferred() tells how many did.
/// code() is ENODATA.
class EOFError : public Error {
 public:
  using Error::Error;
};

/// Python's gaierror: a host or service did not resolve. code() is an EAI_* value of <netdb.h>
/// in resolve_category(). EAI_SYSTEM never shows: it becomes an Error with the errno behind it.
class ResolveError : public Error {
 public:
  using Error::Error;
};

/// The category of ResolveError codes; its messages are gai_strerror(3)'s.
const std::error_category& resolve_category() noexcept;

}  // namespace thinsock
#pragma GCC visibility pop
