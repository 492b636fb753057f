// thinsock/select.hpp - waits for several sockets at once: Python's select.select, over poll(2).
#pragma once

#include <vector>

#include "thinsock/stream.hpp"

namespace thinsock {

/// A Socket or SocketStream in a list of select. It points to the object, which must not be moved
/// meanwhile. A list of any length is a vector: std::vector<Selectable> all(begin(sks), end(sks)).
class Selectable {
 public:
  Selectable(Socket& sk) noexcept : socket_(&sk) {}
  Selectable(SocketStream& stream) noexcept : socket_(&stream.socket()), buf_(stream.rdbuf()) {}

  Socket& socket() const noexcept { return *socket_; }
  /// Whether a stream has received bytes that were not read yet.
  bool has_unread() const { return buf_ != nullptr && buf_->in_avail() > 0; }

 private:
  Socket* socket_;
  SocketBuf* buf_ = nullptr;
};

/// What is ready, in the order of the lists; for a stream it is &stream.socket().
struct Selected {
  std::vector<Socket*> readable, writable, exceptional;
};

/// auto [r, w, x] = select({listener, client}, {}, {}, 5s); Waits until recv or accept would not
/// block on a socket of rlist (also because the peer has closed, or an error is pending), send
/// would not block on one of wlist, or one of xlist has urgent data. All three are empty after the
/// timeout. Unlike in Python, a stream with unread bytes is readable, and there is no limit of
/// 1024.
///
/// The timeouts of the sockets have no effect. A CancelScope ends the wait, as it ends a recv.
/// Throws Error (EBADF) for a closed socket. Does not flush streams.
Selected select(ListOf<Selectable> rlist, ListOf<Selectable> wlist = {},
                ListOf<Selectable> xlist = {}, Timeout timeout = std::nullopt);

}  // namespace thinsock
