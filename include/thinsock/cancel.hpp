// thinsock/cancel.hpp - ending the blocked calls of a thread: from another one, or by the time.
//
//   std::jthread reader([&](std::stop_token token) {
//     thinsock::CancelScope scope(token);
//     while (true) use(sk.recv(1024));  // Ends by an Error: std::errc::operation_canceled.
//   });
#pragma once

#include <memory>
#include <stop_token>

#include "thinsock/socket.hpp"

#pragma GCC visibility push(default)  // The library hides all else.
namespace thinsock {

/// While it lives, every call of this thread that may block, on any Socket, ends with
/// std::errc::operation_canceled when a stop is requested, or at once if it was before: accept,
/// connect, the send and recv families, streams, and create_connection but for its name lookup.
/// What had been sent or received stands (but see recv_exactly), and the sockets stay usable but
/// for one that was connecting.
///
/// With a timeout they have until its end, together, and then throw TimeoutError as at the end of
/// their own: one budget for a whole conversation, however slowly it drips.
///
/// Belongs to the thread that made it. In a scope within a scope either stop counts, and the
/// earlier end. Costs an eventfd(2) unless it has but a timeout, and within it a call that has to
/// wait costs a poll(2) and is never left to the kernel; only a Unix connect to a full backlog has
/// to look for a stop every 50 ms.
class CancelScope {
 public:
  explicit CancelScope(std::stop_token token, Timeout timeout = std::nullopt);
  explicit CancelScope(Timeout timeout);
  ~CancelScope();
  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace thinsock
#pragma GCC visibility pop
