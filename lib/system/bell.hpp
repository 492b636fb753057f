// A descriptor by which one thread, or a signal handler, ends the waiting of another.
#pragma once

#include "thinsock/descriptor.hpp"

namespace thinsock {

/// poll finds fileno() readable from ring() until silence(). Ringing is async-signal-safe.
class Bell {
 public:
  /// Throws an Error if the system has no descriptor to give.
  Bell();

  int fileno() const noexcept { return descriptor_.fileno(); }
  void ring() const noexcept;
  void silence() const noexcept;

  /// After a fork both processes have the same bell. This gives the calling process a bell of its
  /// own under the same descriptor. Async-signal-safe.
  void part_from_parent() const noexcept;
  /// Ringing has no effect from here on.
  void close() noexcept { descriptor_.close(); }

 private:
  Descriptor descriptor_;
};

}  // namespace thinsock
