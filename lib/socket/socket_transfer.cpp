// Socket's send and recv families.
#include <algorithm>
#include <climits>
#include <cstring>
#include <memory>

#include "../system/syscall.hpp"
#include "thinsock/socket.hpp"

namespace thinsock {

namespace {

// What recv takes at most from a stream in one call.
constexpr std::size_t kChunk = 64 * 1024;
// What may stand on the stack of it. A thread that waits with the small one needs no page of memory
// for it yet.
constexpr std::size_t kStackChunk = 16 * 1024;
constexpr std::size_t kSmallChunk = 2 * 1024;

// The value if there is one, and the error beside it.
std::size_t settle(Result result, std::error_code& error) noexcept {
  error = code_of(result);
  return result < 0 ? 0 : static_cast<std::size_t>(result);
}

// With MSG_TRUNC the kernel counts more than it writes.
void clear_if_truncating(char* chunk, std::size_t room, int flags) noexcept {
  if (flags & MSG_TRUNC) std::memset(chunk, 0, room);
}

}  // namespace

long Socket::send_once(ConstBuffer data, int flags, const Address* address,
                       Deadline& deadline) noexcept {
  flags |= MSG_NOSIGNAL;
  if (address == nullptr) {
    return transmit(fd_, deadline, flags,
                    [&](int f) { return ::send(fd_, data.data(), data.size(), f); });
  }
  if (address->family() != AF_UNIX) {
    return transmit(fd_, deadline, flags, [&](int f) {
      return ::sendto(fd_, data.data(), data.size(), f, address->data(), address->size());
    });
  }
  Address name = *address;
  iovec vector{const_cast<char*>(data.data()), data.size()};
  msghdr message{};
  message.msg_name = name.data();
  message.msg_namelen = name.size();
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  return send_message(fd_, deadline, message, flags);
}

long Socket::send_slowly(long tried, ConstBuffer data, int flags) noexcept {
  Deadline deadline(timeout_);
  return is_answer(tried, timeout_, flags) ? tried : send_once(data, flags, nullptr, deadline);
}

std::size_t Socket::send(ConstBuffer data, int flags, std::error_code& error) noexcept {
  const Result sent = send_some(data, flags);
  return settle(sent < 0 ? send_slowly(sent, data, flags) : sent, error);
}

// What is left of data behind `sent`, which it counts on.
long Socket::send_all(ConstBuffer data, int flags, std::size_t& sent, Deadline& deadline) noexcept {
  do {
    const ConstBuffer rest(data.data() + sent, data.size() - sent);
    const Result result = send_once(rest, flags, nullptr, deadline);
    if (result < 0) return result;
    sent += static_cast<std::size_t>(result);
    if (sent == data.size()) return 0;
  } while (!deadline.over());
  return -ETIMEDOUT;
}

long Socket::sendall_slowly(long tried, ConstBuffer data, int flags, std::size_t& sent) noexcept {
  if (tried < 0 && is_answer(tried, timeout_, flags)) return tried;
  sent = static_cast<std::size_t>(std::max(tried, 0L));
  if (tried >= 0 && sent == data.size()) return 0;
  Deadline deadline(timeout_);
  return send_all(data, flags, sent, deadline);
}

void Socket::sendall_slowly(long tried, ConstBuffer data, int flags) {
  std::size_t sent = 0;
  if (const Result result = sendall_slowly(tried, data, flags, sent); result < 0) {
    fail(result, "sendall", sent);
  }
}

std::size_t Socket::sendall(ConstBuffer data, int flags, std::error_code& error) noexcept {
  std::size_t sent = 0;
  error = code_of(sendall_slowly(send_some(data, flags), data, flags, sent));
  return sent;
}

std::size_t Socket::sendto_slowly(long tried, ConstBuffer data, int flags, AddressLike address) {
  Address storage;
  Deadline deadline(timeout_);
  const Address& peer = address.meant_on(family_, type_, 0, 0, storage);
  if (!is_answer(tried, timeout_, flags)) tried = send_once(data, flags, &peer, deadline);
  return static_cast<std::size_t>(check(tried, "sendto", peer));
}

std::size_t Socket::sendto(ConstBuffer data, int flags, AddressLike address,
                           std::error_code& error) try {
  Address storage;
  Deadline deadline(timeout_);
  const Address& peer = address.meant_on(family_, type_, 0, 0, storage);
  return settle(send_once(data, flags, &peer, deadline), error);
} catch (const Error& unresolved) {
  error = unresolved.code();
  return 0;
}

long Socket::receive(MutableBuffer buffer, int flags, Address* sender,
                     Deadline& deadline) noexcept {
  socklen_t size = 0;
  const Result result =
      thinsock::receive(fd_, receive_timer_, timeout_, deadline, flags, [&](int f) {
        if (sender == nullptr) return ::recv(fd_, buffer.data(), buffer.size(), f);
        size = Address::capacity();
        return ::recvfrom(fd_, buffer.data(), buffer.size(), f, sender->data(), &size);
      });
  if (sender != nullptr) sender->resize(result < 0 ? 0 : size);
  return result;
}

long Socket::receive_slowly(long tried, MutableBuffer buffer, int flags, Address* sender,
                            std::int64_t began) noexcept {
  Deadline deadline(timeout_, began);
  return is_answer(tried, timeout_, flags) ? tried : receive(buffer, flags, sender, deadline);
}

std::int64_t Socket::now() noexcept { return thinsock::now(); }

// How much of what is asked for a buffer is made for.
long Socket::room_for(std::size_t bufsize, int flags, Deadline& deadline) noexcept {
  const auto all = static_cast<Result>(std::min<std::size_t>(bufsize, LONG_MAX));
  if (bufsize <= kChunk || (type_ == SOCK_STREAM && flags & MSG_WAITALL)) return all;
  if (type_ == SOCK_STREAM || is_internet(family_)) return kChunk;
  // Such a message may be longer than any of the internet's, and what does not fit is lost.
  const Result next = receive({nullptr, 0}, flags | MSG_PEEK | MSG_TRUNC, nullptr, deadline);
  return next < 0 ? next : std::clamp<Result>(next, 1, all);
}

// The length of the string is not known before the kernel has written it.
template <std::size_t Size>
long Socket::receive_on_stack(std::size_t room, std::string& data, int flags, Address* sender) {
  char chunk[Size];
  clear_if_truncating(chunk, room, flags);
  const Result result = receive_some({chunk, room}, flags, sender);
  if (result > 0) data = std::string(chunk, std::min(static_cast<std::size_t>(result), room));
  return result;
}

long Socket::receive_string(std::size_t bufsize, std::string& data, int flags, Address* sender) {
  if (bufsize <= kSmallChunk) return receive_on_stack<kSmallChunk>(bufsize, data, flags, sender);
  if (bufsize <= kStackChunk) return receive_on_stack<kStackChunk>(bufsize, data, flags, sender);
  Deadline deadline(timeout_);
  const Result wanted = room_for(bufsize, flags, deadline);
  if (wanted < 0) return wanted;
  const auto room = static_cast<std::size_t>(wanted);
  const auto chunk = std::make_unique_for_overwrite<char[]>(room);
  clear_if_truncating(chunk.get(), room, flags);
  const Result result = receive({chunk.get(), room}, flags, sender, deadline);
  if (result > 0) data = std::string(chunk.get(), std::min(static_cast<std::size_t>(result), room));
  return result;
}

std::string Socket::recv(std::size_t bufsize, int flags) {
  std::string data;
  if (bufsize == 0) return data;
  if (const Result result = receive_string(bufsize, data, flags, nullptr); result < 0) {
    fail(result, "recv");
  }
  return data;
}

std::size_t Socket::recv_into(MutableBuffer buffer, int flags, std::error_code& error) noexcept {
  return settle(buffer.size() == 0 ? 0 : receive_some(buffer, flags, nullptr), error);
}

// One part of what recv_exactly is to receive: part of `size` bytes, `before` of which are there.
void Socket::fill(MutableBuffer part, Deadline& deadline, std::size_t before, std::size_t size) {
  const int flags = deadline.leaves_waiting() ? MSG_WAITALL : 0;
  for (std::size_t done = 0; done < part.size();) {
    const MutableBuffer rest(part.data() + done, part.size() - done);
    const Result result = receive(rest, flags, nullptr, deadline);
    if (result < 0) fail(result, "recv_exactly", before + done);
    if (result == 0) {
      throw EOFError({ENODATA, std::system_category()},
                     named("recv_exactly") + ": closed by the peer after " +
                         std::to_string(before + done) + " of " + std::to_string(size) + " bytes",
                     before + done);
    }
    done += static_cast<std::size_t>(result);
    if (done < part.size() && deadline.over()) fail(-ETIMEDOUT, "recv_exactly", before + done);
  }
}

std::string Socket::recv_exactly(std::size_t size) {
  std::string data;
  Deadline deadline(timeout_);
  for (std::size_t have = 0; have < size; have = data.size()) {
    data.resize(have + std::min(size - have, std::max(have, kChunk)));
    fill({data.data() + have, data.size() - have}, deadline, have, size);
  }
  return data;
}

void Socket::recv_exactly_into(MutableBuffer buffer) {
  Deadline deadline(timeout_);
  fill(buffer, deadline, 0, buffer.size());
}

Datagram Socket::recvfrom(std::size_t bufsize, int flags) {
  Datagram datagram;
  const Result result = receive_string(bufsize, datagram.data, flags, &datagram.address);
  if (result < 0) fail(result, "recvfrom");
  return datagram;
}

Received Socket::recvfrom_into(MutableBuffer buffer, int flags, std::error_code& error) noexcept {
  Received received;
  received.size = settle(receive_some(buffer, flags, &received.address), error);
  return received;
}

}  // namespace thinsock
