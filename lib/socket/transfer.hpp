// One transfer of bytes between a Socket and the kernel.
#pragma once

#include <sys/socket.h>

#include <string>

#include "../system/waiting.hpp"
#include "thinsock/buffer.hpp"
#include "thinsock/socket.hpp"

namespace thinsock {

/// As the result of a first try: the call has yet to be made, as after a signal.
constexpr Result kNotMade = -EINTR;

/// What one send(2) or recv(2), or a relative of them, is asked to do.
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

  /// Makes the transfer, after waiting for the socket if that may be: how many bytes went. Where
  /// there is no need to wait, this costs the system call alone.
  Result over(const Socket& sk) const noexcept {
    const Result tried = first_try(sk.fileno(), sk.gettimeout());
    if (tried >= 0) [[likely]]
      return tried;
    Deadline deadline(sk.gettimeout());
    return resume(*this, tried, sk.fileno(), deadline);
  }
  /// The same as one of several transfers that have a deadline together.
  Result over(int fd, Deadline& deadline) const noexcept {
    const Result tried = first_try(fd, deadline.timeout());
    return tried >= 0 ? tried : resume(*this, tried, fd, deadline);
  }

  /// Makes the system call once, unless a scope may have to end it before that.
  Result first_try(int fd, Timeout timeout) const noexcept {
    return current_scope == nullptr ? result_of(make(fd, timeout == std::nullopt)) : kNotMade;
  }
  /// Goes on after a first try. By value, so that the fast way keeps a Transfer in registers.
  static Result resume(Transfer transfer, Result tried, int fd, Deadline& deadline) noexcept;

 private:
  Transfer(bool sends, char* data, std::size_t size, int flags, Address* peer,
           msghdr* message) noexcept
      : data_(data), size_(size), peer_(peer), message_(message), flags_(flags), sends_(sends) {}

  // The system call.
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
  msghdr* message_;  // If not null, all of the above is in there.
  int flags_;
  bool sends_;
};

/// Goes on with sending all of data after a first try, and counts in `sent` how much has gone.
Result send_rest(Result tried, int fd, ConstBuffer data, int flags, std::size_t& sent,
                 Deadline& deadline) noexcept;

/// Sends all of data. If that fails, `sent` says how much has gone.
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

/// How many of the bytes that a receive asks for are worth making room for.
std::size_t room_for(std::size_t bufsize, int flags, int family, int type) noexcept;

}  // namespace thinsock
