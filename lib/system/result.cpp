#include "result.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include "thinsock/resolve.hpp"

namespace thinsock {

std::error_code failure_code(Result result) noexcept {
  if (result == -ETIMEDOUT) return {ETIMEDOUT, timeout_category()};
  return {result == kPeerTimedOut ? ETIMEDOUT : static_cast<int>(-result), std::system_category()};
}

namespace {

template <class E>
[[noreturn]] void raise(const E& error, const std::exception_ptr& cause) {
  if (cause == nullptr) throw error;
  try {
    std::rethrow_exception(cause);
  } catch (...) {
    std::throw_with_nested(error);
  }
}

}  // namespace

void fail(std::error_code code, const std::string& what, std::size_t transferred,
          const std::exception_ptr& cause) {
  if (code.category() == resolve_category() || code.category() == host_category())
    raise(ResolveError(code, what, transferred), cause);
  if (code == std::errc::timed_out) raise(TimeoutError(code, what, transferred), cause);
  raise(Error(code, what, transferred), cause);
}

Result close_descriptor(int fd) noexcept {
  const Result result = once([&] { return ::close(fd); });
  return result == -EINTR || result == -ECONNRESET ? 0 : result;
}

Result set_nonblocking(int fd, bool nonblocking) noexcept {
  int value = nonblocking;
  return once([&] { return ::ioctl(fd, FIONBIO, &value); });
}

}  // namespace thinsock
