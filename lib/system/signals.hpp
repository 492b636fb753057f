// Stops a scope on a signal.
#pragma once

#include <pthread.h>

#include <atomic>
#include <csignal>
#include <initializer_list>

#include "scope.hpp"

namespace thinsock {

/// The first of these signals, in any thread, stops the scope. Once no scope waits for a signal any
/// more, the signal's previous action is put back, so a second signal can end a program that hangs.
class SignalWatch {
 public:
  /// Enter the scope first. Throws an Error for signals that cannot be caught (EINVAL).
  SignalWatch(Scope& scope, std::initializer_list<int> signals);
  SignalWatch(const SignalWatch&) = delete;
  ~SignalWatch();

  /// The signal that stopped the scope, or 0.
  int caught() const noexcept { return caught_; }

 private:
  static Result install(int number) noexcept;
  static void restore_all() noexcept;
  static bool is_awaited(int number) noexcept;
  static void on_signal(int number) noexcept;
  static void before_fork() noexcept;
  static void after_fork_in_parent() noexcept;
  static void after_fork_in_child() noexcept;
  void unlink() noexcept;
  bool awaits(int number) const noexcept;

  static const int registered_for_fork;
  Scope& scope_;
  const pthread_t thread_ = ::pthread_self();
  sigset_t signals_;
  std::atomic<int> caught_ = 0;
  std::atomic<SignalWatch*> next_ = nullptr;
};

}  // namespace thinsock
