// The threads of a threading server.
#pragma once

#include <pthread.h>

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <list>
#include <mutex>
#include <optional>

#include "answering.hpp"
#include "thinsock/socketserver.hpp"

namespace thinsock {

/// A request that a thread has taken.
struct Job {
  Request request{};
  Address client_address{};
  bool accepted = false;  // process_request has left it to the thread.
};

/// Each thread waits at the server's door, which lets one at a time through. That thread takes the
/// next request by the server's hooks, opens the door for the others, answers the request, and
/// comes back. serve_forever's own thread only waits for the end.
class RequestThreads {
 public:
  explicit RequestThreads(BaseServer& server) : server_(server) {}
  ~RequestThreads();

  /// Returns when the server is to stop and no thread takes requests any more.
  void serve(Timeout poll_interval);
  /// Whether one more request may be under way. If not, the next thread to end one opens the door.
  bool has_room() noexcept;
  /// Has a request answered: by the calling thread, if it is the one that takes it, or by a new
  /// one.
  void start(Request& request, const Address& client_address);
  /// Waits until no thread is left. Requests that go on longer than the grace are cut off: returns
  /// how many.
  std::size_t finish(Timeout grace);
  /// Keeps threads from opening the door for a listener that is about to be closed.
  void leave_listener() noexcept;
  /// Whether requests were handed over to threads and not waited for since.
  bool unwaited() noexcept;

 private:
  struct Worker;
  class Taking;

  static void* run(void* threads) noexcept;
  void create();
  void work() noexcept;
  bool next_job(Job& job, std::unique_lock<std::mutex>& lock);
  bool take(Job& job, bool readable) noexcept;
  void let_next_through() noexcept;
  void open_door() noexcept;
  void answer(Worker& worker) noexcept;
  std::size_t must_end(Answering::Ends when) noexcept;
  void leave(Worker& worker, std::unique_lock<std::mutex>& lock) noexcept;
  bool goes_on() noexcept;
  bool room() const noexcept;
  bool may_take() const noexcept;

  BaseServer& server_;
  std::mutex hooks_mutex_;  // Of the one thread that calls the hooks; locked before the other.
  std::mutex mutex_;        // All that follows.
  std::condition_variable changed_;
  bool taking_ = false;  // Threads wait at the door.
  bool full_ = false;    // max_threads requests are under way, and the door is shut.
  bool unwaited_ = false;
  std::size_t at_door_ = 0;        // Threads that wait there, or are on the way.
  std::size_t under_way_ = 0;      // Requests.
  std::size_t alive_ = 0;          // Threads.
  Worker* workers_ = nullptr;      // Those threads that have begun.
  std::list<Job> handed_over_;     // Requests for threads that have not begun.
  std::optional<pthread_t> last_;  // The last thread that ended; it has joined the one before.
  std::exception_ptr failure_;     // For serve() to throw.
};

}  // namespace thinsock
