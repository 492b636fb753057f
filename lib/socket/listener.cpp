#include "listener.hpp"

#include <netinet/in.h>

#include <stdexcept>

#include "raw_address.hpp"

namespace thinsock {

void prepare_listener(Socket& sk, bool reuse_port, bool dualstack_ipv6) {
  if (dualstack_ipv6 && sk.family() != AF_INET6) {
    throw std::invalid_argument("dualstack_ipv6 needs AF_INET6");
  }
  if (reuse_port && is_internet(sk.family())) sk.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1);
  if (sk.family() == AF_INET6) sk.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, !dualstack_ipv6);
}

}  // namespace thinsock
