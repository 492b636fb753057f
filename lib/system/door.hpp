// Where a server waits for its next request.
#pragma once

#include "bell.hpp"
#include "deadline.hpp"
#include "result.hpp"
#include "thinsock/descriptor.hpp"

namespace thinsock {

/// Lets the threads that wait at it through to the listener, and wakes them when the bell rings.
/// While it is shut, clients wait in the listener's queue.
class Door {
 public:
  /// Throws an Error if the system has no descriptor to give.
  explicit Door(const Bell& bell);

  /// Lets one thread through and shuts behind it, or stays open.
  Result open_once(int listener) noexcept;
  Result open(int listener) noexcept;
  /// Shuts a door that stays open.
  void shut() noexcept;
  /// Also wakes a thread when this descriptor is readable, until it is closed.
  Result watch(int fd) noexcept;

  struct Passed {
    Result fd;      // The descriptor that is ready, -ETIMEDOUT or -ECANCELED.
    bool readable;  // Else the listener has only trouble to report.
  };
  /// Waits until a thread may pass, the bell rings, or a scope of this thread ends.
  Passed wait(Deadline& deadline) noexcept;

 private:
  Descriptor epoll_;
  int listener_ = -1;  // While the door stays open.
};

}  // namespace thinsock
