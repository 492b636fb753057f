#include <pthread.h>

#include <algorithm>
#include <climits>
#include <list>

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
  explicit RequestThreads(BaseServer& server) : server_(server) {}
  ~RequestThreads() override;

  bool has_room() override;
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
    int fd = -1;  // While a handler has the connection.
    Request request;
    Address client_address;
  };
  using Workers = std::list<Worker>;

  static void* run(void* worker) noexcept;
  void serve(Worker& worker) noexcept;
  void create();
  void release(Worker& worker) noexcept;
  bool wait_for_request(Worker& worker, std::unique_lock<std::mutex>& lock);
  static void join(Workers& workers) noexcept;

  BaseServer& server_;
  std::mutex mutex_;
  std::condition_variable none_busy_;
  bool full_ = false;  // The loop waits for room.
  // A worker stays where it is in memory while it moves from one list to the other.
  Workers busy_, idle_, left_;
};

std::unique_ptr<Requests> make_threads(BaseServer& server) {
  return std::make_unique<RequestThreads>(server);
}

bool RequestThreads::has_room() {
  const std::lock_guard lock(mutex_);
  const std::size_t most = server_.options.max_threads;
  full_ = most != 0 && busy_.size() >= most;
  return !full_;
}

void RequestThreads::start(Request& request, const Address& client_address) {
  const std::lock_guard lock(mutex_);
  join(left_);
  if (idle_.empty()) create();
  Worker& worker = idle_.front();
  worker.busy = true;
  worker.fd = request.socket.fileno();
  worker.request = std::move(request);
  worker.client_address = client_address;
  busy_.splice(busy_.begin(), idle_, worker.self);
  worker.changed.notify_one();
}

// It begins by waiting for the mutex, which the caller holds.
void RequestThreads::create() {
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
    if (std::exchange(full_, false)) server_.state_->wake();
  }
}

// From here on its descriptor may become another's.
void RequestThreads::release(Worker& worker) noexcept {
  const std::lock_guard lock(mutex_);
  worker.fd = -1;
}

// False if the thread has to end; then there is somebody who joins it.
bool RequestThreads::wait_for_request(Worker& worker, std::unique_lock<std::mutex>& lock) {
  const auto called = [&] { return worker.busy || worker.leaves; };
  if (worker.changed.wait_for(lock, kSpareTime, called)) return worker.busy;
  left_.splice(left_.begin(), idle_, worker.self);
  return false;
}

std::size_t RequestThreads::finish(Timeout grace) {
  const auto end = moment_after(server_.options.daemon_threads ? nanoseconds(0) : grace);
  const auto none_busy = [&] { return busy_.empty(); };
  std::unique_lock lock(mutex_);
  if (none_busy_.wait_until(lock, end, none_busy)) return 0;
  const auto cut_off = std::ranges::count_if(
      busy_, [&](const Worker& one) { return cut(one.fd, one.client_address); });
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
