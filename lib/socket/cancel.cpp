#include "thinsock/cancel.hpp"

#include <optional>

#include "../system/deadline.hpp"
#include "../system/signals.hpp"

namespace thinsock {

struct CancelScope::State : Scope {
  State(std::stop_token token, bool can_be_stopped, Timeout timeout) {
    end = Deadline(timeout).end();
    enter(can_be_stopped);
    on_stop.emplace(std::move(token), Stop{this});
  }
  ~State() { leave(); }

  struct Stop {
    State* state;
    void operator()() const noexcept { state->stop(); }
  };

  // Destroyed before the Scope: from then on nobody stops it any more.
  std::optional<std::stop_callback<Stop>> on_stop;
  std::optional<SignalWatch> watch;
};

CancelScope::CancelScope(std::stop_token token, Timeout timeout)
    : state_(std::make_unique<State>(token, token.stop_possible(), timeout)) {}

CancelScope::CancelScope(Timeout timeout) : CancelScope(std::stop_token(), timeout) {}

CancelScope::CancelScope(std::initializer_list<int> signals, Timeout timeout)
    : state_(std::make_unique<State>(std::stop_token(), true, timeout)) {
  state_->watch.emplace(*state_, signals);
}

CancelScope::~CancelScope() = default;

int CancelScope::signal() const noexcept { return state_->watch ? state_->watch->caught() : 0; }

}  // namespace thinsock
