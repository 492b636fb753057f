#include "role.hpp"

namespace thinsock {

constinit thread_local const Role* current_role = nullptr;

bool within(const BaseServer& server) noexcept {
  const Role* role = current_role;
  while (role != nullptr && role->server != &server) role = role->outer;
  return role != nullptr;
}

bool within_hooks(const BaseServer& server) noexcept {
  const Role* role = current_role;
  while (role != nullptr && !(role->server == &server && role->calls_hooks)) role = role->outer;
  return role != nullptr;
}

}  // namespace thinsock
