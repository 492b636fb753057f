#include "signals.hpp"

#include <pthread.h>

#include <algorithm>
#include <mutex>
#include <thread>

namespace thinsock {

namespace {

// Signal handlers read the list without a lock. Whoever changes it holds the mutex, and then waits
// for the handlers that may have read the list as it was.
constinit std::mutex mutex;
constinit std::atomic<SignalWatch*> watches = nullptr;
constinit std::atomic<int> running_handlers = 0;

// What the process did on a signal before, while on_signal is installed for it.
struct sigaction before[NSIG];
constinit std::atomic<bool> installed[NSIG];

void wait_for_running_handlers() noexcept {
  while (running_handlers != 0) std::this_thread::yield();
}

// After a fork the child has none of the parent's other threads, and so none of their handlers.
void keep_over_fork() {
  static const int registered = ::pthread_atfork([] { mutex.lock(); }, [] { mutex.unlock(); },
                                                 [] {
                                                   running_handlers = 0;
                                                   mutex.unlock();
                                                 });
  (void)registered;
}

}  // namespace

SignalWatch::SignalWatch(Scope& scope, std::initializer_list<int> signals) : scope_(scope) {
  ::sigemptyset(&signals_);
  for (const int number : signals) {
    check(once([&] { return ::sigaddset(&signals_, number); }), "CancelScope");
  }
  keep_over_fork();
  const std::lock_guard lock(mutex);
  next_ = watches.load();
  watches = this;
  wait_for_running_handlers();  // They might restore what is about to be installed.
  Result result = 0;
  for (const int number : signals) {
    if (installed[number].exchange(true)) continue;
    struct sigaction action {};
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;  // For code that does not expect to be interrupted.
    result = std::min(result, once([&] { return ::sigaction(number, &action, &before[number]); }));
  }
  if (result < 0) unlink();
  check(result, "CancelScope");
}

SignalWatch::~SignalWatch() {
  const std::lock_guard lock(mutex);
  unlink();
}

void SignalWatch::unlink() noexcept {
  std::atomic<SignalWatch*>* link = &watches;
  while (*link != this) link = &link->load()->next_;
  *link = next_.load();
  for (int number = 1; number < NSIG; ++number) restore(number);
  wait_for_running_handlers();
}

// Whether a scope waits for the signal that has not been stopped by one.
bool SignalWatch::is_awaited(int number) noexcept {
  const SignalWatch* watch = watches;
  while (watch != nullptr && (watch->caught_ != 0 || !::sigismember(&watch->signals_, number))) {
    watch = watch->next_;
  }
  return watch != nullptr;
}

// Restores what the process did on a signal that is no longer awaited, unless somebody else has
// changed that meanwhile. Async-signal-safe.
void SignalWatch::restore(int number) noexcept {
  if (!installed[number] || is_awaited(number) || !installed[number].exchange(false)) return;
  struct sigaction now;
  ::sigaction(number, nullptr, &now);
  if (now.sa_handler == on_signal) ::sigaction(number, &before[number], nullptr);
}

void SignalWatch::on_signal(int number) noexcept {
  const ErrnoKept errno_kept;
  ++running_handlers;
  for (SignalWatch* watch = watches; watch != nullptr; watch = watch->next_) {
    if (watch->caught_ != 0 || !::sigismember(&watch->signals_, number)) continue;
    watch->caught_ = number;
    watch->scope_.stop();
  }
  for (int other = 1; other < NSIG; ++other) restore(other);
  --running_handlers;
}

}  // namespace thinsock
