#include "thinsock/timeout.hpp"

#include <cmath>
#include <stdexcept>

namespace thinsock {

std::int64_t Timeout::rounded_up(long double nanoseconds) {
  if (std::isnan(nanoseconds)) throw std::invalid_argument("a timeout cannot be NaN");
  if (nanoseconds < 0) throw std::invalid_argument("a timeout cannot be negative");
  nanoseconds = std::ceil(nanoseconds);
  if (nanoseconds >= static_cast<long double>(kForEver)) {
    throw std::out_of_range("a timeout cannot exceed 292 years; std::nullopt waits for ever");
  }
  return static_cast<std::int64_t>(nanoseconds);
}

}  // namespace thinsock
