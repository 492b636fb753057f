// One transfer of bytes between a Socket and the kernel.
#pragma once

#include <sys/socket.h>

#include <string>

#include "../system/waiting.hpp"
#include "thinsock/buffer.hpp"
#include "thinsock/socket.hpp"

namespace thinsock {

/// As the result of a first try: the system call has not been made yet, as after a signal.
constexpr Result kNotMade = -EINTR;

/// The arguments of one call of the send(2) or recv(2) family.
class Transfer {
 public:
  static Transfer sending(ConstBuffer data, int flags, const Address* to = nullptr) noexcept {
    return {true,  const_cast<char*>(data.data()), data.size(),
            flags, const_cast<Address*>(to),       nullptr};
  }
  static Transfer sending(msghdr& message, int flags) noexcept {
    return {true, nullptr, 0, flags, nullptr, &message};
  }
  /// `from` is set to the sender's address, or made empty.
  static Transfer receiving(MutableBuffer buffer, int flags, Address* from = nullptr) noexcept {
    return {false, buffer.data(), buffer.size(), flags, from, nullptr};
  }
  static Transfer receiving(msghdr& message, int flags) noexcept {
    return {false, nullptr, 0, flags, nullptr, &message};
  }

  /// Makes the transfer, waiting for the socket if the timeout allows it, and returns the number of
  /// bytes. If nothing has to wait, the only cost is the system call.
  Result over(const Socket& sk) const noexcept {
    const Result tried = first_try(sk.fileno(), sk.gettimeout());
    if (tried >= 0) [[likely]]
      return tried;
    Deadline deadline(sk.gettimeout());
    return resume(*this, tried, sk.fileno(), deadline);
  }
  /// The same for one of several transfers that share a deadline.
  Result over(int fd, Deadline& deadline) const noexcept {
    const Result tried = first_try(fd, deadline.timeout());
    return tried >= 0 ? tried : resume(*this, tried, fd, deadline);
  }

  /// Makes the system call once, or returns kNotMade if a scope of this thread may have to end it.
  Result first_try(int fd, Timeout timeout) const noexcept {
    return current_scope == nullptr ? result_of(make(fd, timeout == std::nullopt)) : kNotMade;
  }
  /// Continues after a first try that returned a negative result. Takes the Transfer by value, so
  /// that the fast path can keep it in registers.
  static Result resume(Transfer transfer, Result tried, int fd, Deadline& deadline) noexcept;

 private:
  Transfer(bool sends, char* data, std::size_t size, int flags, Address* peer,
           msghdr* message) noexcept
      : data_(data), size_(size), peer_(peer), message_(message), flags_(flags), sends_(sends) {}

  // Makes the system call.
  long make(int fd, bool may_block) const noexcept {
    int flags = flags_;
    if (sends_) flags |= MSG_NOSIGNAL;
    if (!may_block) flags |= MSG_DONTWAIT;
    if (message_ != nullptr)
      return sends_ ? ::sendmsg(fd, message_, flags) : ::recvmsg(fd, message_, flags);
    if (peer_ == nullptr)
      return sends_ ? ::send(fd, data_, size_, flags) : ::recv(fd, data_, size_, flags);
    if (sends_) return ::sendto(fd, data_, size_, flags, peer_->data(), peer_->size());
    socklen_t size = Address::capacity();
    const long received = ::recvfrom(fd, data_, size_, flags, peer_->data(), &size);
    peer_->resize(received < 0 ? 0 : size);
    return received;
  }

  char* data_;
  std::size_t size_;
  Address* peer_;
  msghdr* message_;  // If not null, it replaces the members above.
  int flags_;
  bool sends_;
};

/// Continues sending data after a first try. Sets `sent` to the number of bytes sent.
Result send_rest(Result tried, int fd, ConstBuffer data, int flags, std::size_t& sent,
                 Deadline& deadline) noexcept;

/// Sends all of data. Only after a failure it sets `sent` to the number of bytes sent.
inline Result send_all(int fd, ConstBuffer data, int flags, std::size_t& sent,
                       Timeout timeout) noexcept {
  const Result first = Transfer::sending(data, flags).first_try(fd, timeout);
  if (first == static_cast<Result>(data.size())) [[likely]]
    return first;
  Deadline deadline(timeout);
  return send_rest(first, fd, data, flags, sent, deadline);
}

/// The most that recv takes from a stream in one call.
constexpr std::size_t kChunk = 64 * 1024;

/// How many bytes to allocate for a receive of at most bufsize bytes.
std::size_t room_for(std::size_t bufsize, int flags, int family, int type) noexcept;

}  // namespace thinsock
