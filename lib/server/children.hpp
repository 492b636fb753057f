// The processes of a forking server.
#pragma once

#include <sys/types.h>

#include <mutex>
#include <vector>

#include "../system/deadline.hpp"
#include "thinsock/descriptor.hpp"
#include "thinsock/socketserver.hpp"

namespace thinsock {

/// The loop waits at the server's door for the end of children, too, and reaps them at once.
class RequestChildren {
 public:
  explicit RequestChildren(BaseServer& server) : server_(server) {}

  bool has_room() const noexcept;
  /// Forks a child that answers the request and ends.
  void start(Request& request, const Address& client_address);
  /// Reaps the child whose descriptor the door has found ready, and those that have none.
  void reap(Result ready) noexcept;
  /// How long the loop may wait before it must look for children that have no descriptor.
  Timeout patience() const noexcept;
  /// Waits until no child is left. Those that go on longer than the grace are killed: returns how
  /// many.
  std::size_t finish(Timeout grace);
  std::vector<pid_t> pids() const;

 private:
  struct Child {
    pid_t pid;
    Descriptor ended;  // Readable then; none if the system had none to give.
  };

  [[noreturn]] void run(Request& request, const Address& client_address) noexcept;
  bool wait_for_all(Deadline& deadline);

  BaseServer& server_;
  mutable std::mutex mutex_;  // For pids(). Only the thread that serves changes the list.
  std::vector<Child> children_;
};

}  // namespace thinsock
