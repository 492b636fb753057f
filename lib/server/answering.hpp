// The request that a thread answers, and how another thread ends it.
#pragma once

#include <cstdint>
#include <mutex>

#include "../system/scope.hpp"
#include "thinsock/request_handler.hpp"

namespace thinsock {

/// The scope of a handler's calls. To cut the request off, another thread stops the scope and shuts
/// the connection down, which wakes the handler.
class Answering : public Scope {
 public:
  enum class Ends : unsigned char { when_answered, when_idle, now };

  /// The request that the calling thread's handler works on; null if there is none.
  static Answering* of_this_thread() noexcept;

  /// Returns whether the request was cut off as it began, because it must end now.
  bool begin(const Request& request, const Address& client, const std::atomic<Ends>& when) noexcept;
  void end() noexcept;

  /// Sets when the request must end, never to later than before. Returns whether that cut off a
  /// busy request.
  bool must_end(Ends when) noexcept;
  /// The same for signal handlers: does nothing while the mutex is held.
  bool try_must_end(Ends when) noexcept;
  /// Marks the request as idle: the handler only waits for the client.
  void set_idle(bool idle) noexcept;

 private:
  bool end_if_due() noexcept;
  void cut() noexcept;

  std::mutex mutex_;
  bool active_ = false;
  bool idle_ = false;
  Ends ends_ = Ends::when_answered;
  int fd_ = -1;
  const Address* client_ = nullptr;
  std::uint64_t cookie_ = 0;  // Identifies a Unix connection, whose client may have no name.
};

}  // namespace thinsock
