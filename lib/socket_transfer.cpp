// Socket's send and recv families.
#include <algorithm>
#include <climits>
#include <cstring>
#include <memory>

#include "syscall.hpp"
#include "thinsock/socket.hpp"

namespace thinsock {

namespace {

// What recv takes at most from a stream in one call, and as much of it as may stand on the stack.
constexpr std::size_t kChunk = 64 * 1024;
constexpr std::size_t kStackChunk = 16 * 1024;

// The value if there is one, and the error beside it.
std::size_t settle(Result result, std::error_code& error) noexcept {
  error = code_of(result);
  return result < 0 ? 0 : static_cast<std::size_t>(result);
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

std::size_t Socket::send(ConstBuffer data, int flags) {
  Deadline deadline(timeout_);
  const Result sent = send_once(data, flags, nullptr, deadline);
  if (sent < 0) fail(sent, "send");
  return static_cast<std::size_t>(sent);
}

std::size_t Socket::send(ConstBuffer data, int flags, std::error_code& error) noexcept {
  Deadline deadline(timeout_);
  return settle(send_once(data, flags, nullptr, deadline), error);
}

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

void Socket::sendall(ConstBuffer data, int flags) {
  std::size_t sent = 0;
  Deadline deadline(timeout_);
  if (const Result result = send_all(data, flags, sent, deadline); result < 0) {
    fail(result, "sendall", sent);
  }
}

std::size_t Socket::sendall(ConstBuffer data, int flags, std::error_code& error) noexcept {
  std::size_t sent = 0;
  Deadline deadline(timeout_);
  error = code_of(send_all(data, flags, sent, deadline));
  return sent;
}

std::size_t Socket::sendto(ConstBuffer data, int flags, AddressLike address) {
  Address storage;
  Deadline deadline(timeout_);
  const Address& peer = address.meant_on(family_, type_, 0, 0, storage);
  return static_cast<std::size_t>(check(send_once(data, flags, &peer, deadline), "sendto", peer));
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

// How much of what is asked for a buffer is made for.
long Socket::room_for(std::size_t bufsize, int flags, Deadline& deadline) noexcept {
  const auto all = static_cast<Result>(std::min<std::size_t>(bufsize, LONG_MAX));
  if (bufsize <= kChunk || (type_ == SOCK_STREAM && flags & MSG_WAITALL)) return all;
  if (type_ == SOCK_STREAM || is_internet(family_)) return kChunk;
  // Such a message may be longer than any of the internet's, and what does not fit is lost.
  const Result next = receive({nullptr, 0}, flags | MSG_PEEK | MSG_TRUNC, nullptr, deadline);
  return next < 0 ? next : std::clamp<Result>(next, 1, all);
}

long Socket::receive_string(std::string& data, std::size_t bufsize, int flags, Address* sender) {
  Deadline deadline(timeout_);
  const Result wanted = room_for(bufsize, flags, deadline);
  if (wanted < 0) return wanted;
  const auto room = static_cast<std::size_t>(wanted);
  char on_stack[kStackChunk];
  std::unique_ptr<char[]> on_heap;
  if (room > kStackChunk) on_heap = std::make_unique_for_overwrite<char[]>(room);
  char* chunk = on_heap ? on_heap.get() : on_stack;
  if (flags & MSG_TRUNC) std::memset(chunk, 0, room);  // The kernel counts more than it writes.

  const Result result = receive({chunk, room}, flags, sender, deadline);
  if (result > 0) data.assign(chunk, std::min(static_cast<std::size_t>(result), room));
  return result;
}

std::string Socket::recv(std::size_t bufsize, int flags) {
  std::string data;
  if (bufsize == 0) return data;
  if (const Result result = receive_string(data, bufsize, flags, nullptr); result < 0) {
    fail(result, "recv");
  }
  return data;
}

std::size_t Socket::recv_into(MutableBuffer buffer, int flags) {
  if (buffer.size() == 0) return 0;
  Deadline deadline(timeout_);
  const Result result = receive(buffer, flags, nullptr, deadline);
  if (result < 0) fail(result, "recv_into");
  return static_cast<std::size_t>(result);
}

std::size_t Socket::recv_into(MutableBuffer buffer, int flags, std::error_code& error) noexcept {
  Deadline deadline(timeout_);
  return settle(buffer.size() == 0 ? 0 : receive(buffer, flags, nullptr, deadline), error);
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
  const Result result = receive_string(datagram.data, bufsize, flags, &datagram.address);
  if (result < 0) fail(result, "recvfrom");
  return datagram;
}

Received Socket::recvfrom_into(MutableBuffer buffer, int flags) {
  Received received{};
  Deadline deadline(timeout_);
  const Result result = receive(buffer, flags, &received.address, deadline);
  if (result < 0) fail(result, "recvfrom_into");
  received.size = static_cast<std::size_t>(result);
  return received;
}

Received Socket::recvfrom_into(MutableBuffer buffer, int flags, std::error_code& error) noexcept {
  Received received{};
  Deadline deadline(timeout_);
  received.size = settle(receive(buffer, flags, &received.address, deadline), error);
  return received;
}

}  // namespace thinsock
