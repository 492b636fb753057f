#include "scope.hpp"

#include <pthread.h>

#include <algorithm>

#include "deadline.hpp"

namespace thinsock {

constinit std::atomic<int> this_process = 0;
constinit thread_local Scope* current_scope = nullptr;

namespace {

// All scopes of a thread share its bell. It is made when a call has to wait, because the C library
// allocates memory for its destructor, and a thread that only waits for its client needs none.
constinit thread_local Bell* bell_of_this_thread = nullptr;

void share_bell() noexcept {
  for (Scope* scope = current_scope; scope != nullptr; scope = scope->outer) {
    scope->bell_process = this_process.load();
    scope->bell = bell_of_this_thread;
  }
}

// In the child, the scopes of the thread that forked go on, but the parent has its bell.
void after_fork_in_child() noexcept {
  ++this_process;
  if (bell_of_this_thread == nullptr) return;
  bell_of_this_thread->replace_after_fork();
  share_bell();
}

// Registered while the library is loaded, because a fork that has already begun skips handlers that
// are registered after it.
[[maybe_unused]] const int registered_for_fork =
    ::pthread_atfork(nullptr, nullptr, after_fork_in_child);

}  // namespace

void Scope::enter(bool stoppable) noexcept {
  can_be_stopped = stoppable;
  stopped = false;
  outer = std::exchange(current_scope, this);
}

void Scope::leave() noexcept {
  Scope** link = &current_scope;
  while (*link != nullptr && *link != this) link = &(*link)->outer;
  if (*link == this) *link = outer;
}

bool scopes_end(int fd) noexcept {
  if (current_scope == nullptr) return false;
  const bool only_one = current_scope->outer == nullptr;
  const Socket* connection = current_scope->connection;
  return !(only_one && connection != nullptr && connection->fileno() == fd);
}

std::int64_t earliest_scope_end() noexcept {
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
  const std::int64_t end = earliest_scope_end();
  return end != INT64_MAX && now() >= end ? -ETIMEDOUT : 0;
}

const Bell* bell_of_scopes() noexcept {
  const Scope* scope = current_scope;
  while (scope != nullptr && !scope->can_be_stopped) scope = scope->outer;
  if (scope == nullptr) return nullptr;
  static thread_local Bell bell;
  bell_of_this_thread = &bell;
  bell.open();
  share_bell();
  return &bell;
}

}  // namespace thinsock
