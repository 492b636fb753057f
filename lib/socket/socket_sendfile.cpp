#include <unistd.h>

#include <algorithm>
#include <memory>
#include <stdexcept>

#include "../system/platform.hpp"
#include "failure.hpp"
#include "transfer.hpp"

namespace thinsock {

namespace {

constexpr std::size_t kPiece = 64 * 1024;

static_assert(sizeof(off_t) == sizeof(std::uint64_t), "define _FILE_OFFSET_BITS=64");

// A terminal or a socket has no positions: it is read from where it stands.
Result read_at(int file, char* piece, std::size_t size, std::uint64_t offset) noexcept {
  const Result got =
      retried([&] { return ::pread(file, piece, size, static_cast<off_t>(offset)); });
  return got == -ESPIPE ? retried([&] { return ::read(file, piece, size); }) : got;
}

// Whether sendfile(2) cannot send this kind of file.
bool refused(Result result) {
  return result == -EINVAL || result == -ENOSYS || result == -EOPNOTSUPP || result == -ESPIPE;
}

// Reads what sendfile(2) refuses, and sends it, piece by piece.
Result send_by_reading(int fd, int file, std::uint64_t offset, std::uint64_t count,
                       std::uint64_t& sent, Deadline& deadline) {
  const auto piece = std::make_unique_for_overwrite<char[]>(kPiece);
  while (sent < count) {
    if (!deadline.kernel_waits(file)) {
      if (const Result ready = wait(file, POLLIN, deadline); ready < 0) return ready;
    }
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(count - sent, kPiece));
    const Result got = read_at(file, piece.get(), size, offset + sent);
    if (got <= 0) return got;
    std::size_t gone;
    const ConstBuffer data(piece.get(), static_cast<std::size_t>(got));
    const Result result = send_rest(kNotMade, fd, data, 0, gone, deadline);
    sent += gone;
    if (result < 0) return result;
  }
  return 0;
}

}  // namespace

std::size_t Socket::sendfile(int fd, std::uint64_t offset, std::optional<std::uint64_t> count) {
  if (type_ != SOCK_STREAM) throw std::invalid_argument("sendfile needs a stream socket");
  if (!getblocking()) throw std::invalid_argument("sendfile needs a blocking socket");
  const std::uint64_t size = count.value_or(INT64_MAX);
  Deadline deadline(timeout_);
  const bool bounded = !deadline.kernel_waits(fd_);  // There is no MSG_DONTWAIT for sendfile(2).
  std::uint64_t sent = 0;
  Result result = bounded ? set_nonblocking(fd_, true) : 0;
  if (result == 0) result = send_file(fd_, fd, offset, size, sent, deadline);
  if (bounded) set_nonblocking(fd_, false);
  if (sent == 0 && refused(result)) {
    result = send_by_reading(fd_, fd, offset, size, sent, deadline);
  }
  if (result < 0) fail(code_of(result), "sendfile", *this, sent);
  return sent;
}

}  // namespace thinsock
