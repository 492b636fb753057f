// thinsock/select.hpp - waits for several sockets at once: Python's select.select, over poll(2).
#pragma once

#include <vector>

#include "thinsock/stream.hpp"

namespace thinsock {

/// A Socket or SocketStream in a list of select. It refers to the object, which has to stay where
/// it is. Lists that grow are vectors of it: std::vector<Selectable> all(begin(sks), end(sks)).
class Selectable {
 public:
  Selectable(Socket& sk) noexcept : socket_(&sk) {}
  Selectable(SocketStream& stream) noexcept : socket_(&stream.socket()), buf_(stream.rdbuf()) {}

  Socket& socket() const noexcept { return *socket_; }
  /// Whether a stream holds bytes that it has received and nobody has read.
  bool has_unread() const { return buf_ != nullptr && buf_->in_avail() > 0; }

 private:
  Socket* socket_;
  SocketBuf* buf_ = nullptr;
};

/// What is ready, in the order of the lists; a stream is named by the address of its socket().
struct Selected {
  std::vector<Socket*> readable, writable, exceptional;
};

/// auto [r, w, x] = select({listener, client}, {}, {}, 5s); Waits until a socket of rlist can be
/// received from or accepts, one of wlist can be sent to, or one of xlist has urgent data; at the
/// end of the file and after an error a call does not block either. All are empty after the
/// timeout. Unlike in Python a stream with unread bytes is readable, and there is no limit of 1024.
///
/// The timeouts of the sockets do not count. A CancelScope ends the wait, as it ends a recv. Throws
/// Error (EBADF) for a closed socket. What was written to a stream is not sent: flush it before.
Selected select(ListOf<Selectable> rlist, ListOf<Selectable> wlist = {},
                ListOf<Selectable> xlist = {}, Timeout timeout = std::nullopt);

}  // namespace thinsock
