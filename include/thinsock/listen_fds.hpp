// thinsock/listen_fds.hpp - the sockets a supervisor has opened for this process: systemd's socket
// activation (sd_listen_fds(3)), for programs that do not want its library.
#pragma once

#include <string>
#include <vector>

#include "thinsock/socket.hpp"

#pragma GCC visibility push(default)  // The library hides all else.
namespace thinsock {

struct ListenFd {
  std::string name;  ///< From LISTEN_FDNAMES; "unknown" if there are no names, as systemd says.
  Socket socket;
};

/// The sockets passed in LISTEN_FDS, in their order; none if there are none, or if LISTEN_PID means
/// another process. They are owned and close-on-exec from here on, and the variables are removed
/// from the environment, so a second call returns none. A count that makes no sense or a stream
/// socket that does not listen is an Error (EINVAL), a descriptor that is no socket or not open
/// another (ENOTSOCK, EBADF); the ones before it are closed then. Changes the environment: not to
/// be called while other threads read it.
std::vector<ListenFd> listen_fds();

}  // namespace thinsock
#pragma GCC visibility pop
