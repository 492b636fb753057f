#include "packet_info.hpp"

#include <netinet/in.h>

#include <cstring>

#include "../socket/raw_address.hpp"

namespace thinsock {

namespace {

sockaddr_in6 mapped(in_addr address) noexcept {
  sockaddr_in6 raw{};
  raw.sin6_family = AF_INET6;
  raw.sin6_addr.s6_addr[10] = raw.sin6_addr.s6_addr[11] = 0xff;
  std::memcpy(&raw.sin6_addr.s6_addr[12], &address, sizeof address);
  return raw;
}

}  // namespace

void receive_packet_info(Socket& sk, bool ipv4_too) {
  const bool ipv6 = sk.family() == AF_INET6;
  if (ipv6) sk.setsockopt(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
  if (!ipv6 || ipv4_too) sk.setsockopt(IPPROTO_IP, IP_PKTINFO, 1);
}

std::size_t packet_info_size() noexcept {
  return CMSG_SPACE(sizeof(in_pktinfo)) + CMSG_SPACE(sizeof(in6_pktinfo));
}

// For broadcast and multicast, IPv4 reports the interface's own address, IPv6 the group.
Address destination_of(const Message& message, const Address& bound) {
  const auto ipv4 = message.get<in_pktinfo>(IPPROTO_IP, IP_PKTINFO);
  if (ipv4 && bound.family() == AF_INET) {
    auto raw = raw_of<sockaddr_in>(bound);
    raw.sin_addr = ipv4->ipi_spec_dst;
    return address_from(raw);
  }
  auto raw = ipv4 ? mapped(ipv4->ipi_spec_dst) : sockaddr_in6{};
  raw.sin6_port = raw_of<sockaddr_in6>(bound).sin6_port;
  if (ipv4) return address_from(raw);
  const auto ipv6 = message.get<in6_pktinfo>(IPPROTO_IPV6, IPV6_PKTINFO);
  if (!ipv6 || IN6_IS_ADDR_MULTICAST(&ipv6->ipi6_addr)) return Address();
  raw.sin6_family = AF_INET6;
  raw.sin6_addr = ipv6->ipi6_addr;
  if (IN6_IS_ADDR_LINKLOCAL(&raw.sin6_addr)) raw.sin6_scope_id = ipv6->ipi6_ifindex;
  return address_from(raw);
}

Ancillary leaving_from(const Address& address) {
  if (address.family() == AF_INET) {
    in_pktinfo info{};
    info.ipi_spec_dst = raw_of<sockaddr_in>(address).sin_addr;
    return {IPPROTO_IP, IP_PKTINFO, {&info, sizeof info}};
  }
  const auto raw = raw_of<sockaddr_in6>(address);
  const in6_pktinfo info{raw.sin6_addr, raw.sin6_scope_id};
  return {IPPROTO_IPV6, IPV6_PKTINFO, {&info, sizeof info}};
}

}  // namespace thinsock
