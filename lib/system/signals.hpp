// Scopes that signals stop.
#pragma once

#include <csignal>

#include <atomic>
#include <initializer_list>

#include "scope.hpp"

namespace thinsock {

/// While it exists, the first of these signals stops the scope, whichever thread it is delivered
/// to. What the process did on the signals before comes back at once then, so that a second one can
/// end a program that hangs, and otherwise at the end.
class SignalWatch {
 public:
  /// The scope has to be entered. Throws an Error for signals that cannot be caught (EINVAL).
  SignalWatch(Scope& scope, std::initializer_list<int> signals);
  SignalWatch(const SignalWatch&) = delete;
  ~SignalWatch();

  /// The signal that has come, or 0.
  int caught() const noexcept { return caught_; }

 private:
  void unlink() noexcept;
  static void on_signal(int number) noexcept;
  static bool is_awaited(int number) noexcept;
  static void restore(int number) noexcept;

  Scope& scope_;
  sigset_t signals_;
  std::atomic<int> caught_ = 0;
  std::atomic<SignalWatch*> next_ = nullptr;
};

}  // namespace thinsock
