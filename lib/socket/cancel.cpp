#include "thinsock/cancel.hpp"

#include <optional>

#include "../system/syscall.hpp"
#include "thinsock/message.hpp"

namespace thinsock {

// Members are destroyed last to first: no callback runs any more when the descriptor is closed.
struct CancelScope::State : Wakeup {
  State(std::stop_token token, Timeout timeout)
      : Wakeup{descriptor_for(token), Deadline(timeout).end(), wakeup},
        on_stop(std::move(token), Raise{this}) {
    if (outer != nullptr) {
      on_outer_stop.emplace(static_cast<State*>(outer)->either.get_token(), Raise{this});
    }
    wakeup = this;
  }
  ~State() { wakeup = outer; }

  // Nothing but the time can end a scope that knows of no stop.
  static int descriptor_for(const std::stop_token& token) {
    if (!token.stop_possible() && (wakeup == nullptr || wakeup->fd == -1)) return -1;
    return static_cast<int>(check(open_wakeup(), "CancelScope"));
  }

  struct Raise {
    State* state;
    void operator()() const noexcept {
      state->raised = true;
      raise_wakeup(state->fd);
      state->either.request_stop();
    }
  };

  Descriptor owner{fd};
  std::stop_source either;  // For the scopes within this one.
  std::stop_callback<Raise> on_stop;
  std::optional<std::stop_callback<Raise>> on_outer_stop;
};

CancelScope::CancelScope(std::stop_token token, Timeout timeout)
    : state_(std::make_unique<State>(std::move(token), timeout)) {}

CancelScope::CancelScope(Timeout timeout) : CancelScope(std::stop_token(), timeout) {}

CancelScope::~CancelScope() = default;

}  // namespace thinsock
