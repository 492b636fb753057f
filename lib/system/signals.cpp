#include "signals.hpp"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <thread>
#include <utility>

namespace thinsock {

namespace {

// Guards what follows it. on_signal never waits for the lock, because the thread that it interrupts
// may have what the holder waits for, as malloc's lock in a fork: the holder then acts on the
// signal. Its holder blocks all signals, so it is not interrupted by a handler that forks.
constinit std::atomic<bool> locked = false;
constinit SignalWatch* watches = nullptr;
struct sigaction previous_action[NSIG];  // From before on_signal was installed.
sigset_t mask_before_fork;

// Signals that on_signal was called for, and nobody has acted on yet.
constinit std::atomic<bool> arrived[NSIG];

bool any_arrived() noexcept {
  return std::find(std::begin(arrived), std::end(arrived), true) != std::end(arrived);
}

}  // namespace

SignalWatch::SignalWatch(Scope& scope, std::initializer_list<int> signals) : scope_(scope) {
  ::sigemptyset(&signals_);
  for (const int number : signals) {
    check(once([&] { return ::sigaddset(&signals_, number); }), "CancelScope");
  }
  const sigset_t mask = lock();
  next_ = std::exchange(watches, this);
  Result result = 0;
  for (const int number : signals) result = std::min(result, install(number));
  if (result < 0) unlink();
  unlock(mask);
  check(result, "CancelScope");
}

SignalWatch::~SignalWatch() {
  const sigset_t mask = lock();
  unlink();
  unlock(mask);
}

sigset_t SignalWatch::lock() noexcept {
  sigset_t all, mask;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &mask);
  while (locked.exchange(true)) std::this_thread::yield();
  return mask;
}

void SignalWatch::unlock(sigset_t mask) noexcept {
  locked = false;
  act_on_arrived();
  ::pthread_sigmask(SIG_SETMASK, &mask, nullptr);
}

// The program may have installed a handler of its own since an outer scope began.
Result SignalWatch::install(int number) noexcept {
  struct sigaction action {
  }, before;
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;  // For code that does not handle EINTR.
  ::sigfillset(&action.sa_mask);
  const Result result = once([&] { return ::sigaction(number, &action, &before); });
  if (result == 0 && before.sa_handler != on_signal) previous_action[number] = before;
  return result;
}

void SignalWatch::unlink() noexcept {
  SignalWatch** link = &watches;
  while (*link != nullptr && *link != this) link = &(*link)->next_;
  if (*link == this) *link = next_;
  restore_actions();
}

// Whether no signal has stopped the scope yet, and this one may.
bool SignalWatch::awaits(int number) const noexcept {
  return caught_ == 0 && ::sigismember(&signals_, number) == 1;
}

void SignalWatch::restore_actions() const noexcept {
  for (int number = 1; number < NSIG; ++number) {
    if (::sigismember(&signals_, number) == 1) restore(number);
  }
}

// Restores the previous action if no scope waits for the signal. Returns whether on_signal was
// installed until then: the program may have replaced it.
bool SignalWatch::restore(int number) noexcept {
  for (const SignalWatch* watch = watches; watch != nullptr; watch = watch->next_) {
    if (watch->awaits(number)) return false;
  }
  struct sigaction now;
  ::sigaction(number, nullptr, &now);
  if (now.sa_handler != on_signal) return false;
  ::sigaction(number, &previous_action[number], nullptr);
  return true;
}

void SignalWatch::on_signal(int number) noexcept {
  const ErrnoKept errno_kept;
  arrived[number] = true;
  act_on_arrived();
}

void SignalWatch::act_on_arrived() noexcept {
  while (any_arrived() && !locked.exchange(true)) {
    for (int number = 1; number < NSIG; ++number) {
      if (arrived[number].exchange(false)) act_on(number);
    }
    locked = false;
  }
}

// A signal that no scope waits for any more is sent again, for its previous action.
void SignalWatch::act_on(int number) noexcept {
  bool stopped = false;
  for (SignalWatch* watch = watches; watch != nullptr; watch = watch->next_) {
    if (!watch->awaits(number)) continue;
    watch->caught_ = number;
    watch->scope_.stop();
    watch->restore_actions();
    stopped = true;
  }
  if (restore(number) && !stopped) ::kill(::getpid(), number);
}

// Registered while the library is loaded, because a fork that has already begun skips handlers that
// are registered after it.
const int SignalWatch::registered_for_fork = ::pthread_atfork(
    [] { mask_before_fork = lock(); }, [] { unlock(mask_before_fork); }, after_fork_in_child);

// The child has neither the parent's other threads nor the signals that have arrived there.
void SignalWatch::after_fork_in_child() noexcept {
  for (std::atomic<bool>& each : arrived) each = false;
  for (SignalWatch* watch = watches; watch != nullptr; watch = watch->next_) {
    if (!::pthread_equal(watch->thread_, ::pthread_self())) watch->unlink();
  }
  unlock(mask_before_fork);
}

}  // namespace thinsock
