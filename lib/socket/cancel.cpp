#include "thinsock/cancel.hpp"

#include <pthread.h>

#include "../system/deadline.hpp"
#include "../system/scope.hpp"

namespace thinsock {

namespace {

// The child process goes on in the scopes of the thread that forked, with a bell of its own.
void part_in_child() noexcept {
  if (scope_bell != nullptr) scope_bell->part_from_parent();
}

// This thread's bell, which all its scopes share. The scopes own it, since a stop may still be
// under way when the thread ends.
std::shared_ptr<const Bell> bell_of_this_thread() {
  static const int registered = ::pthread_atfork(nullptr, nullptr, part_in_child);
  static thread_local struct Owner {
    ~Owner() { scope_bell = nullptr; }
    std::shared_ptr<const Bell> bell = std::make_shared<const Bell>();
  } owner;
  scope_bell = owner.bell.get();
  (void)registered;
  return owner.bell;
}

}  // namespace

struct CancelScope::State : Scope {
  State(std::stop_token token, Timeout timeout)
      : Scope{Deadline(timeout).end()},
        bell(token.stop_possible() ? bell_of_this_thread() : nullptr),
        on_stop(std::move(token), Stop{this}) {
    outer = std::exchange(current_scope, this);
  }
  // Scopes may end in any order.
  ~State() {
    Scope** link = &current_scope;
    while (*link != nullptr && *link != this) link = &(*link)->outer;
    if (*link == this) *link = outer;
  }

  struct Stop {
    State* state;
    void operator()() const noexcept {
      state->stopped = true;
      if (state->bell) state->bell->ring();
    }
  };

  // Members are destroyed last to first: no callback runs any more when the bell goes.
  const std::shared_ptr<const Bell> bell;
  const std::stop_callback<Stop> on_stop;
};

CancelScope::CancelScope(std::stop_token token, Timeout timeout)
    : state_(std::make_unique<State>(std::move(token), timeout)) {}

CancelScope::CancelScope(Timeout timeout) : CancelScope(std::stop_token(), timeout) {}

CancelScope::~CancelScope() = default;

}  // namespace thinsock
