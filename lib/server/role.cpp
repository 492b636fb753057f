#include "role.hpp"

namespace thinsock {

constinit thread_local const Role* current_role = nullptr;

namespace {

bool has_role(const BaseServer& server, bool only_hooks) noexcept {
  const Role* role = current_role;
  while (role != nullptr && (role->server != &server || (only_hooks && !role->calls_hooks))) {
    role = role->outer;
  }
  return role != nullptr;
}

}  // namespace

bool within(const BaseServer& server) noexcept { return has_role(server, false); }
bool within_hooks(const BaseServer& server) noexcept { return has_role(server, true); }

}  // namespace thinsock
