#include <pthread.h>

#include <algorithm>
#include <bit>
#include <climits>
#include <list>
#include <optional>
#include <thread>

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
  bool loop_waits(bool after_pause) override;
  void stop_waiting() noexcept override;
  void start(Request& request, const Address& client_address) override;
  std::size_t finish(Timeout grace) override;

 private:
  struct Worker;
  // In the order they came, the last one first. It needs no memory of its own.
  class Workers {
   public:
    bool empty() const noexcept { return first_ == nullptr; }
    std::size_t size() const noexcept { return size_; }
    Worker* first() const noexcept { return first_; }
    void add(Worker& worker) noexcept;
    void remove(Worker& worker) noexcept;

   private:
    Worker* first_ = nullptr;
    std::size_t size_ = 0;
  };

  // What a thread is to do, if anything.
  struct Job {
    void take(Request& its_request, const Address& its_client) noexcept;
    void begin() noexcept;

    bool given = false;
    Request request{};
    Address client_address{};
    Connection connection{};  // While a handler has it.
  };
  // Lives on the stack of its thread, in pages that are needed anyway.
  struct Worker {
    Worker *before, *after;  // In the list it is in.
    std::condition_variable changed;
    std::mutex connection_mutex;  // Cutting it off, or giving it up.
    bool waits = false;           // Or is to.
    bool leaves = false;
    Job job;
    Eagerness eagerness;
  };
  // A thread that has not come as far as that. It comes to no malloc either, which would make the C
  // library keep things for it, until a handler does.
  struct Newcomer {
    RequestThreads& threads;
    Job job;
    std::list<Newcomer>::iterator self;
  };

  static void* run(void* newcomer) noexcept;
  void serve(Newcomer& newcomer) noexcept;
  void enter(Worker& worker, Newcomer& newcomer) noexcept;
  void leave(Worker& worker, std::unique_lock<std::mutex>& lock) noexcept;
  void create(Request* request = nullptr, const Address& client_address = {});
  bool spare_comes() noexcept;
  static void move(Worker& worker, Workers& from, Workers& to) noexcept;
  void release(Worker& worker) noexcept;
  bool wait_for_request(Worker& worker, std::unique_lock<std::mutex>& lock);
  bool take_request(Worker& worker, std::unique_lock<std::mutex>& lock) noexcept;
  bool wait_for_next(Job& job, std::unique_lock<std::mutex>& lock, bool& gives_up) noexcept;
  Descriptor take_turnstile() noexcept;
  bool room() const noexcept;
  bool full() const noexcept;
  bool may_wait() const noexcept;
  void none_waits(bool gave_up) noexcept;
  void call_loop() noexcept;

  BaseServer& server_;
  std::mutex mutex_;
  std::condition_variable none_under_way_, none_waiting_, changed_;
  bool full_ = false;          // The loop waits for room.
  bool loop_waits_ = false;    // Or for a request.
  bool loop_called_ = false;   // It will look again whether it is to.
  std::size_t under_way_ = 0;  // Requests.
  std::list<Newcomer> newcomers_, spent_;
  Workers busy_, idle_;
  std::optional<pthread_t> left_;  // The last that ended; it has joined the one before.

  // Those that wait for a request themselves, which spares the way through the loop.
  const bool wait_themselves_;
  bool open_ = false;  // They may.
  Workers waiting_;
  // More could not run at once, and the system would wake one of them for each request that a
  // thread which has just finished takes.
  const std::size_t most_waiting_ = std::max(2U, std::thread::hardware_concurrency());
  Descriptor bell_;                     // Ends the waiting.
  std::size_t trying_ = 0;              // Of them, those that do not wait yet.
  std::vector<Descriptor> turnstiles_;  // At which none waits now.
};

std::unique_ptr<Requests> make_threads(BaseServer& server, bool wait_themselves) {
  return std::make_unique<RequestThreads>(server, wait_themselves);
}

void RequestThreads::Workers::add(Worker& worker) noexcept {
  worker.before = nullptr;
  worker.after = first_;
  if (first_ != nullptr) first_->before = &worker;
  first_ = &worker;
  ++size_;
}

void RequestThreads::Workers::remove(Worker& worker) noexcept {
  (worker.before == nullptr ? first_ : worker.before->after) = worker.after;
  if (worker.after != nullptr) worker.after->before = worker.before;
  --size_;
}

void RequestThreads::move(Worker& worker, Workers& from, Workers& to) noexcept {
  from.remove(worker);
  to.add(worker);
}

bool RequestThreads::has_room() {
  const std::lock_guard lock(mutex_);
  return room();
}

bool RequestThreads::room() const noexcept {
  const std::size_t most = server_.options.max_threads;
  return most == 0 || under_way_ < most;
}

// Whether no request is to be taken, not even to be refused.
bool RequestThreads::full() const noexcept { return !room() && !server_.options.refuse_at_limit; }

bool RequestThreads::loop_waits(bool after_pause) {
  const std::lock_guard lock(mutex_);
  full_ = full();
  loop_called_ = loop_waits_ = false;
  if (after_pause && may_wait()) return loop_waits_ = true;
  return loop_waits_ = !full_ && waiting_.empty() && !spare_comes();
}

// Whether a thread is on its way that will wait; sends one if all are busy.
bool RequestThreads::spare_comes() noexcept try {
  const auto spare = [](const Newcomer& newcomer) { return !newcomer.job.given; };
  if (!open_) return false;
  if (std::ranges::any_of(newcomers_, spare)) return true;
  if (under_way_ == 0 || !idle_.empty() || !may_wait()) return false;
  create();
  return true;
} catch (...) {  // The loop can wait as well.
  return false;
}

void RequestThreads::start(Request& request, const Address& client_address) {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) {
    create(&request, client_address);
  } else {
    Worker& worker = *idle_.first();
    worker.job.take(request, client_address);
    ++under_way_;
    move(worker, idle_, busy_);
    worker.changed.notify_one();
  }
  loop_waits_ = false;
  open_ = wait_themselves_ && server_.state_->for_ever;
}

void RequestThreads::Job::take(Request& its_request, const Address& its_client) noexcept {
  request = std::move(its_request);
  client_address = its_client;
  begin();
}

void RequestThreads::Job::begin() noexcept {
  given = true;
  connection = Connection(request.socket.fileno(), client_address);
}

// With a request to begin with, or without. The caller holds the mutex, which the thread needs
// first of all.
void RequestThreads::create(Request* request, const Address& client_address) {
  if (spent_.empty()) spent_.push_back({*this, {}, {}});
  turnstiles_.reserve(
      std::bit_ceil(busy_.size() + idle_.size() + waiting_.size() + newcomers_.size() + 1));
  Newcomer& newcomer = spent_.front();
  newcomer.self = spent_.begin();
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  const std::size_t size = server_.options.thread_stack_size;
  const auto least = static_cast<std::size_t>(PTHREAD_STACK_MIN);
  int error = size == 0 ? 0 : ::pthread_attr_setstacksize(&attributes, std::max(size, least));
  pthread_t thread;
  if (error == 0) error = ::pthread_create(&thread, &attributes, run, &newcomer);
  ::pthread_attr_destroy(&attributes);
  if (error != 0) fail(code_of(-error), "thread");
  newcomers_.splice(newcomers_.begin(), spent_, newcomer.self);
  newcomer.job.given = request != nullptr;
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
    Socket(std::move(worker.job.request.socket));
    lock.lock();
    worker.job.given = false;
    move(worker, busy_, idle_);
    if (--under_way_ == 0) none_under_way_.notify_all();
    if (full_ && !open_) call_loop();
  }
  leave(worker, lock);
}

void RequestThreads::enter(Worker& worker, Newcomer& newcomer) noexcept {
  Job& job = newcomer.job;
  if (job.given) worker.job.take(job.request, job.client_address);
  (job.given ? busy_ : idle_).add(worker);
  job = Job();
  spent_.splice(spent_.begin(), newcomers_, newcomer.self);
  changed_.notify_all();
}

void RequestThreads::leave(Worker& worker, std::unique_lock<std::mutex>& lock) noexcept {
  idle_.remove(worker);
  const auto before = std::exchange(left_, ::pthread_self());
  changed_.notify_all();
  lock.unlock();
  if (before) ::pthread_join(*before, nullptr);
}

// From here on its descriptor may become another's.
void RequestThreads::release(Worker& worker) noexcept {
  const std::lock_guard lock(worker.connection_mutex);
  worker.job.connection = Connection();
}

// False if the thread has to end.
bool RequestThreads::wait_for_request(Worker& worker, std::unique_lock<std::mutex>& lock) {
  const auto called = [&] { return worker.job.given || worker.waits || worker.leaves; };
  for (worker.waits = true; !worker.job.given;) {
    if (std::exchange(worker.waits, false) && may_wait() && take_request(worker, lock)) break;
    if (!worker.changed.wait_for(lock, kSpareTime, called) || worker.leaves) break;
  }
  return worker.job.given;
}

// The loop, while it waits, may come to need a thread too.
bool RequestThreads::may_wait() const noexcept {
  const std::size_t most = server_.options.max_threads;
  return open_ && (most == 0 || under_way_ + waiting_.size() + loop_waits_ < most);
}

// False if it had better sleep until it is called.
bool RequestThreads::take_request(Worker& worker, std::unique_lock<std::mutex>& lock) noexcept {
  move(worker, idle_, waiting_);
  Job& job = worker.job;
  bool got = false, gives_up = false;
  if (worker.eagerness.tries()) {
    ++trying_;
    lock.unlock();
    got = server_.next_request(job.request, job.client_address);
    lock.lock();
    --trying_;
    worker.eagerness.tried(got);
  }
  if (!got && waiting_.size() - trying_ <= most_waiting_) got = wait_for_next(job, lock, gives_up);
  move(worker, waiting_, got ? busy_ : idle_);
  if (got) {
    job.begin();
    ++under_way_;
  }
  if (waiting_.size() == trying_) none_waits(gives_up);
  return got;
}

// False if another thread was quicker, or it gives up: it cannot wait, or no longer, or there is a
// pause.
bool RequestThreads::wait_for_next(Job& job, std::unique_lock<std::mutex>& lock,
                                   bool& gives_up) noexcept {
  Descriptor turnstile = take_turnstile();
  gives_up = turnstile.fileno() == -1;
  if (gives_up) return false;
  if (loop_waits_) call_loop();
  lock.unlock();
  const Result passed = pass_turnstile(turnstile.fileno(), kSpareTime);
  const bool got =
      passed == server_.fileno() && server_.next_request(job.request, job.client_address);
  const bool paused = server_.state_->pause_left() != nanoseconds(0);
  lock.lock();
  if (paused) call_loop();  // Or nobody would look when that is over.
  gives_up = passed < 0 || paused;
  if (passed >= 0) turnstiles_.push_back(std::move(turnstile));  // There is room.
  return got;
}

// -1 if the system has none to give.
Descriptor RequestThreads::take_turnstile() noexcept {
  if (turnstiles_.empty()) {
    const Result made = open_turnstile(server_.fileno(), bell_.fileno());
    return Descriptor(std::max(static_cast<int>(made), -1));
  }
  Descriptor taken = std::move(turnstiles_.back());
  turnstiles_.pop_back();
  return taken;
}

// Another one is called, perhaps the same again; or the loop, if it gave up, to see to it. Unless
// there is no room.
void RequestThreads::none_waits(bool gave_up) noexcept {
  none_waiting_.notify_all();
  if (!open_ || full()) return;
  if (gave_up || idle_.empty() || !may_wait()) return call_loop();
  idle_.first()->waits = true;
  idle_.first()->changed.notify_one();
}

void RequestThreads::call_loop() noexcept {
  if (!std::exchange(loop_called_, true)) server_.state_->wake();
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
  for (Worker* worker = busy_.first(); worker != nullptr; worker = worker->after) {
    const std::lock_guard connection_stays(worker->connection_mutex);
    cut_off += worker->job.connection.cut();
  }
  for (const Newcomer& newcomer : newcomers_) cut_off += newcomer.job.connection.cut();
  none_under_way_.wait(lock, none);
  return cut_off;
}

RequestThreads::~RequestThreads() {
  finish(server_.options.shutdown_timeout);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    for (Worker* worker = idle_.first(); worker != nullptr; worker = worker->after) {
      worker->leaves = true;
      worker->changed.notify_one();
    }
    return newcomers_.empty() && idle_.empty();
  });
  lock.unlock();
  if (left_) ::pthread_join(*left_, nullptr);
}

}  // namespace thinsock
