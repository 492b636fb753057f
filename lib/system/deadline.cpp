#include "deadline.hpp"

#include <algorithm>
#include <ctime>
#include <optional>

using std::chrono::nanoseconds;

namespace thinsock {

// Reads the clock of std::chrono::steady_clock without a call through the C++ library.
std::int64_t now() noexcept {
  timespec time;
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

void Deadline::start() noexcept {
  if (end_ != 0 || timeout_ == std::nullopt) return;
  const std::int64_t begin = now(), length = std::optional<nanoseconds>(timeout_)->count();
  end_ = begin + std::min(length, INT64_MAX - begin);
}

std::int64_t Deadline::end() noexcept {
  start();
  return std::min(end_ == 0 ? INT64_MAX : end_, earliest_scope_end());
}

nanoseconds Deadline::remaining() noexcept {
  const std::int64_t moment = end();
  return nanoseconds(moment == INT64_MAX ? moment : std::max<std::int64_t>(moment - now(), 0));
}

}  // namespace thinsock
