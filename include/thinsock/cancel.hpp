// thinsock/cancel.hpp - ends the blocked calls of a thread: on a signal, from another thread, or
// after a time.
//
//   thinsock::CancelScope ctrl_c({SIGINT, SIGTERM});  // Needs <csignal>.
//   server.serve_forever();                           // Returns on Ctrl-C.
//
//   std::jthread reader([&](std::stop_token token) {
//     thinsock::CancelScope scope(token);
//     while (true) use(sk.recv(1024));  // A stop throws Error: std::errc::operation_canceled.
//   });
#pragma once

#include <concepts>
#include <initializer_list>
#include <memory>
#include <stop_token>

#include "thinsock/socket.hpp"

namespace thinsock {

/// While a CancelScope exists, a stop ends every call of its thread that may block, on any Socket,
/// with std::errc::operation_canceled: accept, connect, the send and recv families, streams, and
/// create_connection except its name lookup. A call that starts after the stop fails at once, and
/// serve_forever returns. Bytes already sent or received stay so (see recv_exactly for its bytes),
/// and the sockets stay usable (see Socket::connect for one that was connecting).
///
/// A stop is requested by a stop token, or by the first of the signals, whichever thread of the
/// process it is delivered to. All scopes in all threads that wait for the signal are stopped. What
/// the process did on it before comes back at once, so that a second Ctrl-C ends a program that
/// hangs, and otherwise when the last scope that waits for the signal ends.
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
/// Inside a scope, a call that has to wait does so in poll(2), and the first one that waits in a
/// thread opens an eventfd(2) for it. Without a descriptor to spare (EMFILE), a stop takes effect
/// within 10 ms. A Unix connect to a full backlog, or a datagram to a full receiver, cannot be
/// polled for and is tried again in growing steps of at most 10 ms.
class CancelScope {
 public:
  [[nodiscard("a scope needs a name, or it ends at once")]] explicit CancelScope(
      std::stop_token token, Timeout timeout = std::nullopt);
  [[nodiscard("a scope needs a name, or it ends at once")]] explicit CancelScope(Timeout timeout);
  /// Throws Error if a signal cannot be caught (EINVAL).
  [[nodiscard("a scope needs a name, or it ends at once")]] explicit CancelScope(
      std::initializer_list<int> signals, Timeout timeout = std::nullopt);
  /// Does not compile, because a number may be a signal or a time.
  template <std::integral Number>
  explicit CancelScope(Number) {
    static_assert(never<Number>, "write {SIGINT} for a signal, or 5s, with <chrono>, for a time");
  }
  ~CancelScope();
  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;

  /// The signal that has stopped the scope, or 0.
  int signal() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace thinsock
