#include <netinet/in.h>

#include "listener.hpp"

namespace thinsock {

Socket create_server(AddressLike address, ServerSocketOptions options) {
  const bool ipv6 = address.host().find(':') != std::string_view::npos;
  const int family = address.family() != AF_UNSPEC ? address.family()
                     : ipv6                        ? AF_INET6
                                                   : options.family;
  Socket sk(family, SOCK_STREAM);
  sk.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1);
  prepare_listener(sk, options.reuse_port, options.dualstack_ipv6);
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
