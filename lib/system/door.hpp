// The epoll set in which a server waits for its next request.
#pragma once

#include "bell.hpp"
#include "deadline.hpp"
#include "result.hpp"
#include "thinsock/descriptor.hpp"

namespace thinsock {

/// Threads wait here for the listener, and the bell wakes them all. While the door is shut, clients
/// wait in the listener's backlog.
class Door {
 public:
  /// Throws an Error if no descriptor is left.
  explicit Door(const Bell& bell);

  /// Opens for one thread (EPOLLONESHOT), or until shut().
  Result open_once(int listener) noexcept;
  Result open(int listener) noexcept;
  /// Undoes open().
  void shut() noexcept;
  /// Also waits for fd to become readable, until unwatch(). Closing fd would not end that while a
  /// forked process has a copy of it.
  Result watch(int fd) noexcept;
  void unwatch(int fd) noexcept;

  struct Passed {
    Result fd;      // The ready descriptor, or a negated errno (ETIMEDOUT, ECANCELED, ...).
    bool readable;  // False if epoll reported only an error or a hang-up.
  };
  /// Waits for a watched descriptor, the bell, the deadline, or the end of a scope of this thread.
  Passed wait(Deadline& deadline) noexcept;

 private:
  Descriptor epoll_;
  int listener_ = -1;  // Set from open() to shut().
};

}  // namespace thinsock
