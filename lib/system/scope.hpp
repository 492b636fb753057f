// The scopes that a thread is in: what can end its calls early (cancel.hpp).
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "bell.hpp"
#include "thinsock/socket.hpp"

namespace thinsock {

/// One scope, in the list of those that its thread is in. It ends calls once it is stopped, or at
/// its end, by the time.
struct Scope {
  std::int64_t end = INT64_MAX;  // In nanoseconds of the steady clock; INT64_MAX is never.
  /// A connection that whoever stops the scope shuts down, too. So the kernel may wait for it.
  const Socket* connection = nullptr;
  std::atomic<bool> stopped = false;
  Scope* outer = nullptr;
  bool can_be_stopped = false;
  std::atomic<const Bell*> bell = nullptr;  // Its thread's; null before a call had to wait.

  /// From enter to leave the scope is one of the calling thread's. Scopes may leave in any order.
  void enter(bool stoppable) noexcept;
  void leave() noexcept;
  /// Ends what is blocked. For any thread, and for signal handlers.
  void stop() noexcept {
    stopped = true;
    if (const Bell* rung = bell) rung->ring();
  }
};

/// The innermost scope of this thread, or null if there is none.
extern constinit thread_local Scope* current_scope [[gnu::tls_model("initial-exec")]];

/// Whether the scopes of this thread can end a call on this descriptor.
bool scopes_end(int fd) noexcept;

/// The earliest end of this thread's scopes.
std::int64_t end_of_scopes() noexcept;

/// Why a call of this thread may not wait any longer: -ECANCELED, -ETIMEDOUT, or 0 if it may.
Result interruption() noexcept;
inline Result interrupted() noexcept { return current_scope == nullptr ? 0 : interruption(); }

/// What rings when a scope of this thread is stopped, open unless the system has no descriptor to
/// give; null if none can be stopped. The caller has to look for interrupted() afterwards.
const Bell* bell_of_scopes() noexcept;

/// Keeps this thread's scopes from ending calls.
class OutOfScope {
 public:
  OutOfScope() noexcept = default;
  OutOfScope(const OutOfScope&) = delete;
  ~OutOfScope() { current_scope = scope_; }

 private:
  Scope* scope_ = std::exchange(current_scope, nullptr);
};

}  // namespace thinsock
