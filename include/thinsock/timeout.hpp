// thinsock/timeout.hpp - how long a call may block.
//
// Durations are recognised by their members, so that this header need not include <chrono>: code
// that writes `5s` has included it.
#pragma once

#include <compare>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "thinsock/version.hpp"

namespace thinsock {

/// A type with the members of std::chrono::duration.
template <class D>
concept Duration = requires(const D& duration) {
  typename D::rep;
  duration.count();
  D::period::num;
  D::period::den;
};

/// A length of time, or "wait for ever". It is made from any duration (5s, 250ms, 0.5s) or from
/// std::nullopt, as Python's settimeout takes seconds or None, and compares with both; "for ever"
/// is the longest. Durations are rounded up to whole nanoseconds, so that only zero becomes zero.
/// Throws std::invalid_argument if negative or NaN, std::out_of_range beyond 292 years.
class Timeout {
 public:
  constexpr Timeout(std::nullopt_t = std::nullopt) noexcept : nanoseconds_(kForEver) {}

  template <Duration D>
  constexpr Timeout(const D& duration) : nanoseconds_(nanoseconds_of(duration)) {}

  template <Duration D>
  constexpr Timeout(const std::optional<D>& duration)
      : nanoseconds_(duration ? nanoseconds_of(*duration) : kForEver) {}

  /// Does not compile, because a number does not tell its unit.
  template <class Number>
  requires std::is_arithmetic_v<Number> Timeout(Number) {
    static_assert(Duration<Number>, "a timeout needs a unit: write 5s, with <chrono>");
  }

  /// Rounds up to a whole number of D, so that a short wait never becomes "do not wait"; "for ever"
  /// becomes std::nullopt. Throws std::out_of_range if a D cannot be that long.
  template <Duration D>
  constexpr operator std::optional<D>() const {
    using Rep = typename D::rep;
    constexpr std::int64_t num = D::period::num, den = D::period::den;
    if (nanoseconds_ == kForEver) return std::nullopt;
    if constexpr (std::is_floating_point_v<Rep>) {
      return D(static_cast<Rep>(nanoseconds_) / static_cast<Rep>(kSecond) * den / num);
    } else {
      // D ticks `ticks` times in every `span` nanoseconds, in lowest terms.
      constexpr std::int64_t common = common_divisor(den, kSecond);
      constexpr std::int64_t ticks = den / common, span = kSecond / common * num;
      const std::int64_t whole = nanoseconds_ / span, rest = nanoseconds_ % span * ticks;
      if (whole >= kForEver / ticks) throw_too_long();
      const std::int64_t count = whole * ticks + rest / span + (rest % span != 0);
      if (static_cast<std::int64_t>(static_cast<Rep>(count)) != count) throw_too_long();
      return D(static_cast<Rep>(count));
    }
  }

  /// The same as a plain D. For "for ever" value<milliseconds>() throws std::bad_optional_access,
  /// and value_or(0ms) returns its argument.
  template <Duration D>
  constexpr D value() const {
    return std::optional<D>(*this).value();
  }
  template <Duration D>
  constexpr D value_or(const D& for_ever) const {
    return std::optional<D>(*this).value_or(for_ever);
  }

  /// In seconds: "5s", "0.25s"; "None" for "for ever".
  std::string str() const;

  friend constexpr auto operator<=>(Timeout, Timeout) noexcept = default;

 private:
  static constexpr std::int64_t kForEver = INT64_MAX;
  static constexpr std::int64_t kSecond = 1'000'000'000;

  static constexpr std::int64_t common_divisor(std::int64_t a, std::int64_t b) {
    return b == 0 ? a : common_divisor(b, a % b);
  }

  template <Duration D>
  static constexpr std::int64_t nanoseconds_of(const D& duration) {
    constexpr std::int64_t num = D::period::num, den = D::period::den;
    const auto count = duration.count();
    using Rep = std::remove_const_t<decltype(count)>;
    if constexpr (std::is_floating_point_v<Rep>) {
      return rounded_up(count * (static_cast<Rep>(kSecond) * num / den));
    } else if constexpr (sizeof(Rep) > sizeof(std::int64_t) || kSecond % den != 0 ||
                         num > kForEver / kSecond) {
      return rounded_up(static_cast<long double>(count) * kSecond * num / den);
    } else {
      constexpr std::int64_t tick = kSecond / den * num;
      if (std::cmp_less(count, 0) || std::cmp_greater(count, (kForEver - 1) / tick)) {
        return rounded_up(static_cast<long double>(count) * tick);
      }
      return static_cast<std::int64_t>(count) * tick;
    }
  }

  // Checks as well as rounds: everything that the constructors throw comes from here.
  static std::int64_t rounded_up(long double nanoseconds);
  [[noreturn]] static void throw_too_long();

  std::int64_t nanoseconds_;
};

/// Writes str().
std::ostream& operator<<(std::ostream& out, Timeout timeout);

}  // namespace thinsock
