#include "thinsock/timeout.hpp"

#include <cmath>
#include <ostream>
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

void Timeout::throw_too_long() {
  throw std::out_of_range("a timeout is too long for the type of a duration");
}

std::string Timeout::str() const {
  if (nanoseconds_ == kForEver) return "None";
  std::string fraction = std::to_string(kSecond + nanoseconds_ % kSecond);
  fraction.front() = '.';
  fraction.erase(fraction.find_last_not_of(".0") + 1);
  return std::to_string(nanoseconds_ / kSecond) + fraction + 's';
}

std::ostream& operator<<(std::ostream& out, Timeout timeout) { return out << timeout.str(); }

}  // namespace thinsock
