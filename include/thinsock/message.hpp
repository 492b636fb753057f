// thinsock/message.hpp - what travels beside the bytes: Socket::sendmsg and recvmsg, send_fds,
// recv_fds.
//
// Ancillary data goes in and out as (level, type, bytes), as in Python; cmsg(3) and the pages of
// the protocols say what there is. Descriptors that arrive are owned from the start.
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

  /// The bytes as the struct the manual page names. Throws std::invalid_argument if they are fewer.
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
  std::vector<Ancillary> ancdata;  ///< All but the descriptors; the last one cut if truncated.
  std::vector<Descriptor> fds;     ///< What SCM_RIGHTS brought, close-on-exec.
  int flags = 0;                   ///< MSG_TRUNC, MSG_CTRUNC, MSG_EOR, …
  Address address;                 ///< The sender, where the kernel names one.
  std::size_t size = 0;            ///< As it was sent: more than data has, if that is truncated.
  Descriptor pidfd;                ///< What SCM_PIDFD brought: the process that sent.

  /// Whether the datagram was longer than the room for it.
  bool truncated() const noexcept { return flags & MSG_TRUNC; }
  /// Whether ancillary data or descriptors were lost for want of ancbufsize.
  bool control_truncated() const noexcept { return flags & MSG_CTRUNC; }

  /// get<in_pktinfo>(IPPROTO_IP, IP_PKTINFO), get<ucred>(SOL_SOCKET, SCM_CREDENTIALS),
  /// get<int>(IPPROTO_IP, IP_TTL), …: the first such item, if it came whole.
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

/// Sends descriptors over a Unix socket beside at least one byte; they stay open here. At most 253
/// at once (EINVAL). Unlike Python's, flags and address count.
std::size_t send_fds(Socket& sk, ListOf<ConstBuffer> buffers, ListOf<int> fds, Flags flags = 0,
                     AddressLike address = {});

/// Receives at most maxfds descriptors: Message::fds. More than that are closed by the kernel, and
/// control_truncated() tells.
Message recv_fds(Socket& sk, std::size_t bufsize, std::size_t maxfds, Flags flags = 0);

}  // namespace thinsock
