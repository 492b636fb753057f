// Stops a scope on a signal.
#pragma once

#include <pthread.h>

#include <atomic>
#include <csignal>
#include <initializer_list>

#include "scope.hpp"

namespace thinsock {

/// The first of these signals, in any thread, stops the scope. That signal, or else the destructor,
/// restores the previous actions, so a second signal can end a program that hangs.
class SignalWatch {
 public:
  /// Enter the scope first. Throws an Error for signals that cannot be caught (EINVAL).
  SignalWatch(Scope& scope, std::initializer_list<int> signals);
  SignalWatch(const SignalWatch&) = delete;
  ~SignalWatch();

  /// The signal that stopped the scope, or 0.
  int caught() const noexcept { return caught_; }

 private:
  void unlink() noexcept;
  static void after_fork_in_child() noexcept;
  static void on_signal(int number) noexcept;
  static bool is_awaited(int number) noexcept;
  static void restore_all() noexcept;

  static const int registered_for_fork;
  Scope& scope_;
  const pthread_t thread_ = ::pthread_self();
  sigset_t signals_;
  std::atomic<int> caught_ = 0;
  std::atomic<SignalWatch*> next_ = nullptr;
};

}  // namespace thinsock
