#include "thinsock/error.hpp"

#include <netdb.h>

namespace thinsock {

namespace {

class ResolveCategory : public std::error_category {
 public:
  const char* name() const noexcept override { return "resolve"; }
  std::string message(int code) const override { return ::gai_strerror(code); }
};

// Its only code is ETIMEDOUT.
class TimeoutCategory : public std::error_category {
 public:
  const char* name() const noexcept override { return "timeout"; }
  std::string message(int) const override { return "timed out"; }
  std::error_condition default_error_condition(int) const noexcept override {
    return std::errc::timed_out;
  }
};

}  // namespace

const std::error_category& timeout_category() noexcept {
  static const TimeoutCategory category;
  return category;
}

const std::error_category& resolve_category() noexcept {
  static const ResolveCategory category;
  return category;
}

}  // namespace thinsock
