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
  bool accepted = false;  // process_request left it to this thread.
};

/// Worker threads wait at the door, which lets one through at a time. It takes the next request
/// through the hooks, opens the door, answers, and comes back. serve_forever's thread waits for the
/// end, starts threads, and runs service_actions every poll_interval.
class RequestThreads {
 public:
  explicit RequestThreads(BaseServer& server) : server_(server) {}

  /// Returns once the server must stop and no thread takes requests any more.
  void serve(Timeout poll_interval);
  /// Whether one more request may be under way. If not, the next thread to end one opens the door.
  bool has_room() noexcept;
  /// Leaves the request to the calling worker, if that took it, else starts a thread for it.
  void start(Request& request, const Address& client_address);
  /// Waits for all threads, cuts off requests that are left after the grace, and returns how many
  /// it cut off.
  std::size_t finish(Timeout grace);
  /// Keeps threads from opening the door for a listener that is about to be closed.
  void leave_listener() noexcept;
  /// Whether requests were given to threads since the last finish().
  bool needs_finish() noexcept;

 private:
  struct Worker;
  class Taking;

  static void* run(void* threads) noexcept;
  void create();
  void work() noexcept;
  bool next_job(Job& job, std::unique_lock<std::mutex>& lock);
  bool take(Job& job, bool readable) noexcept;
  void leave_door() noexcept;
  void let_next_through() noexcept;
  void open_door() noexcept;
  void open_door_again(std::unique_lock<std::mutex>& lock) noexcept;
  void end_with(const std::exception_ptr& thrown) noexcept;
  void answer(Worker& worker) noexcept;
  std::size_t must_end(Answering::Ends when) noexcept;
  void leave(Worker& worker, std::unique_lock<std::mutex>& lock) noexcept;
  bool goes_on() noexcept;
  bool room() const noexcept;
  bool may_take() const noexcept;

  BaseServer& server_;
  std::mutex hooks_mutex_;  // Held by the thread that calls the hooks; locked before mutex_.
  std::mutex mutex_;        // Guards all that follows.
  std::condition_variable changed_;
  bool taking_ = false;              // Threads may take requests.
  bool is_full_ = false;             // max_threads requests run, and the door is shut.
  bool needs_finish_ = false;        // Threads were given requests since the last finish().
  Result opened_ = 0;                // Of the last attempt to open the door.
  std::size_t waiting_threads_ = 0;  // At the door, or on the way there.
  std::size_t running_requests_ = 0;
  std::size_t all_threads_ = 0;
  Worker* workers_ = nullptr;            // The running threads.
  std::list<Job> handed_over_;           // Requests for threads that have not begun.
  std::optional<pthread_t> last_ended_;  // This thread has joined the one that ended before it.
  std::exception_ptr failure_;           // For serve() to throw.
};

}  // namespace thinsock
