// Scopes: what can end a thread's blocked calls early (cancel.hpp).
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "bell.hpp"
#include "thinsock/socket.hpp"

namespace thinsock {

/// Counts forks, so it differs from the parent's.
extern constinit std::atomic<int> this_process;

/// An entry in its thread's list of scopes. Once it is stopped, or its end has passed, it ends the
/// thread's blocked calls.
struct Scope {
  std::int64_t end = INT64_MAX;  // In nanoseconds of the steady clock; INT64_MAX is never.
  /// A connection that the stopping thread shuts down, too, so calls on it may block in the kernel.
  const Socket* connection = nullptr;
  std::atomic<bool> stopped = false;
  Scope* outer = nullptr;
  bool can_be_stopped = false;
  std::atomic<const Bell*> bell = nullptr;  // Its thread's; null before a call had to wait.
  std::atomic<int> bell_process = 0;        // In which the bell exists (this_process).

  /// From enter() to leave() the scope belongs to the calling thread. Scopes leave in any order.
  void enter(bool stoppable) noexcept;
  void leave() noexcept;
  /// Ends the thread's blocked calls. Any thread, and signal handlers, may call it.
  void stop() noexcept {
    stopped = true;
    const Bell* rung = bell;
    if (rung != nullptr && bell_process == this_process) rung->ring();
  }
};

/// The innermost scope of this thread, or null if there is none.
extern constinit thread_local Scope* current_scope [[gnu::tls_model("initial-exec")]];

/// Whether a call on fd must wait in poll, because a scope of this thread may have to end it.
bool scopes_end(int fd) noexcept;

/// The earliest end of this thread's scopes, or INT64_MAX.
std::int64_t earliest_scope_end() noexcept;

/// -ECANCELED or -ETIMEDOUT if this thread's scopes end its calls now, else 0.
Result interruption() noexcept;
inline Result interrupted() noexcept { return current_scope == nullptr ? 0 : interruption(); }

/// The bell that rings when a scope of this thread is stopped: null if none can be stopped, closed
/// if no descriptor is left. Check interrupted() afterwards, because a stop may have come before.
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
