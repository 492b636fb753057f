#include "thinsock/message.hpp"

#include <algorithm>
#include <array>
#include <climits>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "failure.hpp"
#include "transfer.hpp"

namespace thinsock {

namespace {

constexpr std::size_t kMaxBuffers = IOV_MAX;

// The buffers of one call as an array of iovec.
class Vector {
 public:
  template <class Buffer>
  explicit Vector(const ListOf<Buffer>& buffers) : size_(buffers.size()) {
    if (size_ > kMaxBuffers) {
      throw std::invalid_argument("at most " + std::to_string(kMaxBuffers) +
                                  " buffers in one message, not " + std::to_string(size_));
    }
    iovec* next = entries_.data();
    for (const Buffer& buffer : buffers)
      *next++ = {const_cast<char*>(buffer.data()), buffer.size()};
  }

  void into(msghdr& header) {
    header.msg_iov = entries_.data();
    header.msg_iovlen = size_;
  }

  /// Removes the first `sent` bytes; false if none are left.
  static bool advance(msghdr& header, std::size_t sent) {
    for (; header.msg_iovlen > 0; ++header.msg_iov, --header.msg_iovlen) {
      iovec& first = *header.msg_iov;
      if (sent < first.iov_len) {
        first = {static_cast<char*>(first.iov_base) + sent, first.iov_len - sent};
        return true;
      }
      sent -= first.iov_len;
    }
    return false;
  }

 private:
  std::size_t size_;
  std::array<iovec, kMaxBuffers> entries_;
};

std::string packed(const ListOf<Ancillary>& ancdata) {
  std::size_t size = 0;
  for (const Ancillary& item : ancdata) size += CMSG_SPACE(item.data.size());
  std::string control(size, '\0');
  std::size_t at = 0;
  for (const Ancillary& item : ancdata) {
    cmsghdr head{};
    head.cmsg_len = CMSG_LEN(item.data.size());
    head.cmsg_level = item.level;
    head.cmsg_type = item.type;
    std::memcpy(control.data() + at, &head, sizeof head);
    item.data.copy(control.data() + at + CMSG_LEN(0), item.data.size());
    at += CMSG_SPACE(item.data.size());
  }
  return control;
}

template <class Item>
void for_each_item(std::string_view control, const Item& item) {
  while (control.size() >= CMSG_LEN(0)) {
    cmsghdr head;
    std::memcpy(&head, control.data(), sizeof head);
    if (head.cmsg_len < CMSG_LEN(0)) return;
    const std::size_t length = std::min<std::size_t>(head.cmsg_len, control.size());
    item(head, control.substr(CMSG_LEN(0), length - CMSG_LEN(0)));
    control.remove_prefix(std::min(CMSG_ALIGN(length), control.size()));
  }
}

// The buffer for ancillary data and for its descriptors. All memory is allocated before the call,
// so that no failure can leak a received descriptor.
class Control {
 public:
  explicit Control(std::size_t size) : bytes_(std::make_unique<char[]>(size)), size_(size) {
    message_.fds.reserve(std::min(size / sizeof(int), kMaxDescriptors));
  }

  void into(msghdr& header) {
    header.msg_control = size_ > 0 ? bytes_.get() : nullptr;
    header.msg_controllen = size_;
  }

  Message message(std::size_t size) && {
    const std::string_view control(bytes_.get(), size);
    for_each_item(control, [&](const cmsghdr& head, std::string_view data) {
      if (brings_descriptors(head)) own(data, head.cmsg_type == kScmPidfd);
    });
    for_each_item(control, [&](const cmsghdr& head, std::string_view data) {
      if (brings_descriptors(head)) return;
      message_.ancdata.emplace_back(head.cmsg_level, head.cmsg_type, data);
    });
    return std::move(message_);
  }

 private:
  static constexpr std::size_t kMaxDescriptors = 253;  // The kernel's SCM_MAX_FD.
  static constexpr int kScmPidfd = 4;                  // Of Linux 6.5, newer than many headers.

  static bool brings_descriptors(const cmsghdr& head) noexcept {
    return head.cmsg_level == SOL_SOCKET &&
           (head.cmsg_type == SCM_RIGHTS || head.cmsg_type == kScmPidfd);
  }

  void own(std::string_view data, bool pidfd) noexcept {
    for (; data.size() >= sizeof(int); data.remove_prefix(sizeof(int))) {
      int fd;
      std::memcpy(&fd, data.data(), sizeof fd);
      if (pidfd) {
        message_.pidfd = Descriptor(std::max(fd, -1));  // Below -1 it is an error code.
      } else {
        message_.fds.emplace_back(fd);
      }
    }
  }

  std::unique_ptr<char[]> bytes_;
  std::size_t size_;
  Message message_;
};

// Calls recvmsg(2) once. Sets message.size to the full size of a datagram.
Result receive_message(const Socket& sk, Message& message, ListOf<MutableBuffer> buffers,
                       std::size_t ancbufsize, int flags) {
  Control control(ancbufsize);
  Vector vector(buffers);
  Address sender;
  msghdr header{};
  vector.into(header);
  control.into(header);
  header.msg_name = sender.data();
  header.msg_namelen = Address::capacity();
  // Only for datagrams: on a stream, MSG_TRUNC would make the kernel drop bytes.
  const int tell = sk.type() == SOCK_STREAM ? 0 : MSG_TRUNC;
  const Result size = Transfer::receiving(header, flags | tell | MSG_CMSG_CLOEXEC).over(sk);
  if (size < 0) return size;
  message = std::move(control).message(header.msg_controllen);
  sender.resize(header.msg_namelen);
  message.flags = header.msg_flags & ~MSG_CMSG_CLOEXEC;
  message.address = sender;
  message.size = static_cast<std::size_t>(size);
  return size;
}

}  // namespace

void Ancillary::copy_to(void* value, std::size_t size) const {
  if (data.size() < size) throw std::invalid_argument("ancillary data is too short for that");
  std::memcpy(value, data.data(), size);
}

void Socket::sendall(ListOf<ConstBuffer> buffers, Flags flags) {
  msghdr header{};
  Vector vector(buffers);
  vector.into(header);
  Deadline deadline(timeout_);
  for (std::size_t sent = 0;;) {
    const Result result = Transfer::sending(header, flags).over(fd_, deadline);
    if (result < 0) fail(code_of(result), "sendall", *this, sent);
    sent += static_cast<std::size_t>(result);
    if (!Vector::advance(header, static_cast<std::size_t>(result))) return;
    if (deadline.over()) fail(code_of(-ETIMEDOUT), "sendall", *this, sent);
  }
}

std::size_t Socket::sendmsg(ListOf<ConstBuffer> buffers) { return sendmsg(buffers, {}); }

std::size_t Socket::sendmsg(ListOf<ConstBuffer> buffers, ListOf<Ancillary> ancdata, Flags flags,
                            AddressLike address) {
  msghdr header{};
  Vector vector(buffers);
  vector.into(header);
  std::string control = packed(ancdata);
  header.msg_control = control.empty() ? nullptr : control.data();
  header.msg_controllen = control.size();
  Address storage;
  if (!address.empty()) {
    storage = address.resolve_into(family_, type_, 0, 0, storage);
    header.msg_name = storage.data();
    header.msg_namelen = storage.size();
  }
  return value_of(Transfer::sending(header, flags).over(*this), "sendmsg", *this);
}

Message Socket::recvmsg(std::size_t bufsize, std::size_t ancbufsize, Flags flags) {
  const std::size_t room = room_for(bufsize, flags, family_, type_);
  const auto chunk = std::make_unique_for_overwrite<char[]>(room);
  if (flags & MSG_TRUNC && type_ == SOCK_STREAM) std::memset(chunk.get(), 0, room);
  Message message;
  value_of(receive_message(*this, message, {{chunk.get(), room}}, ancbufsize, flags), "recvmsg",
           *this);
  message.data.assign(chunk.get(), std::min(message.size, room));
  return message;
}

Message Socket::recvmsg_into(ListOf<MutableBuffer> buffers, std::size_t ancbufsize, Flags flags) {
  Message message;
  value_of(receive_message(*this, message, buffers, ancbufsize, flags), "recvmsg_into", *this);
  return message;
}

Message Socket::recvmsg_into(ListOf<MutableBuffer> buffers, std::size_t ancbufsize, Flags flags,
                             std::error_code& error) {
  Message message;
  error = code_of(receive_message(*this, message, buffers, ancbufsize, flags));
  return message;
}

std::size_t send_fds(Socket& sk, ListOf<ConstBuffer> buffers, ListOf<int> fds, Flags flags,
                     AddressLike address) {
  const ConstBuffer rights(fds.begin(), fds.size() * sizeof(int));
  return sk.sendmsg(buffers, {{SOL_SOCKET, SCM_RIGHTS, rights}}, flags, address);
}

Message recv_fds(Socket& sk, std::size_t bufsize, std::size_t maxfds, Flags flags) {
  return sk.recvmsg(bufsize, CMSG_LEN(maxfds * sizeof(int)), flags);
}

}  // namespace thinsock
