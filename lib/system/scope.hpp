// The cancel scopes that a thread is in: what can end its calls early (cancel.hpp).
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "bell.hpp"
#include "result.hpp"

namespace thinsock {

/// One scope, in the list of those that its thread is in. It ends calls once it is stopped, by any
/// thread, or at its end, by the time.
struct Scope {
  std::int64_t end;                   // In nanoseconds of the steady clock; INT64_MAX is never.
  std::atomic<bool> stopped = false;  // Set before the thread's bell rings.
  Scope* outer = nullptr;
};

/// The innermost scope of this thread, or null if there is none.
extern constinit thread_local Scope* current_scope [[gnu::tls_model("initial-exec")]];

/// What rings when a scope of this thread is stopped; null if no scope of it ever could be.
extern constinit thread_local const Bell* scope_bell [[gnu::tls_model("initial-exec")]];

/// The earliest end of this thread's scopes.
std::int64_t end_of_scopes() noexcept;

/// Why a call of this thread may not wait any longer: -ECANCELED, -ETIMEDOUT, or 0 if it may.
Result interruption() noexcept;
inline Result interrupted() noexcept { return current_scope == nullptr ? 0 : interruption(); }

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
