#include "thinsock/error.hpp"

#include <netdb.h>

#include "../system/syscall.hpp"
#include "thinsock/resolve.hpp"

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

void fail(std::error_code code, const std::string& what, std::size_t transferred) {
  if (code.category() == resolve_category() || code.category() == host_category())
    throw ResolveError(code, what, transferred);
  if (code == std::errc::timed_out) throw TimeoutError(code, what, transferred);
  throw Error(code, what, transferred);
}

}  // namespace thinsock
