#include <pthread.h>

#include <algorithm>
#include <climits>
#include <list>
#include <optional>

#include "serving.hpp"

using std::chrono::nanoseconds;

namespace thinsock {

namespace {

// How long an idle thread waits for another request.
constexpr std::chrono::seconds kSpareTime(5);

}  // namespace

/// The threads of a server, each with its request or idle.
class RequestThreads : public Requests {
 public:
  RequestThreads(BaseServer& server, bool wait_themselves)
      : server_(server), wait_themselves_(wait_themselves) {
    if (wait_themselves) bell_ = Descriptor(static_cast<int>(check(open_wakeup(), "eventfd")));
  }
  ~RequestThreads() override;

  bool has_room() override;
  bool loop_waits() override;
  void stop_waiting() noexcept override;
  void start(Request& request, const Address& client_address) override;
  std::size_t finish(Timeout grace) override;

 private:
  struct Worker {
    explicit Worker(RequestThreads& all) : threads(all) {}

    RequestThreads& threads;
    std::list<Worker>::iterator self;
    pthread_t thread{};
    std::condition_variable changed;
    bool busy = false;
    bool leaves = false;
    Request request;
    Address client_address;
    Connection connection;  // While a handler has it.
    Eagerness eagerness;
  };
  using Workers = std::list<Worker>;

  static void* run(void* worker) noexcept;
  void serve(Worker& worker) noexcept;
  void create();
  void assign(Worker& worker, Workers& from, Request& request, const Address& client_address);
  void release(Worker& worker) noexcept;
  bool wait_for_request(Worker& worker, std::unique_lock<std::mutex>& lock);
  bool take_request(Worker& worker, std::unique_lock<std::mutex>& lock);
  bool take_turnstile(std::list<Descriptor>& taken) noexcept;
  bool may_wait() const noexcept;
  void none_waits() noexcept;
  static void join(Workers& workers) noexcept;

  BaseServer& server_;
  std::mutex mutex_;
  std::condition_variable none_busy_, none_waiting_;
  bool full_ = false;        // The loop waits for room.
  bool loop_waits_ = false;  // Or for a request.
  // A worker stays where it is in memory while it moves from one list to another.
  Workers busy_, idle_, left_;

  // Those that wait for a request themselves, which spares the way through the loop.
  const bool wait_themselves_;
  bool open_ = false;  // They may.
  Workers waiting_;
  Descriptor bell_;                   // Ends the waiting.
  std::list<Descriptor> turnstiles_;  // At which none waits now.
};

std::unique_ptr<Requests> make_threads(BaseServer& server, bool wait_themselves) {
  return std::make_unique<RequestThreads>(server, wait_themselves);
}

bool RequestThreads::has_room() {
  const std::lock_guard lock(mutex_);
  const std::size_t most = server_.options.max_threads;
  return most == 0 || busy_.size() < most;
}

bool RequestThreads::loop_waits() {
  const bool room = has_room();
  const std::lock_guard lock(mutex_);
  full_ = !room && !server_.options.refuse_at_limit;
  return loop_waits_ = !full_ && waiting_.empty();
}

void RequestThreads::start(Request& request, const Address& client_address) {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) create();
  assign(idle_.front(), idle_, request, client_address);
  busy_.front().changed.notify_one();
  loop_waits_ = false;
  open_ = wait_themselves_ && server_.state_->for_ever;
}

void RequestThreads::assign(Worker& worker, Workers& from, Request& request,
                            const Address& client_address) {
  worker.busy = true;
  worker.request = std::move(request);
  worker.client_address = client_address;
  worker.connection = Connection(worker.request.socket.fileno(), worker.client_address);
  busy_.splice(busy_.begin(), from, worker.self);
}

// It begins by waiting for the mutex, which the caller holds.
void RequestThreads::create() {
  join(left_);
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  const std::size_t size = server_.options.thread_stack_size;
  const auto least = static_cast<std::size_t>(PTHREAD_STACK_MIN);
  int error = size == 0 ? 0 : ::pthread_attr_setstacksize(&attributes, std::max(size, least));
  Workers made;
  Worker& worker = made.emplace_front(*this);
  worker.self = made.begin();
  if (error == 0) error = ::pthread_create(&worker.thread, &attributes, run, &worker);
  ::pthread_attr_destroy(&attributes);
  if (error != 0) fail(code_of(-error), "thread");
  idle_.splice(idle_.begin(), made);
}

void* RequestThreads::run(void* worker) noexcept {
  Worker& self = *static_cast<Worker*>(worker);
  self.threads.serve(self);
  return nullptr;
}

void RequestThreads::serve(Worker& worker) noexcept {
  const Frame frame{&server_, false, nullptr};
  frames = &frame;
  std::unique_lock lock(mutex_);
  while (wait_for_request(worker, lock)) {
    lock.unlock();
    server_.finish_or_report(worker.request, worker.client_address);
    release(worker);
    server_.shutdown_or_report(worker.request, worker.client_address);
    worker.request = Request();
    lock.lock();
    worker.busy = false;
    idle_.splice(idle_.begin(), busy_, worker.self);
    if (busy_.empty()) none_busy_.notify_all();
    if (full_ && !open_) server_.state_->wake();
  }
}

// From here on its descriptor may become another's.
void RequestThreads::release(Worker& worker) noexcept {
  const std::lock_guard lock(mutex_);
  worker.connection = Connection();
}

// False if the thread has to end; then there is somebody who joins it.
bool RequestThreads::wait_for_request(Worker& worker, std::unique_lock<std::mutex>& lock) {
  if (!worker.busy && may_wait() && take_request(worker, lock)) return true;
  const auto called = [&] { return worker.busy || worker.leaves; };
  if (worker.changed.wait_for(lock, kSpareTime, called)) return worker.busy;
  left_.splice(left_.begin(), idle_, worker.self);
  return false;
}

// The loop, while it waits, may come to need a thread too.
bool RequestThreads::may_wait() const noexcept {
  const std::size_t most = server_.options.max_threads;
  return open_ && (most == 0 || busy_.size() + waiting_.size() + loop_waits_ < most);
}

// False if it had better wait for the loop to give it one.
bool RequestThreads::take_request(Worker& worker, std::unique_lock<std::mutex>& lock) {
  std::list<Descriptor> turnstile;
  if (!take_turnstile(turnstile)) return false;
  waiting_.splice(waiting_.begin(), idle_, worker.self);
  if (loop_waits_) server_.state_->wake();
  lock.unlock();
  std::optional<std::pair<Request, Address>> got;
  if (worker.eagerness.tries()) {
    got = server_.next_request();
    worker.eagerness.tried(got.has_value());
  }
  if (!got && pass_turnstile(turnstile.front().fileno(), kSpareTime) == server_.fileno())
    got = server_.next_request();
  lock.lock();
  if (got) {
    turnstiles_.splice(turnstiles_.begin(), turnstile);
    assign(worker, waiting_, got->first, got->second);
  } else {
    idle_.splice(idle_.begin(), waiting_, worker.self);
  }
  if (waiting_.empty()) none_waits();
  return got.has_value();
}

bool RequestThreads::take_turnstile(std::list<Descriptor>& taken) noexcept try {
  if (turnstiles_.empty()) {
    turnstiles_.emplace_back(
        static_cast<int>(check(open_turnstile(server_.fileno(), bell_.fileno()), "epoll")));
  }
  taken.splice(taken.begin(), turnstiles_, turnstiles_.begin());
  return true;
} catch (...) {
  server_.state_->wake();
  return false;
}

// Another one has to, or the loop, unless there is no room.
void RequestThreads::none_waits() noexcept try {
  none_waiting_.notify_all();
  const std::size_t most = server_.options.max_threads;
  if (!open_ || (most != 0 && busy_.size() >= most && !server_.options.refuse_at_limit)) return;
  if (idle_.empty() && may_wait()) return create();
  server_.state_->wake();
} catch (...) {
  server_.state_->wake();
}

void RequestThreads::stop_waiting() noexcept {
  std::unique_lock lock(mutex_);
  if (!std::exchange(open_, false)) return;
  raise_wakeup(bell_.fileno());
  none_waiting_.wait(lock, [&] { return waiting_.empty(); });
  lower_wakeup(bell_.fileno());
  turnstiles_.clear();
}

std::size_t RequestThreads::finish(Timeout grace) {
  const auto end = moment_after(server_.options.daemon_threads ? nanoseconds(0) : grace);
  const auto none_busy = [&] { return busy_.empty(); };
  std::unique_lock lock(mutex_);
  if (none_busy_.wait_until(lock, end, none_busy)) return 0;
  const auto cut_off =
      std::ranges::count_if(busy_, [](const Worker& one) { return one.connection.cut(); });
  none_busy_.wait(lock, none_busy);
  return static_cast<std::size_t>(cut_off);
}

void RequestThreads::join(Workers& workers) noexcept {
  for (Worker& worker : workers) ::pthread_join(worker.thread, nullptr);
  workers.clear();
}

RequestThreads::~RequestThreads() {
  finish(server_.options.shutdown_timeout);
  Workers idle;
  {
    const std::lock_guard lock(mutex_);
    idle.swap(idle_);
    for (Worker& worker : idle) {
      worker.leaves = true;
      worker.changed.notify_one();
    }
  }
  join(idle);
  join(left_);
}

}  // namespace thinsock
