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
  struct Worker;
  using Workers = std::list<Worker*>;

  // What a thread is to do, if anything.
  struct Job {
    void take(Request& its_request, const Address& its_client) noexcept;

    bool given = false;
    Request request{};
    Address client_address{};
    Connection connection{};  // While a handler has it.
  };
  // Lives on the stack of its thread, in pages that are needed anyway.
  struct Worker {
    Workers::iterator self;
    std::condition_variable changed;
    bool leaves = false;
    Job job;
    Eagerness eagerness;
  };
  // A thread that has not come as far as that.
  struct Newcomer {
    RequestThreads& threads;
    Workers place;
    Job job;
    std::list<Newcomer>::iterator self;
  };

  static void* run(void* newcomer) noexcept;
  void serve(Newcomer& newcomer) noexcept;
  void enter(Worker& worker, Newcomer& newcomer) noexcept;
  void leave(Worker& worker, std::unique_lock<std::mutex>& lock) noexcept;
  void create(Request* request = nullptr, const Address& client_address = {});
  void assign(Worker& worker, Workers& from, Request& request,
              const Address& client_address) noexcept;
  void release(Worker& worker) noexcept;
  bool wait_for_request(Worker& worker, std::unique_lock<std::mutex>& lock);
  bool take_request(Worker& worker, std::unique_lock<std::mutex>& lock);
  bool take_turnstile(std::list<Descriptor>& taken) noexcept;
  bool may_wait() const noexcept;
  void none_waits() noexcept;

  BaseServer& server_;
  std::mutex mutex_;
  std::condition_variable none_under_way_, none_waiting_, changed_;
  bool full_ = false;          // The loop waits for room.
  bool loop_waits_ = false;    // Or for a request.
  std::size_t under_way_ = 0;  // Requests.
  std::list<Newcomer> newcomers_;
  Workers busy_, idle_;
  std::optional<pthread_t> left_;  // The last that ended; it has joined the one before.

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
  return most == 0 || under_way_ < most;
}

bool RequestThreads::loop_waits() {
  const bool room = has_room();
  const std::lock_guard lock(mutex_);
  full_ = !room && !server_.options.refuse_at_limit;
  return loop_waits_ = !full_ && waiting_.empty();
}

void RequestThreads::start(Request& request, const Address& client_address) {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) {
    create(&request, client_address);
  } else {
    Worker& worker = *idle_.front();
    assign(worker, idle_, request, client_address);
    worker.changed.notify_one();
  }
  loop_waits_ = false;
  open_ = wait_themselves_ && server_.state_->for_ever;
}

void RequestThreads::Job::take(Request& its_request, const Address& its_client) noexcept {
  given = true;
  request = std::move(its_request);
  client_address = its_client;
  connection = Connection(request.socket.fileno(), client_address);
}

void RequestThreads::assign(Worker& worker, Workers& from, Request& request,
                            const Address& client_address) noexcept {
  worker.job.take(request, client_address);
  ++under_way_;
  busy_.splice(busy_.begin(), from, worker.self);
}

// With a request to begin with, or without. The caller holds the mutex, which the thread needs
// first of all.
void RequestThreads::create(Request* request, const Address& client_address) {
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  const std::size_t size = server_.options.thread_stack_size;
  const auto least = static_cast<std::size_t>(PTHREAD_STACK_MIN);
  int error = size == 0 ? 0 : ::pthread_attr_setstacksize(&attributes, std::max(size, least));
  std::list<Newcomer> made;
  made.push_back({*this, Workers(1), {}, {}});
  Newcomer& newcomer = made.front();
  newcomer.self = made.begin();
  pthread_t thread;
  if (error == 0) error = ::pthread_create(&thread, &attributes, run, &newcomer);
  ::pthread_attr_destroy(&attributes);
  if (error != 0) fail(code_of(-error), "thread");
  newcomers_.splice(newcomers_.begin(), made);
  if (request == nullptr) return;
  newcomer.job.take(*request, client_address);
  ++under_way_;
}

void* RequestThreads::run(void* newcomer) noexcept {
  Newcomer& self = *static_cast<Newcomer*>(newcomer);
  self.threads.serve(self);
  return nullptr;
}

void RequestThreads::serve(Newcomer& newcomer) noexcept {
  const Frame frame{&server_, false, nullptr};
  frames = &frame;
  std::unique_lock lock(mutex_);
  Worker worker;
  enter(worker, newcomer);
  while (wait_for_request(worker, lock)) {
    lock.unlock();
    server_.finish_or_report(worker.job.request, worker.job.client_address);
    release(worker);
    server_.shutdown_or_report(worker.job.request, worker.job.client_address);
    worker.job.request = Request();
    lock.lock();
    worker.job.given = false;
    idle_.splice(idle_.begin(), busy_, worker.self);
    if (--under_way_ == 0) none_under_way_.notify_all();
    if (full_ && !open_) server_.state_->wake();
  }
  leave(worker, lock);
}

void RequestThreads::enter(Worker& worker, Newcomer& newcomer) noexcept {
  Job& job = newcomer.job;
  if (job.given) worker.job.take(job.request, job.client_address);
  worker.self = newcomer.place.begin();
  *worker.self = &worker;
  Workers& workers = job.given ? busy_ : idle_;
  workers.splice(workers.begin(), newcomer.place);
  newcomers_.erase(newcomer.self);
  changed_.notify_all();
}

void RequestThreads::leave(Worker& worker, std::unique_lock<std::mutex>& lock) noexcept {
  idle_.erase(worker.self);
  const auto before = std::exchange(left_, ::pthread_self());
  changed_.notify_all();
  lock.unlock();
  if (before) ::pthread_join(*before, nullptr);
}

// From here on its descriptor may become another's.
void RequestThreads::release(Worker& worker) noexcept {
  const std::lock_guard lock(mutex_);
  worker.job.connection = Connection();
}

// False if the thread has to end.
bool RequestThreads::wait_for_request(Worker& worker, std::unique_lock<std::mutex>& lock) {
  if (!worker.job.given && may_wait() && take_request(worker, lock)) return true;
  worker.changed.wait_for(lock, kSpareTime, [&] { return worker.job.given || worker.leaves; });
  return worker.job.given;
}

// The loop, while it waits, may come to need a thread too.
bool RequestThreads::may_wait() const noexcept {
  const std::size_t most = server_.options.max_threads;
  return open_ && (most == 0 || under_way_ + waiting_.size() + loop_waits_ < most);
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
  if (!open_ || (most != 0 && under_way_ >= most && !server_.options.refuse_at_limit)) return;
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
  const auto none = [&] { return under_way_ == 0; };
  std::unique_lock lock(mutex_);
  if (none_under_way_.wait_until(lock, end, none)) return 0;
  std::size_t cut_off = 0;
  for (const Worker* worker : busy_) cut_off += worker->job.connection.cut();
  for (const Newcomer& newcomer : newcomers_) cut_off += newcomer.job.connection.cut();
  none_under_way_.wait(lock, none);
  return cut_off;
}

RequestThreads::~RequestThreads() {
  finish(server_.options.shutdown_timeout);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    for (Worker* worker : idle_) {
      worker->leaves = true;
      worker->changed.notify_one();
    }
    return newcomers_.empty() && idle_.empty();
  });
  lock.unlock();
  if (left_) ::pthread_join(*left_, nullptr);
}

}  // namespace thinsock
