// Stands between the library and libc, and makes chosen calls fail.
#pragma once

#include <span>
#include <vector>

namespace torture {

/// A function of libc that the library calls, and the errors with which it may fail, then zeros.
struct Call {
  const char* name;
  int errors[10];
  /// Whether the caller must not notice an EAGAIN. It must never notice an EINTR.
  bool waits_after_again = false;
};
/// The last one is operator new.
std::span<const Call> calls();

/// Call this first, once.
void set_up();
/// From now on, in threads that are not Spared, `times` successive calls fail with the error,
/// beginning with the number-th.
void fail(std::size_t call, int number, int times, int error);
/// Counts calls, and lets none fail.
void count();
/// From now on, in threads that are not Spared, calls that transfer bytes do less than they are
/// asked to, or fail with EINTR or EAGAIN, at random. Those of datagrams do not.
void shorten(unsigned seed);
/// From now on, in threads that are not Spared, calls sleep for up to 200 us first, at random.
void delay(unsigned seed);
/// Neither counts, fails, shortens nor delays any more.
void stop();
/// How many times each call was made since count() or fail().
std::vector<int> counted();

/// How often the calls were shortened, interrupted (EINTR) and blocked (EAGAIN) in all.
struct Shortened {
  long short_counts, interrupted, blocked;
};
Shortened shortened();

/// While one exists, the calls of its thread are left alone.
class Spared {
 public:
  Spared() noexcept;
  ~Spared();
  Spared(const Spared&) = delete;
};

}  // namespace torture
