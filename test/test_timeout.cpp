#include "thinsock/timeout.hpp"

#include <climits>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <ratio>
#include <sstream>
#include <stdexcept>
#include <type_traits>

#include "support.hpp"

using namespace std::chrono_literals;
using std::chrono::hours;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;
using thinsock::Timeout;

namespace {

using Seconds = std::chrono::duration<double>;
using Picoseconds = std::chrono::duration<long, std::pico>;

// The duration that a Timeout stores.
std::optional<nanoseconds> kept(Timeout timeout) { return timeout; }

}  // namespace

TEST_CASE("a Timeout is not made from a null pointer or a point in time", "[timeout][construct]") {
  STATIC_REQUIRE(!std::is_constructible_v<Timeout, std::nullptr_t>);
  STATIC_REQUIRE(!std::is_constructible_v<Timeout, std::chrono::steady_clock::time_point>);
  STATIC_REQUIRE(!std::is_constructible_v<Timeout, std::chrono::system_clock::time_point>);
}

TEST_CASE("a Timeout without argument waits for ever", "[timeout][construct]") {
  REQUIRE(Timeout() == std::nullopt);
  REQUIRE(Timeout(std::nullopt) == std::nullopt);
  REQUIRE(kept(std::nullopt) == std::nullopt);
}

TEST_CASE("a Timeout is made from a duration of any unit", "[timeout][construct]") {
  REQUIRE(kept(7ns) == nanoseconds(7));
  REQUIRE(kept(7us) == nanoseconds(7'000));
  REQUIRE(kept(7ms) == nanoseconds(7'000'000));
  REQUIRE(kept(7s) == nanoseconds(7'000'000'000));
  REQUIRE(kept(7min) == nanoseconds(420'000'000'000));
  REQUIRE(kept(7h) == nanoseconds(25'200'000'000'000));
  REQUIRE(kept(Picoseconds(7000)) == nanoseconds(7));
  REQUIRE(kept(std::chrono::duration<long, std::ratio<1, 60>>(90)) == nanoseconds(1'500'000'000));
}

TEST_CASE("a Timeout is made from a fraction", "[timeout][construct]") {
  REQUIRE(kept(0.5s) == 500ms);
  REQUIRE(kept(Seconds(1.25)) == 1250ms);
  REQUIRE(kept(std::chrono::duration<double, std::milli>(0.5)) == 500us);
  REQUIRE(kept(std::chrono::duration<float>(0.25F)) == 250ms);
  REQUIRE(kept(std::chrono::duration<long double, std::ratio<60>>(0.5L)) == 30s);
}

TEST_CASE("a Timeout is made from a count of any integer type", "[timeout][construct]") {
  REQUIRE(kept(std::chrono::duration<unsigned>(7)) == 7s);
  REQUIRE(kept(std::chrono::duration<unsigned short, std::milli>(7)) == 7ms);
  REQUIRE(kept(std::chrono::duration<std::uint64_t, std::nano>(7)) == 7ns);
  REQUIRE(kept(std::chrono::duration<signed char>(7)) == 7s);
}

TEST_CASE("a Timeout rounds up to a nanosecond", "[timeout][construct]") {
  // Python's settimeout rounds the same numbers to these.
  const auto [given, expected] = GENERATE(table<double, long>({{1e-12, 1},
                                                               {1e-9, 1},
                                                               {1.5e-9, 2},
                                                               {0.1, 100'000'000},
                                                               {1.0 / 3, 333'333'334},
                                                               {0.0, 0},
                                                               {-0.0, 0},
                                                               {5e-324, 1}}));
  CAPTURE(given);
  REQUIRE(kept(Seconds(given)) == nanoseconds(expected));
}

TEST_CASE("a picosecond is not a zero timeout", "[timeout][construct]") {
  REQUIRE(kept(Picoseconds(1)) == 1ns);
  REQUIRE(kept(Picoseconds(1001)) == 2ns);
  REQUIRE(kept(Picoseconds(0)) == 0ns);
}

TEST_CASE("a negative duration is an invalid argument", "[timeout][construct]") {
  REQUIRE_THROWS_AS(Timeout(-1s), std::invalid_argument);
  REQUIRE_THROWS_AS(Timeout(-1ns), std::invalid_argument);
  REQUIRE_THROWS_AS(Timeout(Picoseconds(-1)), std::invalid_argument);
  REQUIRE_THROWS_AS(Timeout(hours::min()), std::invalid_argument);
  REQUIRE_THROWS_AS(Timeout(nanoseconds::min()), std::invalid_argument);
  REQUIRE_THROWS_AS(Timeout(Seconds(-1e-12)), std::invalid_argument);
  REQUIRE_THROWS_AS(Timeout(Seconds(-INFINITY)), std::invalid_argument);
}

TEST_CASE("NaN is an invalid argument", "[timeout][construct]") {
  REQUIRE_THROWS_AS(Timeout(Seconds(NAN)), std::invalid_argument);
  REQUIRE_THROWS_AS(Timeout(std::chrono::duration<float, std::milli>(NAN)), std::invalid_argument);
}

TEST_CASE("a duration beyond 292 years is out of range", "[timeout][construct]") {
  REQUIRE_THROWS_AS(Timeout(Seconds(INFINITY)), std::out_of_range);
  REQUIRE_THROWS_AS(Timeout(Seconds(1e20)), std::out_of_range);
  REQUIRE_THROWS_AS(Timeout(hours::max()), std::out_of_range);
  REQUIRE_THROWS_AS(Timeout(microseconds::max()), std::out_of_range);
  REQUIRE_THROWS_AS(Timeout(std::chrono::duration<std::uint64_t, std::nano>(UINT64_MAX)),
                    std::out_of_range);
}

TEST_CASE("the longest whole number of seconds is Python's", "[timeout][construct]") {
  REQUIRE(kept(9'223'372'036s) == 9'223'372'036s);
  REQUIRE_THROWS_AS(Timeout(9'223'372'037s), std::out_of_range);
}

TEST_CASE("the longest duration there is does not turn into for ever", "[timeout][construct]") {
  REQUIRE(kept(nanoseconds(INT64_MAX - 1)) == nanoseconds(INT64_MAX - 1));
  REQUIRE_THROWS_AS(Timeout(nanoseconds::max()), std::out_of_range);
}

TEST_CASE("a refused assignment leaves a Timeout as it was", "[timeout][construct]") {
  Timeout timeout = 3s;
  REQUIRE_THROWS_AS(timeout = -1s, std::invalid_argument);
  REQUIRE(timeout == 3s);
}

TEST_CASE("a Timeout converts to an optional of any duration", "[timeout][convert]") {
  const Timeout timeout = 90min;
  REQUIRE(std::optional<std::chrono::minutes>(timeout) == 90min);
  REQUIRE(std::optional<seconds>(timeout) == 5400s);
  REQUIRE(std::optional<milliseconds>(timeout) == 5'400'000ms);
  REQUIRE(std::optional<nanoseconds>(timeout) == 90min);
  REQUIRE(std::optional<Picoseconds>(Timeout(7ns)) == Picoseconds(7000));
  REQUIRE(std::optional<std::chrono::duration<unsigned>>(timeout)->count() == 5400);
}

TEST_CASE("for ever converts to an empty optional", "[timeout][convert]") {
  REQUIRE(std::optional<seconds>(Timeout()) == std::nullopt);
  REQUIRE(std::optional<Seconds>(Timeout()) == std::nullopt);
}

TEST_CASE("a Timeout rounds up to a coarser duration", "[timeout][convert]") {
  REQUIRE(std::optional<microseconds>(Timeout(1ns)) == 1us);
  REQUIRE(std::optional<milliseconds>(Timeout(1'000'001ns)) == 2ms);
  REQUIRE(std::optional<seconds>(Timeout(1ns)) == 1s);
  REQUIRE(std::optional<hours>(Timeout(1ns)) == 1h);
  REQUIRE(std::optional<hours>(Timeout(60min)) == 1h);
  REQUIRE(std::optional<milliseconds>(Timeout(0s)) == 0ms);
}

TEST_CASE("a Timeout rounds up to a unit that nanoseconds do not divide", "[timeout][convert]") {
  using Frames = std::chrono::duration<long, std::ratio<1, 60>>;
  using ThreeNanoseconds = std::chrono::duration<long, std::ratio<3, 1'000'000'000>>;
  CHECK(std::optional<Frames>(Timeout(1ns)) == Frames(1));
  CHECK(std::optional<Frames>(Timeout(1s)) == Frames(60));
  CHECK(std::optional<ThreeNanoseconds>(Timeout(3ns)) == ThreeNanoseconds(1));
  CHECK(std::optional<ThreeNanoseconds>(Timeout(1ns)) == ThreeNanoseconds(1));
}

TEST_CASE("a Timeout too long for a duration is out of range", "[timeout][convert]") {
  using Microseconds = std::chrono::duration<int, std::micro>;
  REQUIRE(std::optional<Microseconds>(Timeout(2147s)) == 2147s);
  REQUIRE_THROWS_AS(std::optional<Microseconds>(Timeout(2148s)), std::out_of_range);
  REQUIRE(std::optional<Picoseconds>(Timeout(2500h)) == 2500h);
  REQUIRE_THROWS_AS(std::optional<Picoseconds>(Timeout(2600h)), std::out_of_range);
}

#ifdef __SIZEOF_INT128__
TEST_CASE("a Timeout is made from and converts to the longest integers", "[timeout]") {
  __extension__ using Int128 = __int128;
  using Wide = std::chrono::duration<Int128, std::pico>;
  REQUIRE(kept(Wide(1'500'000'000'000)) == 1500ms);
  REQUIRE(kept(Wide(1)) == 1ns);
  REQUIRE(kept(std::chrono::duration<Int128, std::nano>(7)) == 7ns);
  REQUIRE(kept(std::chrono::duration<Int128>(7)) == 7s);
  REQUIRE(std::optional<Wide>(Timeout(1500ms))->count() == 1'500'000'000'000);
}
#endif

TEST_CASE("a fraction comes back as it was", "[timeout][convert]") {
  const double given = GENERATE(0.1, 0.5, 0.3, 1e-9, 2.75, 86400.125);
  REQUIRE(std::optional<Seconds>(Timeout(Seconds(given)))->count() == given);
}

TEST_CASE("a Timeout converts to a fraction of another unit", "[timeout][convert]") {
  using Milliseconds = std::chrono::duration<double, std::milli>;
  using Hours = std::chrono::duration<double, std::ratio<3600>>;
  REQUIRE(std::optional<Milliseconds>(Timeout(1500us))->count() == Approx(1.5));
  REQUIRE(std::optional<Hours>(Timeout(90min))->count() == Approx(1.5));
}

TEST_CASE("a Timeout is made from an optional duration", "[timeout][construct]") {
  REQUIRE(Timeout(std::optional<seconds>(5)) == 5s);
  REQUIRE(Timeout(std::optional<seconds>()) == std::nullopt);
  REQUIRE(kept(std::optional<Seconds>(0.25)) == 250ms);
  REQUIRE_THROWS_AS(Timeout(std::optional<seconds>(-1)), std::invalid_argument);
  STATIC_REQUIRE(!std::is_constructible_v<Timeout, std::optional<int>>);
}

TEST_CASE("a Timeout gives its value as a duration", "[timeout][convert]") {
  REQUIRE(Timeout(2500ms).value<milliseconds>() == 2500ms);
  REQUIRE(Timeout(2500ms).value<seconds>() == 3s);
  REQUIRE(Timeout(2500ms).value<Seconds>().count() == 2.5);
  REQUIRE(Timeout(0s).value<seconds>() == 0s);
  REQUIRE_THROWS_AS(Timeout().value<seconds>(), std::bad_optional_access);
  REQUIRE(Timeout(2s).value_or(7ms) == 2s);
  REQUIRE(Timeout().value_or(7ms) == 7ms);
}

TEST_CASE("a Timeout is written in seconds", "[timeout][str]") {
  REQUIRE(Timeout(5s).str() == "5s");
  REQUIRE(Timeout(10min).str() == "600s");
  REQUIRE(Timeout(250ms).str() == "0.25s");
  REQUIRE(Timeout(0s).str() == "0s");
  REQUIRE(Timeout(1ns).str() == "0.000000001s");
  REQUIRE(Timeout(10'010ms).str() == "10.01s");
  REQUIRE(Timeout().str() == "None");
  std::ostringstream out;
  out << thinsock::Socket(std::nullopt).gettimeout() << ' ' << Timeout(1500ms);
  REQUIRE(out.str() == "None 1.5s");
}

TEST_CASE("a Timeout compares with durations on either side", "[timeout][compare]") {
  const Timeout timeout = 1500ms;
  REQUIRE(timeout == 1500ms);
  REQUIRE(1.5s == timeout);
  REQUIRE(timeout != 1501ms);
  REQUIRE(timeout < 2s);
  REQUIRE(1s < timeout);
  REQUIRE(timeout >= 1500'000us);
  REQUIRE_FALSE(timeout > 1500ms);
}

TEST_CASE("a Timeout compares with nullopt on either side", "[timeout][compare]") {
  REQUIRE(Timeout() == std::nullopt);
  REQUIRE(std::nullopt == Timeout());
  REQUIRE(Timeout(0s) != std::nullopt);
  REQUIRE(std::nullopt != Timeout(5s));
}

TEST_CASE("for ever is the longest Timeout", "[timeout][compare]") {
  REQUIRE(Timeout() > Timeout(9'223'372'036s));
  REQUIRE(Timeout(5s) < std::nullopt);
  REQUIRE(std::min(Timeout(), Timeout(5s)) == 5s);
  REQUIRE_FALSE(Timeout() < Timeout());
}

TEST_CASE("a Timeout is a constant where its duration is one", "[timeout][constexpr]") {
  constexpr Timeout timeout = 1500us;
  constexpr Timeout for_ever = std::nullopt;
  constexpr std::optional<milliseconds> rounded = timeout;
  STATIC_REQUIRE(timeout == 1500us);
  STATIC_REQUIRE(timeout < for_ever);
  STATIC_REQUIRE(rounded == 2ms);
}
