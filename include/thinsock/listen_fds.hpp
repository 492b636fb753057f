// thinsock/listen_fds.hpp - the sockets that a supervisor has opened for this process: systemd's
// socket activation (sd_listen_fds(3)) without its library.
#pragma once

#include <string>
#include <vector>

#include "thinsock/socket.hpp"

namespace thinsock {

struct ListenFd {
  std::string name;  ///< From LISTEN_FDNAMES; "unknown" where it has no name, as with systemd.
  Socket socket;
};

/// The sockets that LISTEN_FDS counts, in their order; none if the variable is not set or
/// LISTEN_PID names another process. The caller owns them, and they are close-on-exec.
///
/// The call removes the variables from the environment, so a second call returns none, and other
/// threads must not use the environment at the same time.
///
/// Throws Error with EINVAL if LISTEN_FDS is no count or a stream socket does not listen, ENOTSOCK
/// or EBADF if a descriptor is no socket or not open. The sockets before it are then closed.
std::vector<ListenFd> listen_fds();

}  // namespace thinsock
