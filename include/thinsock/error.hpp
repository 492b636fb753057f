// thinsock/error.hpp - the exceptions that failing calls throw.
//
// A call that the system refuses throws an Error. Its what() names the operation and the peer, also
// after a reset ("recv 10.0.0.7:9: Connection reset by peer"); a listener, or a datagram socket
// without a peer, is named by its own address. A call that is given an address names it as it was
// written: "connect localhost:9 (127.0.0.1:9): Connection refused". Programs compare code() with
// std::errc.
// A mistake of the caller is found before any system call and throws no Error, but
// std::invalid_argument (a negative timeout, a NUL in a host) or std::out_of_range (port 65536).
#pragma once

#include <cstddef>
#include <string>
#include <system_error>

#include "thinsock/version.hpp"

namespace thinsock {

/// Python's OSError. When a non-blocking call would have to wait, code() compares equal to
/// std::errc::operation_would_block (Python's BlockingIOError).
class Error : public std::system_error {
 public:
  Error(std::error_code code, const std::string& what, std::size_t transferred = 0)
      : std::system_error(code, what), transferred_(transferred) {}

  /// How many bytes sendall, sendfile, recv_exactly, recv_exactly_into or a write of SocketStream
  /// had transferred before it failed; 0 from every other call.
  std::size_t transferred() const noexcept { return transferred_; }

 private:
  std::size_t transferred_;
};

/// The timeout of the call or of a CancelScope has passed: what() tells which ("recv 10.0.0.7:9,
/// after 5s: timed out"), and code() is in timeout_category(). Or the kernel itself has given up on
/// the peer: then it is in std::system_category(). In both cases code() == std::errc::timed_out.
class TimeoutError : public Error {
 public:
  using Error::Error;
};

/// Thrown by recv_exactly and recv_exactly_into if the peer closes before all bytes have arrived;
/// transferred() tells how many have. code() is ENODATA.
class EOFError : public Error {
 public:
  using Error::Error;
};

/// Python's gaierror: a host or service could not be resolved. code() is an EAI_* value of
/// <netdb.h> in resolve_category(), and for gethostbyaddr (Python's herror) a value in
/// host_category(). EAI_SYSTEM is never among them: instead an Error with errno is thrown.
class ResolveError : public Error {
 public:
  using Error::Error;
};

/// The category of the ETIMEDOUT with which a call ends at the caller's own timeout, also where it
/// is returned as a std::error_code.
const std::error_category& timeout_category() noexcept;

/// The category of EAI_* codes; its messages come from gai_strerror(3).
const std::error_category& resolve_category() noexcept;

}  // namespace thinsock
