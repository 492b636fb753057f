// Socket's send and recv families.
#include <algorithm>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "failure.hpp"
#include "transfer.hpp"

namespace thinsock {

namespace {

// The sizes of receive buffers on the stack; larger ones are allocated. With the small one, a
// thread that waits in recv does not touch another page of its stack.
constexpr std::size_t kStackChunk = 16 * 1024;
constexpr std::size_t kSmallChunk = 2 * 1024;

// Receives into a chunk and copies it to a string. Receiving into the string itself would mean to
// clear it first, because the length is not known before.
Result receive_by(char* chunk, std::size_t room, std::string& data, int flags, Address* sender,
                  const Socket& sk) {
  // On a stream, MSG_TRUNC makes the kernel drop and count bytes without writing them.
  if (flags & MSG_TRUNC && sk.type() == SOCK_STREAM) std::memset(chunk, 0, room);
  const Result result = Transfer::receiving({chunk, room}, flags, sender).over(sk);
  if (result > 0) data.assign(chunk, std::min(static_cast<std::size_t>(result), room));
  return result;
}

template <std::size_t Size>
Result receive_on_stack(std::size_t room, auto&&... how) {
  char chunk[Size];
  return receive_by(chunk, room, how...);
}

Result receive_string(std::size_t room, auto&&... how) {
  if (room <= kSmallChunk) return receive_on_stack<kSmallChunk>(room, how...);
  if (room <= kStackChunk) return receive_on_stack<kStackChunk>(room, how...);
  return receive_by(std::make_unique_for_overwrite<char[]>(room).get(), room, how...);
}

// Throws the reason why only `have` of `size` bytes were received. The result 0 means that the peer
// has closed.
[[noreturn]] void fail_after(std::size_t have, std::size_t size, Result result,
                             const char* operation, const Socket& sk) {
  const std::string what = with_name_of(sk, operation) + " after " + std::to_string(have) + " of " +
                           std::to_string(size) + " bytes";
  if (result < 0) fail(code_of(result), what, sk.gettimeout(), have);
  throw EOFError({ENODATA, std::system_category()}, what + ": closed by the peer", have);
}

// With datagrams, bytes would be lost, and an empty datagram would look like the end of file.
void require_stream(int type) {
  if (type != SOCK_STREAM) throw std::invalid_argument("recv_exactly needs a stream socket");
}

// Fills one part of recv_exactly's result. Of all `size` bytes, `before` have been received.
void receive_all(const Socket& sk, const char* operation, MutableBuffer part, Deadline& deadline,
                 std::size_t before, std::size_t size) {
  const int flags = deadline.kernel_waits(sk.fileno()) ? MSG_WAITALL : 0;
  for (std::size_t done = 0; done < part.size();) {
    const MutableBuffer rest(part.data() + done, part.size() - done);
    const Result result = Transfer::receiving(rest, flags).over(sk.fileno(), deadline);
    if (result <= 0) fail_after(before + done, size, result, operation, sk);
    done += static_cast<std::size_t>(result);
    if (done < part.size() && deadline.over())
      fail_after(before + done, size, -ETIMEDOUT, operation, sk);
  }
}

}  // namespace

std::size_t Socket::send(ConstBuffer data, Flags flags) {
  return value_of(Transfer::sending(data, flags).over(*this), "send", *this);
}

std::size_t Socket::send(ConstBuffer data, Flags flags, std::error_code& error) noexcept {
  return value_or_error(Transfer::sending(data, flags).over(*this), error);
}

void Socket::sendall(ConstBuffer data, Flags flags) {
  std::size_t sent;
  const Result result = send_all(fd_, data, flags, sent, timeout_);
  if (result < 0) fail(code_of(result), "sendall", *this, sent);
}

std::size_t Socket::sendall(ConstBuffer data, Flags flags, std::error_code& error) noexcept {
  std::size_t sent;
  error = code_of(send_all(fd_, data, flags, sent, timeout_));
  return error ? sent : data.size();
}

std::size_t Socket::sendto(ConstBuffer data, Flags flags, AddressLike address) {
  Address storage;
  const Address& peer = address.resolve_into(family_, type_, 0, 0, storage);
  return value_of(Transfer::sending(data, flags, &peer).over(*this), "sendto", *this, address,
                  peer);
}

std::size_t Socket::sendto(ConstBuffer data, Flags flags, AddressLike address,
                           std::error_code& error) try {
  Address storage;
  const Address& peer = address.resolve_into(family_, type_, 0, 0, storage);
  return value_or_error(Transfer::sending(data, flags, &peer).over(*this), error);
} catch (const Error& unresolved) {
  error = unresolved.code();
  return 0;
}

std::string Socket::recv(std::size_t bufsize, Flags flags) {
  std::string data;
  if (bufsize == 0) return data;
  const std::size_t room = room_for(bufsize, flags, family_, type_);
  value_of(receive_string(room, data, flags, nullptr, *this), "recv", *this);
  return data;
}

std::size_t Socket::recv_into(MutableBuffer buffer, Flags flags) {
  if (buffer.size() == 0) return 0;
  return value_of(Transfer::receiving(buffer, flags).over(*this), "recv_into", *this);
}

std::size_t Socket::recv_into(MutableBuffer buffer, Flags flags, std::error_code& error) noexcept {
  error.clear();
  if (buffer.size() == 0) return 0;
  return value_or_error(Transfer::receiving(buffer, flags).over(*this), error);
}

std::string Socket::recv_exactly(std::size_t size) {
  require_stream(type_);
  std::string data;
  Deadline deadline(timeout_);
  for (std::size_t have = 0; have < size; have = data.size()) {
    data.resize(have + std::min(size - have, std::max(have, kChunk)));
    receive_all(*this, "recv_exactly", {data.data() + have, data.size() - have}, deadline, have,
                size);
  }
  return data;
}

void Socket::recv_exactly_into(MutableBuffer buffer) {
  require_stream(type_);
  Deadline deadline(timeout_);
  receive_all(*this, "recv_exactly_into", buffer, deadline, 0, buffer.size());
}

Datagram Socket::recvfrom(std::size_t bufsize, Flags flags) {
  Datagram datagram;
  const std::size_t room = room_for(bufsize, flags, family_, type_);
  value_of(receive_string(room, datagram.data, flags, &datagram.address, *this), "recvfrom", *this);
  return datagram;
}

Received Socket::recvfrom_into(MutableBuffer buffer, Flags flags) {
  Received received;
  received.size = value_of(Transfer::receiving(buffer, flags, &received.address).over(*this),
                           "recvfrom_into", *this);
  return received;
}

Received Socket::recvfrom_into(MutableBuffer buffer, Flags flags, std::error_code& error) noexcept {
  Received received;
  received.size =
      value_or_error(Transfer::receiving(buffer, flags, &received.address).over(*this), error);
  return received;
}

}  // namespace thinsock
