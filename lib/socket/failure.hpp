// How a failed call of a Socket becomes an Error: what() names the operation, the peer or address,
// and the reason.
#pragma once

#include <string>

#include "../system/result.hpp"
#include "thinsock/socket.hpp"

namespace thinsock {

/// The text, and "on a closed socket" if it is closed.
std::string noting_closed(const Socket& sk, std::string text);
/// The operation and the peer's name, or the socket's own name if it listens or is a datagram
/// socket without a peer. A stream without a peer is not named.
std::string with_name_of(const Socket& sk, const char* operation);
/// The operation, the address as the caller wrote it, and the one that it stands for.
std::string with_address(const char* operation, const AddressLike& asked, const Address& used);

/// Throws an Error. If the code is in timeout_category(), the text tells whether the timeout or the
/// time of a scope has passed.
[[noreturn]] void fail(std::error_code code, const std::string& what, Timeout timeout,
                       std::size_t transferred = 0, const std::exception_ptr& cause = nullptr);
/// The same; the text names the operation and with_name_of(sk).
[[noreturn]] void fail(std::error_code code, const char* operation, const Socket& sk,
                       std::size_t transferred = 0);
/// The same; the text names the operation and the address that the caller gave.
[[noreturn]] void fail(std::error_code code, const char* operation, const Socket& sk,
                       const AddressLike& asked, const Address& used);

/// Returns the value of a result, or throws as fail() does.
inline std::size_t value_of(Result result, const char* operation, const Socket& sk) {
  if (result < 0) fail(code_of(result), operation, sk);
  return static_cast<std::size_t>(result);
}
inline std::size_t value_of(Result result, const char* operation, const Socket& sk,
                            const AddressLike& asked, const Address& used) {
  if (result < 0) fail(code_of(result), operation, sk, asked, used);
  return static_cast<std::size_t>(result);
}

/// Returns the value of a result, or 0 and sets error.
inline std::size_t value_or_error(Result result, std::error_code& error) noexcept {
  error = code_of(result);
  return result < 0 ? 0 : static_cast<std::size_t>(result);
}

}  // namespace thinsock
