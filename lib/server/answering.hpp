// A request that is being answered, and what may have to end it.
#pragma once

#include <cstdint>
#include <mutex>

#include "../system/scope.hpp"
#include "thinsock/request_handler.hpp"

namespace thinsock {

/// A scope for the calls of a thread's handler. Another thread cuts the request off by stopping the
/// scope and shutting the connection down, which wakes whoever is blocked on it.
class Answering : public Scope {
 public:
  enum class Ends : unsigned char { when_answered, when_idle, now };

  /// The request that the calling thread's handler works on; null if there is none.
  static Answering* of_this_thread() noexcept;

  void begin(const Request& request, const Address& client) noexcept;
  void end() noexcept;

  /// Tells when the request has to end, if that is sooner than was told before. Returns whether it
  /// was cut off while it was busy.
  bool must_end(Ends when) noexcept;
  /// The same for signal handlers: does nothing while another thread, or the code that the signal
  /// has interrupted, is in one of these functions.
  bool try_must_end(Ends when) noexcept;
  /// Tells whether the handler has nothing under way, and only waits for more to do.
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
  std::uint64_t cookie_ = 0;  // Of a Unix connection, whose client may have no name to know it by.
};

}  // namespace thinsock
