#include "thinsock/error.hpp"

#include <netdb.h>

namespace thinsock {

namespace {

class ResolveCategory : public std::error_category {
 public:
  const char* name() const noexcept override { return "resolve"; }
  std::string message(int code) const override { return ::gai_strerror(code); }
};

}  // namespace

const std::error_category& resolve_category() noexcept {
  static const ResolveCategory category;
  return category;
}

}  // namespace thinsock
