// thinsock/message.hpp - ancillary data, such as descriptors that another process sends: for
// Socket::sendmsg and recvmsg, send_fds and recv_fds.
//
// As in Python, an item of ancillary data is a level, a type and bytes; cmsg(3), ip(7), ipv6(7) and
// unix(7) list them. Received descriptors are owned by the Message and are close-on-exec.
#pragma once

#include <sys/socket.h>

#include <concepts>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "thinsock/descriptor.hpp"
#include "thinsock/socket.hpp"

namespace thinsock {

/// One item of ancillary data. cmsg(3).
struct Ancillary {
  int level;
  int type;
  std::string data;

  Ancillary(int item_level, int item_type, ConstBuffer bytes)
      : level(item_level), type(item_type), data(bytes.data(), bytes.size()) {}

  /// The bytes as the struct that the manual page names. Throws std::invalid_argument if there are
  /// too few bytes.
  template <class T>
  requires std::is_trivially_copyable_v<T> T as()
  const {
    T value;
    copy_to(&value, sizeof value);
    return value;
  }

 private:
  void copy_to(void* value, std::size_t size) const;
};

/// auto [data, ancdata, fds, flags, address, size, pidfd] = sk.recvmsg(bufsize, ancbufsize);
struct Message {
  std::string data;                ///< Empty after recvmsg_into.
  std::vector<Ancillary> ancdata;  ///< Without descriptors. If truncated, the last one is cut.
  std::vector<Descriptor> fds;     ///< The descriptors of SCM_RIGHTS.
  int flags = 0;                   ///< MSG_TRUNC, MSG_CTRUNC, MSG_EOR, …
  Address address;                 ///< The sender; empty if the kernel names none.
  std::size_t size = 0;            ///< The full size of the message, even if data is truncated.
  Descriptor pidfd;                ///< The descriptor of SCM_PIDFD: the process that sent.

  /// Whether the datagram did not fit into the buffer.
  bool truncated() const noexcept { return flags & MSG_TRUNC; }
  /// Whether ancillary data or descriptors were lost because ancbufsize was too small.
  bool control_truncated() const noexcept { return flags & MSG_CTRUNC; }

  /// get<in_pktinfo>(IPPROTO_IP, IP_PKTINFO), get<ucred>(SOL_SOCKET, SCM_CREDENTIALS),
  /// get<int>(IPPROTO_IP, IP_TTL), …: the first such item; std::nullopt if there is none, or if it
  /// is truncated.
  template <class T>
  std::optional<T> get(int level, int type) const {
    for (const Ancillary& item : ancdata) {
      if (item.level == level && item.type == type && item.data.size() >= sizeof(T)) {
        return item.as<T>();
      }
    }
    return std::nullopt;
  }
};

/// Sends descriptors over a Unix socket, together with at least one byte. The caller goes on owning
/// them. At most 253 at once (EINVAL). Unlike Python, it uses flags and address.
std::size_t send_fds(Socket& sk, ListOf<ConstBuffer> buffers, ListOf<int> fds, Flags flags = 0,
                     AddressLike address = {});

/// Receives at most maxfds descriptors into Message::fds. The kernel closes any others; then
/// control_truncated() is true.
Message recv_fds(Socket& sk, std::size_t bufsize, std::size_t maxfds, Flags flags = 0);

}  // namespace thinsock
