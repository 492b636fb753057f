#include "thinsock/cancel.hpp"

#include <optional>

#include "syscall.hpp"
#include "thinsock/message.hpp"

namespace thinsock {

// Members are destroyed last to first: no callback runs any more when the descriptor is closed.
struct CancelScope::State : Wakeup {
  explicit State(std::stop_token token)
      : Wakeup{static_cast<int>(check(open_wakeup(), "CancelScope"))},
        on_stop(std::move(token), Raise{this}) {
    if (outer != nullptr) on_outer_stop.emplace(outer->either.get_token(), Raise{this});
    wakeup = this;
  }
  ~State() { wakeup = outer; }

  struct Raise {
    State* state;
    void operator()() const noexcept {
      state->raised = true;
      raise_wakeup(state->fd);
      state->either.request_stop();
    }
  };

  Descriptor owner{fd};
  State* outer = static_cast<State*>(wakeup);
  std::stop_source either;  // For the scopes within this one.
  std::stop_callback<Raise> on_stop;
  std::optional<std::stop_callback<Raise>> on_outer_stop;
};

CancelScope::CancelScope(std::stop_token token)
    : state_(std::make_unique<State>(std::move(token))) {}

CancelScope::~CancelScope() = default;

}  // namespace thinsock
