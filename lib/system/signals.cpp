#include "signals.hpp"

#include <algorithm>
#include <mutex>
#include <thread>

namespace thinsock {

namespace {

// Signal handlers read the list without a lock. A thread that changes it holds the mutex, then
// waits until no handler that may have read the old list runs.
constinit std::mutex mutex;
constinit std::atomic<SignalWatch*> watches = nullptr;
constinit std::atomic<int> running_handlers = 0;

// Each signal's action from before on_signal was installed. While `installing` is set, only the
// constructor that has set it uses these.
struct sigaction previous_action[NSIG];
constinit std::atomic<bool> installed[NSIG];
constinit std::atomic<bool> installing = false;

void wait_for_running_handlers() noexcept {
  while (running_handlers != 0) std::this_thread::yield();
}

}  // namespace

// Registered at the program's start, because a fork that has already begun skips handlers that are
// registered after it.
const int SignalWatch::registered_for_fork =
    ::pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); }, after_fork_in_child);

// The child has none of the parent's other threads, and so none of their handlers and scopes. Their
// bells were on those threads' stacks.
void SignalWatch::after_fork_in_child() noexcept {
  running_handlers = 0;
  for (std::atomic<SignalWatch*>* link = &watches; SignalWatch* watch = *link;) {
    if (::pthread_equal(watch->thread_, ::pthread_self())) {
      link = &watch->next_;
    } else {
      *link = watch->next_.load();
    }
  }
  restore_all();
  mutex.unlock();
}

SignalWatch::SignalWatch(Scope& scope, std::initializer_list<int> signals) : scope_(scope) {
  ::sigemptyset(&signals_);
  for (const int number : signals) {
    check(once([&] { return ::sigaddset(&signals_, number); }), "CancelScope");
  }
  const std::lock_guard lock(mutex);
  next_ = watches.load();
  watches = this;
  installing = true;
  wait_for_running_handlers();
  Result result = 0;
  for (const int number : signals) {
    if (installed[number].exchange(true)) continue;
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;  // For code that does not handle EINTR.
    result = std::min(result,
                      once([&] { return ::sigaction(number, &action, &previous_action[number]); }));
  }
  installing = false;
  restore_all();  // A handler may have stopped the scope meanwhile.
  if (result < 0) unlink();
  check(result, "CancelScope");
}

SignalWatch::~SignalWatch() {
  const std::lock_guard lock(mutex);
  unlink();
}

void SignalWatch::unlink() noexcept {
  std::atomic<SignalWatch*>* link = &watches;
  while (*link != nullptr && *link != this) link = &link->load()->next_;
  if (*link == this) *link = next_.load();
  restore_all();
  wait_for_running_handlers();
}

// Whether a scope that no signal has stopped yet waits for this one.
bool SignalWatch::is_awaited(int number) noexcept {
  const SignalWatch* watch = watches;
  while (watch != nullptr && (watch->caught_ != 0 || !::sigismember(&watch->signals_, number))) {
    watch = watch->next_;
  }
  return watch != nullptr;
}

// Restores the previous actions of signals that no scope waits for, unless the program has replaced
// on_signal. Async-signal-safe.
void SignalWatch::restore_all() noexcept {
  for (int number = 1; number < NSIG; ++number) {
    if (!installed[number] || is_awaited(number) || !installed[number].exchange(false)) continue;
    struct sigaction now;
    ::sigaction(number, nullptr, &now);
    if (now.sa_handler == on_signal) ::sigaction(number, &previous_action[number], nullptr);
  }
}

void SignalWatch::on_signal(int number) noexcept {
  const ErrnoKept errno_kept;
  ++running_handlers;
  for (SignalWatch* watch = watches; watch != nullptr; watch = watch->next_) {
    if (watch->caught_ != 0 || !::sigismember(&watch->signals_, number)) continue;
    watch->caught_ = number;
    watch->scope_.stop();
  }
  if (!installing) restore_all();
  --running_handlers;
}

}  // namespace thinsock
