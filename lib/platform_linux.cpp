#include "syscall.hpp"

namespace thinsock {

Result open_socket(int family, int type, int proto) noexcept {
  return once([&] { return ::socket(family, type | SOCK_CLOEXEC, proto); });
}

Result open_pair(int family, int type, int proto, int (&fds)[2]) noexcept {
  return once([&] { return ::socketpair(family, type | SOCK_CLOEXEC, proto, fds); });
}

int accept_once(int fd, Address& peer, bool nonblocking) noexcept {
  socklen_t size = Address::capacity();
  const int flags = SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0);
  const int accepted = ::accept4(fd, peer.data(), &size, flags);
  peer.resize(accepted == -1 ? 0 : size);
  return accepted;
}

}  // namespace thinsock
