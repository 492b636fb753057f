// The processes of a forking server.
#pragma once

#include <sys/types.h>

#include <mutex>
#include <vector>

#include "../system/deadline.hpp"
#include "thinsock/descriptor.hpp"
#include "thinsock/socketserver.hpp"

namespace thinsock {

/// The loop also waits at the door for children to end, and reaps them immediately.
class RequestChildren {
 public:
  explicit RequestChildren(BaseServer& server) : server_(server) {}

  bool has_room() const noexcept;
  /// Forks a child that answers the request and ends.
  void start(Request& request, const Address& client_address);
  /// Reaps the child whose pidfd is ready, and ended ones without a pidfd.
  void reap(Result ready) noexcept;
  /// How long the loop may wait while a child has no pidfd; else for ever.
  Timeout reap_interval() const noexcept;
  /// Waits for all children, kills those that are left after the grace, and returns how many it
  /// killed. Returns 0 immediately if block_on_close is false.
  std::size_t finish(Timeout grace);
  std::vector<pid_t> pids() const;

 private:
  struct Child {
    pid_t pid;
    Descriptor pidfd;  // Readable once the child has ended; empty if there is none.
  };

  [[noreturn]] void run(Request& request, const Address& client_address) noexcept;
  bool wait_for_all(Deadline& deadline);

  BaseServer& server_;
  mutable std::mutex mutex_;  // Guards children_ for pids(); only the serving thread changes it.
  std::vector<Child> children_;
};

}  // namespace thinsock
