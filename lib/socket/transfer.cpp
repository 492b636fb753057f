#include "transfer.hpp"

#include <algorithm>

#include "raw_address.hpp"

namespace thinsock {

// The slow path: the socket is not ready, a signal came, a scope exists, or the transfer failed.
Result Transfer::resume(Transfer transfer, Result tried, int fd, Deadline& deadline) noexcept {
  Deadline no_wait(std::chrono::nanoseconds(0));
  Deadline& end = transfer.flags_ & (MSG_DONTWAIT | MSG_ERRQUEUE) ? no_wait : deadline;
  if (const Result stop = interrupted(); stop < 0 && !end.at_once()) return stop;
  const short events = transfer.sends_ ? POLLOUT : transfer.flags_ & MSG_OOB ? POLLPRI : POLLIN;
  const auto call = [&] { return transfer.make(fd, deadline.kernel_waits(fd)); };
  return resumed(tried, call, fd, events, end, 0);
}

Result send_rest(Result tried, int fd, ConstBuffer data, int flags, std::size_t& sent,
                 Deadline& deadline) noexcept {
  sent = 0;
  for (;; tried = kNotMade) {
    const ConstBuffer rest(data.data() + sent, data.size() - sent);
    if (tried < 0) tried = Transfer::resume(Transfer::sending(rest, flags), tried, fd, deadline);
    if (tried < 0) return tried;
    sent += static_cast<std::size_t>(tried);
    if (sent == data.size()) return 0;
    if (deadline.over()) return -ETIMEDOUT;
  }
}

// Bytes of a datagram that do not fit are lost, so it gets all of bufsize, except over IP, where no
// datagram exceeds kChunk. Allocated pages that are never touched cost nothing.
std::size_t room_for(std::size_t bufsize, int flags, int family, int type) noexcept {
  const bool whole = type == SOCK_STREAM ? flags & MSG_WAITALL : !is_internet(family);
  return whole ? bufsize : std::min(bufsize, kChunk);
}

}  // namespace thinsock
