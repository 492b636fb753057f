#include <unistd.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

#include "../system/syscall.hpp"
#include "thinsock/socket.hpp"

namespace thinsock {

namespace {

constexpr std::size_t kPiece = 64 * 1024;

// From where it stands if it has no positions, as a pipe has none.
Result read_at(int file, char* piece, std::size_t size, std::uint64_t offset) noexcept {
  const Result got =
      retried([&] { return ::pread(file, piece, size, static_cast<off_t>(offset)); });
  return got == -ESPIPE ? retried([&] { return ::read(file, piece, size); }) : got;
}

// Where sendfile(2) cannot do it.
bool refused(Result result) {
  return result == -EINVAL || result == -ENOSYS || result == -EOPNOTSUPP || result == -ESPIPE;
}

}  // namespace

// What sendfile(2) refuses is read and sent, piece by piece.
long Socket::send_by_reading(int file, std::uint64_t offset, std::uint64_t count,
                             std::uint64_t& sent, Deadline& deadline) {
  const auto piece = std::make_unique_for_overwrite<char[]>(kPiece);
  while (sent < count) {
    if (!deadline.leaves_waiting()) {
      if (const Result ready = wait(file, POLLIN, deadline); ready < 0) return ready;
    }
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(count - sent, kPiece));
    const Result got = read_at(file, piece.get(), size, offset + sent);
    if (got <= 0) return got;
    std::size_t gone = 0;
    const Result result = send_all({piece.get(), static_cast<std::size_t>(got)}, 0, gone, deadline);
    sent += gone;
    if (result < 0) return result;
  }
  return 0;
}

std::size_t Socket::sendfile(int fd, std::uint64_t offset, std::optional<std::uint64_t> count) {
  if (type_ != SOCK_STREAM) throw std::invalid_argument("sendfile needs a stream socket");
  if (!getblocking()) throw std::invalid_argument("sendfile needs a blocking socket");
  const std::uint64_t size = count.value_or(INT64_MAX);
  Deadline deadline(timeout_);
  const bool bounded = !deadline.leaves_waiting();  // There is no MSG_DONTWAIT for sendfile.
  if (bounded) set_mode(DescriptorMode::nonblocking);
  std::uint64_t sent = 0;
  Result result = send_file(fd_, fd, offset, size, sent, deadline);
  if (bounded) set_mode(DescriptorMode::blocking);
  if (sent == 0 && refused(result)) result = send_by_reading(fd, offset, size, sent, deadline);
  if (result < 0) fail(result, "sendfile", sent);
  return sent;
}

}  // namespace thinsock
