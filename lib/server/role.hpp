// Which server the current thread works for.
#pragma once

#include "thinsock/socketserver.hpp"

namespace thinsock {

struct Job;

/// What this thread does for a server. A handler may itself run a server, so roles nest, the
/// innermost first.
struct Role {
  const BaseServer* server;
  bool calls_hooks;      // If false, it answers a request.
  Job* taken = nullptr;  // Where a worker stores the request that it takes.
  const Role* outer = nullptr;
};
extern constinit thread_local const Role* current_role [[gnu::tls_model("initial-exec")]];

/// Gives this thread a role until the end of the block.
class InRole {
 public:
  InRole(const BaseServer& server, bool calls_hooks, Job* taken = nullptr) noexcept
      : role_{&server, calls_hooks, taken, current_role} {
    current_role = &role_;
  }
  InRole(const InRole&) = delete;
  ~InRole() { current_role = role_.outer; }

 private:
  const Role role_;
};

/// Whether this thread calls the server's hooks, or answers one of its requests.
bool within(const BaseServer& server) noexcept;
bool within_hooks(const BaseServer& server) noexcept;

}  // namespace thinsock
