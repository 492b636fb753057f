#include <algorithm>
#include <utility>

#include "../system/waiting.hpp"
#include "state.hpp"

namespace thinsock {

namespace {

// How long a spare thread waits at the door before it ends.
constexpr std::chrono::seconds kSpareThreadTime(5);

// Enough for the library's own frames: recv uses 16 KiB.
constexpr std::size_t kMinStack = 64 * 1024;

}  // namespace

/// A running thread. This is on the thread's own stack, so an idle connection allocates nothing.
struct RequestThreads::Worker {
  Job job;
  Answering answering;
  Worker* next = nullptr;
  Worker** link = nullptr;  // What points to this: workers_, or the next of the one before.
};

/// Threads take requests while this exists. The destructor waits until none is at the door.
class RequestThreads::Taking {
 public:
  explicit Taking(RequestThreads& threads) : threads_(threads) {
    const std::lock_guard lock(threads_.mutex_);
    threads_.create();
    threads_.taking_ = true;
    threads_.let_next_through();
  }
  Taking(const Taking&) = delete;
  ~Taking() {
    std::unique_lock lock(threads_.mutex_);
    threads_.taking_ = false;
    threads_.server_.state_->bell.ring();
    threads_.changed_.wait(lock, [&] { return threads_.waiting_threads_ == 0; });
  }

 private:
  RequestThreads& threads_;
};

void RequestThreads::serve(Timeout poll_interval) {
  const InRole role(server_, true);
  {
    const Taking taking(*this);
    for (std::unique_lock lock(mutex_); goes_on(); lock.lock()) {
      if (opened_ < 0) open_door_again(lock);
      try {
        if (waiting_threads_ == 0 && !is_full_) create();
      } catch (const Error&) {  // The next thread to end its request will wait at the door.
      }
      lock.unlock();
      Deadline tick(poll_interval);
      const Result woken = wait(server_.state_->bell.fileno(), POLLIN, tick);
      if (woken != -ETIMEDOUT || interrupted() != 0) continue;
      const std::lock_guard alone(hooks_mutex_);
      server_.run_service_actions();
    }
  }
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

// Whether threads go on taking requests. Then it silences the bell, which a forked process may have
// rung.
bool RequestThreads::goes_on() noexcept {
  const BaseServer::State& state = *server_.state_;
  if (!taking_ || failure_ || state.is_asked_to_end() || interrupted() != 0) return false;
  state.bell.silence();
  if (state.is_asked_to_end()) state.bell.ring();  // A stop since the check must not lose its ring.
  return true;
}

bool RequestThreads::room() const noexcept {
  const std::size_t most = server_.options.max_threads;
  return most == 0 || running_requests_ < most;
}

bool RequestThreads::may_take() const noexcept { return room() || server_.options.refuse_at_limit; }

bool RequestThreads::has_room() noexcept {
  if (server_.options.max_threads == 0) return true;
  const std::lock_guard lock(mutex_);
  is_full_ = !may_take();
  return room();
}

void RequestThreads::start(Request& request, const Address& client_address) {
  if (current_role != nullptr && current_role->server == &server_ && current_role->taken) {
    Job& job = *current_role->taken;
    if (&request != &job.request) job.request = std::move(request);
    if (&client_address != &job.client_address) job.client_address = client_address;
    job.accepted = true;
    return;
  }
  const std::lock_guard lock(mutex_);
  handed_over_.push_back({std::move(request), client_address, true});
  try {
    create();
  } catch (...) {
    request = std::move(handed_over_.back().request);
    handed_over_.pop_back();
    throw;
  }
  ++running_requests_;
  needs_finish_ = true;
}

// Starts a thread, which takes a handed-over request or goes to the door. The caller holds mutex_.
void RequestThreads::create() {
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  const std::size_t size = server_.options.thread_stack_size;
  int error = 0;
  if (size != 0) error = ::pthread_attr_setstacksize(&attributes, std::max(size, kMinStack));
  pthread_t thread;
  if (error == 0) error = ::pthread_create(&thread, &attributes, run, this);
  ::pthread_attr_destroy(&attributes);
  if (error != 0) fail(code_of(-error), "thread");
  ++all_threads_;
  ++waiting_threads_;
}

void* RequestThreads::run(void* threads) noexcept {
  static_cast<RequestThreads*>(threads)->work();
  return nullptr;
}

void RequestThreads::work() noexcept {
  const InRole role(server_, false);
  Worker worker;
  std::unique_lock lock(mutex_);
  worker.link = &workers_;
  worker.next = std::exchange(workers_, &worker);
  if (worker.next != nullptr) worker.next->link = &worker.next;
  while (next_job(worker.job, lock)) {
    lock.unlock();
    answer(worker);
    lock.lock();
    ++waiting_threads_;
    if (--running_requests_ == 0) changed_.notify_all();
    if (std::exchange(is_full_, false)) open_door();
  }
  leave(worker, lock);
}

// Waits for a request for this thread. False if the thread must end.
bool RequestThreads::next_job(Job& job, std::unique_lock<std::mutex>& lock) {
  BaseServer::State& state = *server_.state_;
  for (;;) {
    if (!handed_over_.empty()) {
      job = std::move(handed_over_.front());
      handed_over_.pop_front();
      leave_door();
      return true;
    }
    if (!taking_ || state.is_asked_to_end()) return false;
    if (opened_ < 0) open_door_again(lock);
    lock.unlock();
    Deadline spare{Timeout(kSpareThreadTime)};
    const Door::Passed passed = state.door->wait(spare);
    const bool rang = passed.fd == state.bell.fileno(), through = passed.fd >= 0 && !rang;
    const bool accepted = through && take(job, passed.readable);
    lock.lock();
    if (rang && !goes_on()) return false;
    if (passed.fd < 0 && waiting_threads_ > 1) return false;
    if (accepted) {
      leave_door();
      ++running_requests_;
    }
    if (through) let_next_through();
    if (accepted) return true;
  }
}

// ~Taking waits until no thread is at the door.
void RequestThreads::leave_door() noexcept {
  if (--waiting_threads_ == 0 && !taking_) changed_.notify_all();
}

// Takes a request through the hooks, under hooks_mutex_. False if this thread has none to answer.
bool RequestThreads::take(Job& job, bool readable) noexcept {
  const std::lock_guard alone(hooks_mutex_);
  server_.state_->listener_has_error = !readable;
  if (server_.state_->is_asked_to_end()) return false;
  const InRole role(server_, true, &job);
  job.accepted = false;
  try {
    job.accepted = server_.handle_one(job.request, job.client_address) && job.accepted;
    server_.run_service_actions();
  } catch (...) {
    const std::lock_guard lock(mutex_);
    end_with(std::current_exception());
  }
  if (!job.accepted) Socket(std::move(job.request.socket));
  return job.accepted;
}

// Opens the door unless max_threads requests are under way. If no thread waits there, serve()
// starts one: a thread that starts another has to allocate, which costs each idle connection
// memory.
void RequestThreads::let_next_through() noexcept {
  is_full_ = !may_take();
  if (is_full_) return;
  open_door();
  if (waiting_threads_ == 0) server_.state_->bell.ring();
}

// If that fails, for want of memory, the bell wakes a thread that tries again.
void RequestThreads::open_door() noexcept {
  opened_ = server_.state_->door->open_once(server_.fileno());
  if (opened_ < 0) server_.state_->bell.ring();
}

// Called by whichever thread the bell has woken.
void RequestThreads::open_door_again(std::unique_lock<std::mutex>& lock) noexcept {
  const Result failure = std::exchange(opened_, 0);
  lock.unlock();
  std::exception_ptr thrown;
  try {
    const std::lock_guard alone(hooks_mutex_);
    server_.back_off_after(failure);
  } catch (...) {
    thrown = std::current_exception();
  }
  lock.lock();
  if (thrown) end_with(thrown);
  open_door();
}

// Makes serve() throw this, after handle_error has thrown it.
void RequestThreads::end_with(const std::exception_ptr& thrown) noexcept {
  failure_ = thrown;
  server_.state_->bell.ring();
}

void RequestThreads::answer(Worker& worker) noexcept {
  BaseServer::State& state = *server_.state_;
  Job& job = worker.job;
  state.cut_off += worker.answering.begin(job.request, job.client_address, state.requests_end);
  server_.finish_or_report(job.request, job.client_address);
  worker.answering.end();
  server_.shutdown_or_report(job.request, job.client_address);
  Socket(std::move(job.request.socket));
}

// Clients wait meanwhile, so it must be quick: thousands of spare threads may end together.
void RequestThreads::leave(Worker& worker, std::unique_lock<std::mutex>& lock) noexcept {
  *worker.link = worker.next;
  if (worker.next != nullptr) worker.next->link = worker.link;
  const auto before = std::exchange(last_ended_, ::pthread_self());
  --waiting_threads_;
  --all_threads_;
  changed_.notify_all();
  lock.unlock();
  if (before) ::pthread_join(*before, nullptr);
}

// Sets when all requests must end, also future ones. Returns how many it cut off.
std::size_t RequestThreads::must_end(Answering::Ends when) noexcept {
  server_.state_->requests_end = when;
  std::size_t cut_off = 0;
  for (Worker* worker = workers_; worker != nullptr; worker = worker->next) {
    cut_off += worker->answering.must_end(when);
  }
  return cut_off;
}

std::size_t RequestThreads::finish(Timeout grace) {
  const auto end =
      moment_after(server_.options.daemon_threads ? Timeout(std::chrono::seconds(0)) : grace);
  BaseServer::State& state = *server_.state_;
  std::unique_lock lock(mutex_);
  std::size_t cut_off = must_end(Answering::Ends::when_idle);
  if (!changed_.wait_until(lock, end, [&] { return running_requests_ == 0; })) {
    cut_off = must_end(Answering::Ends::now);
    lock.unlock();
    // Not under the mutex: it runs the handlers' stop callbacks.
    state.handlers_stop.request_stop();
    lock.lock();
  }
  changed_.wait(lock, [&] { return all_threads_ == 0; });
  needs_finish_ = false;
  const auto last = std::exchange(last_ended_, std::nullopt);
  lock.unlock();
  if (last) ::pthread_join(*last, nullptr);
  return cut_off;
}

void RequestThreads::leave_listener() noexcept {
  const std::lock_guard lock(mutex_);
  is_full_ = false;
}

bool RequestThreads::needs_finish() noexcept {
  const std::lock_guard lock(mutex_);
  return needs_finish_;
}

}  // namespace thinsock
