// create_connection and create_server: sockets that come ready to use.
#include <netinet/in.h>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "syscall.hpp"
#include "thinsock/resolve.hpp"
#include "thinsock/socket.hpp"

namespace thinsock {

namespace {

std::vector<AddressInfo> candidates(const AddressLike& address) {
  if (address.family() == AF_UNSPEC && !address.empty()) {
    return getaddrinfo(address.host(), address.port(), AF_UNSPEC, SOCK_STREAM);
  }
  return {{address.family(), SOCK_STREAM, 0, "", address.resolve(address.family())}};
}

// An even part of what is left, so that no dead address uses up the budget of those behind it.
Timeout share(Deadline& deadline, Timeout timeout, std::size_t tries) {
  if (deadline.never() || deadline.at_once()) return timeout;
  const auto part = deadline.remaining() / static_cast<long>(tries);
  return std::max(part, std::chrono::nanoseconds(1));
}

Socket connected(const AddressInfo& to, Timeout timeout, const AddressLike& source) {
  Socket sk(to.family, to.type, to.proto);
  sk.settimeout(timeout);
  if (source.family() != AF_UNSPEC && source.family() != to.family)
    fail(code_of(-EAFNOSUPPORT), "bind " + source.str());
  if (!source.empty()) sk.bind(source);
  sk.connect(to.address);
  return sk;
}

}  // namespace

Socket create_connection(AddressLike address, Timeout timeout, AddressLike source) {
  Deadline deadline(timeout);
  deadline.start();
  const std::vector<AddressInfo> addresses = candidates(address);
  std::string reasons;
  std::error_code last;
  for (std::size_t tried = 0; tried < addresses.size(); ++tried) {
    const AddressInfo& to = addresses[tried];
    try {
      Socket sk = connected(to, share(deadline, timeout, addresses.size() - tried), source);
      sk.settimeout(timeout);
      return sk;
    } catch (const Error& error) {
      if (addresses.size() == 1) throw;
      last = error.code();
      reasons += (tried == 0 ? "" : "; ") + to.address.str() + ": " + last.message();
    }
  }
  fail(last, "create_connection " + address.str() + " (" + reasons + ')');
}

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
