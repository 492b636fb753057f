#include <netinet/in.h>

#include <stdexcept>

#include "syscall.hpp"
#include "thinsock/socket.hpp"

namespace thinsock {

Socket create_server(AddressLike address, ServerSocketOptions options) {
  const int family = address.family() == AF_UNSPEC ? options.family : address.family();
  if (options.dualstack_ipv6 && family != AF_INET6) {
    throw std::invalid_argument("dualstack_ipv6 needs AF_INET6");
  }
  Socket sk(family, SOCK_STREAM);
  sk.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1);
  if (options.reuse_port && is_internet(family)) sk.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1);
  if (family == AF_INET6) sk.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, !options.dualstack_ipv6);
  sk.bind(address);
  sk.listen(options.backlog);
  return sk;
}

bool has_dualstack_ipv6() noexcept try {
  Socket sk(AF_INET6, SOCK_STREAM);
  sk.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 0);
  return true;
} catch (const Error&) {
  return false;
}

}  // namespace thinsock
