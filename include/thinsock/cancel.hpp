// thinsock/cancel.hpp - ends the blocked calls of a thread: from another thread, or after a time.
//
//   std::jthread reader([&](std::stop_token token) {
//     thinsock::CancelScope scope(token);
//     while (true) use(sk.recv(1024));  // A stop throws Error: std::errc::operation_canceled.
//   });
#pragma once

#include <memory>
#include <stop_token>

#include "thinsock/socket.hpp"

namespace thinsock {

/// While a CancelScope exists, a requested stop ends every call of its thread that may block, on
/// any Socket, with std::errc::operation_canceled: accept, connect, the send and recv families,
/// streams, and create_connection except its name lookup. A call that starts after the stop fails
/// at once. Bytes already sent or received stay so (see recv_exactly for its bytes), and the
/// sockets stay usable, except one that was connecting.
///
/// The timeout is one budget for all calls in the scope together, for example for a whole
/// conversation, however slowly its bytes drip in. Once it has passed, calls throw TimeoutError, as
/// at the end of their own timeout.
///
/// A scope belongs to the thread that constructs it, which also has to destroy it. Of several
/// scopes every stop counts, and the earliest end; they may be destroyed in any order. A fork()
/// inside a scope leaves parent and child each with a scope of their own: a stop in one process
/// does not reach the other.
///
/// A scope costs an eventfd(2), unless it has only a timeout. Inside it, a call that has to wait
/// does so in poll(2). A Unix connect to a full backlog, or a datagram to a full receiver, cannot
/// be polled for and is tried again in growing steps of at most 10 ms.
class CancelScope {
 public:
  /// Throws Error if there is no descriptor left (EMFILE, ENFILE).
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
