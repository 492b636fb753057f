#include "result.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include "thinsock/resolve.hpp"

namespace thinsock {

std::error_code failure_code(Result result) noexcept {
  if (result == -ETIMEDOUT) return {ETIMEDOUT, timeout_category()};
  return {result == kPeerTimedOut ? ETIMEDOUT : static_cast<int>(-result), std::system_category()};
}

void fail(std::error_code code, const std::string& what, std::size_t transferred) {
  if (code.category() == resolve_category() || code.category() == host_category())
    throw ResolveError(code, what, transferred);
  if (code == std::errc::timed_out) throw TimeoutError(code, what, transferred);
  throw Error(code, what, transferred);
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
