#include "scope.hpp"

#include <algorithm>

#include "deadline.hpp"

namespace thinsock {

constinit thread_local Scope* current_scope = nullptr;
constinit thread_local const Bell* scope_bell = nullptr;

std::int64_t end_of_scopes() noexcept {
  std::int64_t end = INT64_MAX;
  for (const Scope* scope = current_scope; scope != nullptr; scope = scope->outer) {
    end = std::min(end, scope->end);
  }
  return end;
}

Result interruption() noexcept {
  for (const Scope* scope = current_scope; scope != nullptr; scope = scope->outer) {
    if (scope->stopped) return -ECANCELED;
  }
  const std::int64_t end = end_of_scopes();
  return end != INT64_MAX && now() >= end ? -ETIMEDOUT : 0;
}

}  // namespace thinsock
