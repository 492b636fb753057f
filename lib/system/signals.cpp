#include "signals.hpp"

#include <unistd.h>

#include <algorithm>
#include <thread>

namespace thinsock {

namespace {

// The process whose thread holds the lock, or 0.
constinit std::atomic<pid_t> locked_by = 0;

// Guards all that follows. The holder waits for nothing, so signal handlers may wait for the lock,
// and blocks all signals, so no handler waits for the thread that it interrupts.
class Lock {
 public:
  Lock() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &mask_);
    const pid_t process = ::getpid();
    // A process forked while another thread held the lock does not have that thread.
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
sigset_t used;  // The signals that any scope has waited for.

// The actions from before on_signal was installed. Once one has been put back, on_signal may still
// be called, by a thread that has just received the signal: then it raises the signal again.
struct Previous {
  struct sigaction action;
  enum { saved, put_back, raised } state;
} previous[NSIG];

}  // namespace

SignalWatch::SignalWatch(Scope& scope, std::initializer_list<int> signals) : scope_(scope) {
  ::sigemptyset(&signals_);
  for (const int number : signals) {
    check(once([&] { return ::sigaddset(&signals_, number); }), "CancelScope");
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

// If a scope waits for the signal, the action from before that scope stays the previous one, though
// the program may have installed another since.
Result SignalWatch::install(int number) noexcept {
  struct sigaction action {
  }, before{};
  ::sigaction(number, nullptr, &before);
  if (before.sa_handler != on_signal && !is_awaited(number)) previous[number].action = before;
  previous[number].state = Previous::saved;
  ::sigaddset(&used, number);
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART | SA_ONSTACK;  // SA_RESTART for code that does not handle EINTR.
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

// Puts the previous actions of signals back that no scope waits for, unless the program has
// replaced on_signal. An action is put back once. If that one installs on_signal again, in order to
// let the signal act as before, the system's follows.
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
    ::pthread_atfork(nullptr, nullptr, after_fork_in_child);

// The child does not have the parent's other threads. One of them may have been about to stop a
// scope, or to put an action back: the child's actions are older than its memory.
void SignalWatch::after_fork_in_child() noexcept {
  const Lock lock;
  for (Previous& each : previous) each.state = Previous::saved;
  for (SignalWatch* watch = watches; watch != nullptr; watch = watch->next_) {
    if (!::pthread_equal(watch->thread_, ::pthread_self())) {
      watch->unlink();
    } else if (watch->caught_ != 0) {
      watch->scope_.stop();
    }
  }
  restore_all();
}

}  // namespace thinsock
