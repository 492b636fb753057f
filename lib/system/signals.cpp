#include "signals.hpp"

#include <unistd.h>

#include <algorithm>
#include <thread>

namespace thinsock {

namespace {

void block_signals(sigset_t& mask_before) noexcept {
  sigset_t all;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &mask_before);
}

// The process whose thread holds the lock, or 0.
constinit std::atomic<pid_t> locked_by = 0;

// Guards all that follows. Signal handlers take it, too. The holder blocks all signals, so that no
// handler interrupts it, and waits for nothing.
class Lock {
 public:
  Lock() noexcept {
    block_signals(mask_);
    const pid_t process = ::getpid();
    // If the holder is another process, this one was forked while a thread held the lock. That
    // thread does not exist here.
    for (pid_t holder = 0; !locked_by.compare_exchange_weak(holder, process);) {
      if (holder == process) std::this_thread::yield(), holder = 0;
    }
  }
  Lock(const Lock&) = delete;
  ~Lock() {
    locked_by = 0;
    ::pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
  }

 private:
  sigset_t mask_;
};

constinit std::atomic<SignalWatch*> watches = nullptr;
sigset_t used;  // The signals for which a scope has ever waited.

// The actions from before on_signal was installed. After one has been put back, a thread that
// received the signal just before may still enter on_signal: the first one raises the signal again.
struct Previous {
  struct sigaction action;
  enum { saved, put_back, raised } state;
} previous[NSIG];

constinit thread_local sigset_t mask_before_fork [[gnu::tls_model("initial-exec")]] = {};

}  // namespace

SignalWatch::SignalWatch(Scope& scope, std::initializer_list<int> signals) : scope_(scope) {
  ::sigemptyset(&signals_);
  for (const int number : signals) {
    const bool never_caught = number == SIGKILL || number == SIGSTOP;
    check(never_caught ? -EINVAL : once([&] { return ::sigaddset(&signals_, number); }),
          "CancelScope");
  }
  Result result = 0;
  {
    const Lock lock;
    for (const int number : signals) result = std::min(result, install(number));
    if (result < 0) {
      restore_all();
    } else {
      next_ = watches.load();
      watches = this;
    }
  }
  check(result, "CancelScope");
}

SignalWatch::~SignalWatch() {
  const Lock lock;
  unlink();
  restore_all();
}

// While a scope waits for the signal, a handler that the program installs is overwritten by the
// next scope and not put back.
Result SignalWatch::install(int number) noexcept {
  struct sigaction before {};
  const Result found = once([&] { return ::sigaction(number, nullptr, &before); });
  if (found < 0) return found;
  if (before.sa_handler != on_signal && !is_awaited(number)) previous[number].action = before;
  previous[number].state = Previous::saved;
  ::sigaddset(&used, number);
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;  // SA_RESTART for code that does not handle EINTR.
  ::sigfillset(&action.sa_mask);  // A handler that interrupted it could leave it by longjmp.
  return once([&] { return ::sigaction(number, &action, nullptr); });
}

void SignalWatch::unlink() noexcept {
  std::atomic<SignalWatch*>* link = &watches;
  while (*link != nullptr && *link != this) link = &link->load()->next_;
  if (*link == this) *link = next_.load();
}

// Whether no signal has stopped the scope yet, and this one may.
bool SignalWatch::awaits(int number) const noexcept {
  return caught_ == 0 && ::sigismember(&signals_, number) == 1;
}

bool SignalWatch::is_awaited(int number) noexcept {
  const SignalWatch* watch = watches;
  while (watch != nullptr && !watch->awaits(number)) watch = watch->next_;
  return watch != nullptr;
}

// For each signal that no scope waits for: if on_signal is still installed, puts the previous
// action back. If it was put back before, a handler has installed on_signal again to let the signal
// act as before: then the system's action follows, or the two would install each other for ever.
void SignalWatch::restore_all() noexcept {
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction now;
    if (::sigismember(&used, number) != 1 || is_awaited(number)) continue;
    if (::sigaction(number, nullptr, &now) != 0 || now.sa_handler != on_signal) continue;
    if (previous[number].state != Previous::saved) previous[number].action = {};
    ::sigaction(number, &previous[number].action, nullptr);
    previous[number].state = Previous::put_back;
  }
}

void SignalWatch::on_signal(int number) noexcept {
  const ErrnoKept errno_kept;
  const Lock lock;
  const bool awaited = is_awaited(number);
  for (SignalWatch* watch = watches; watch != nullptr; watch = watch->next_) {
    if (!watch->awaits(number)) continue;
    watch->caught_ = number;
    watch->scope_.stop();
  }
  restore_all();
  if (awaited || previous[number].state != Previous::put_back) return;
  previous[number].state = Previous::raised;
  ::raise(number);
}

// Registered while the library is loaded, because a fork that has already begun skips handlers that
// are registered after it.
const int SignalWatch::registered_for_fork =
    ::pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);

// A signal must not reach the child before it is rid of the scopes of threads that it does not
// have.
void SignalWatch::before_fork() noexcept { block_signals(mask_before_fork); }

void SignalWatch::after_fork_in_parent() noexcept {
  ::pthread_sigmask(SIG_SETMASK, &mask_before_fork, nullptr);
}

// One of the parent's other threads may have been about to stop a scope. The kernel copies actions
// before memory, so memory may say put_back while on_signal is still installed in the child.
void SignalWatch::after_fork_in_child() noexcept {
  locked_by = 0;
  for (Previous& each : previous) each.state = Previous::saved;
  for (SignalWatch* watch = watches; watch != nullptr; watch = watch->next_) {
    if (!::pthread_equal(watch->thread_, ::pthread_self())) {
      watch->unlink();
    } else if (watch->caught_ != 0) {
      watch->scope_.stop();
    }
  }
  restore_all();
  after_fork_in_parent();
}

}  // namespace thinsock
