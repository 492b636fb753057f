// An eventfd by which a thread or a signal handler wakes other threads.
#pragma once

#include <atomic>

#include "result.hpp"

namespace thinsock {

/// While it is open, fileno() is readable from ring() until silence().
class Bell {
 public:
  Bell() noexcept = default;
  Bell(const Bell&) = delete;
  ~Bell() { close(); }

  /// Does nothing if it is open already. Fails if no descriptor is left (EMFILE).
  Result open() noexcept;
  /// Ringing a closed bell has no effect.
  void close() noexcept;
  int fileno() const noexcept { return fd_; }
  /// Async-signal-safe.
  void ring() const noexcept;
  void silence() const noexcept;

  /// After a fork, parent and child share the eventfd. Gives this process its own, with the same
  /// number if it can be had, or leaves the bell closed. Async-signal-safe.
  void replace_after_fork() noexcept;

 private:
  std::atomic<int> fd_ = -1;
};

}  // namespace thinsock
