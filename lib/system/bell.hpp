// A descriptor by which one thread, or a signal handler, ends the waiting of another.
#pragma once

#include <atomic>

#include "result.hpp"

namespace thinsock {

/// Once it is open, poll finds fileno() readable from ring() until silence().
class Bell {
 public:
  Bell() noexcept = default;
  Bell(const Bell&) = delete;
  ~Bell() { close(); }

  /// Does nothing if it is open. Fails if the system has no descriptor to give.
  Result open() noexcept;
  /// Ringing a closed bell has no effect.
  void close() noexcept;
  int fileno() const noexcept { return fd_; }
  /// Async-signal-safe.
  void ring() const noexcept;
  void silence() const noexcept;

  /// After a fork both processes have the same bell. This gives the calling process a bell of its
  /// own under the same descriptor. Async-signal-safe.
  void part_from_parent() const noexcept;

 private:
  std::atomic<int> fd_ = -1;
};

}  // namespace thinsock
