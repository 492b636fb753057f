// A request that is being answered, and what may have to cut it off.
#pragma once

#include <cstdint>
#include <mutex>

#include "thinsock/request_handler.hpp"

namespace thinsock {

/// The connection that a thread's handler works on. Another thread cuts it off by shutting it down,
/// which wakes whoever is blocked on it. There is no cutting off a datagram.
class Answering {
 public:
  /// From begin to end the connection can be cut off.
  void begin(const Request& request, const Address& client) noexcept;
  void end() noexcept;

  /// Whether there was a connection to cut off.
  bool cut() noexcept;
  /// For signal handlers: does nothing while another thread, or the code that the signal has
  /// interrupted, is in one of these functions.
  bool try_cut() noexcept;

 private:
  bool cut_locked() noexcept;

  std::mutex mutex_;
  int fd_ = -1;
  const Address* client_ = nullptr;
  std::uint64_t cookie_ = 0;  // Of a Unix connection, whose client may have no name to know it by.
};

}  // namespace thinsock
