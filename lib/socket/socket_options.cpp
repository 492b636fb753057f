// Socket's typed options: setsockopt(2) with C++ types and units.
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <chrono>
#include <climits>
#include <cstring>
#include <stdexcept>

#include "../system/result.hpp"
#include "thinsock/socket.hpp"

using std::chrono::seconds;

namespace thinsock {

namespace {

// Rounded up, for options that the kernel takes in whole seconds.
int whole_seconds(Timeout time) {
  const auto whole = std::optional<seconds>(time).value_or(seconds(0)).count();
  if (whole > INT_MAX) throw std::out_of_range("a time must not exceed 2147483647 seconds");
  return static_cast<int>(whole);
}

template <class T>
ConstBuffer bytes_of(const T& value) noexcept {
  return {&value, sizeof value};
}

// IPv4 and IPv6 have different numbers for the same level or option.
int v4_or_v6(int family, int v4, int v6) noexcept { return family == AF_INET6 ? v6 : v4; }
int ip_level(int family) noexcept { return v4_or_v6(family, IPPROTO_IP, IPPROTO_IPV6); }

Address numeric_address(std::string_view host, int family) {
  return AddressLike(host, 0).resolve(family, 0, 0, AI_NUMERICHOST);
}

in_addr numeric_ipv4(std::string_view host) {
  sockaddr_in raw{};
  std::memcpy(&raw, numeric_address(host, AF_INET).data(), sizeof raw);
  return raw.sin_addr;
}

group_req group_request(std::string_view group, int family, unsigned interface) {
  const Address address = numeric_address(group, family);
  group_req request{};
  request.gr_interface = interface;
  std::memcpy(&request.gr_group, address.data(), address.size());
  return request;
}

}  // namespace

void Socket::set_nodelay(bool on) { setsockopt(IPPROTO_TCP, TCP_NODELAY, on); }
bool Socket::get_nodelay() const { return getsockopt(IPPROTO_TCP, TCP_NODELAY) != 0; }

void Socket::set_keepalive(bool on) { setsockopt(SOL_SOCKET, SO_KEEPALIVE, on); }

void Socket::set_keepalive(Timeout idle, Timeout interval, int count) {
  const int idle_seconds = whole_seconds(idle), interval_seconds = whole_seconds(interval);
  setsockopt(IPPROTO_TCP, TCP_KEEPIDLE, idle_seconds);
  setsockopt(IPPROTO_TCP, TCP_KEEPINTVL, interval_seconds);
  setsockopt(IPPROTO_TCP, TCP_KEEPCNT, count);
  set_keepalive(true);
}

std::optional<Keepalive> Socket::get_keepalive() const {
  if (getsockopt(SOL_SOCKET, SO_KEEPALIVE) == 0) return std::nullopt;
  return Keepalive{seconds(getsockopt(IPPROTO_TCP, TCP_KEEPIDLE)),
                   seconds(getsockopt(IPPROTO_TCP, TCP_KEEPINTVL)),
                   getsockopt(IPPROTO_TCP, TCP_KEEPCNT)};
}

void Socket::set_linger(Timeout time) {
  const linger value{time != std::nullopt, whole_seconds(time)};
  setsockopt(SOL_SOCKET, SO_LINGER, bytes_of(value));
}

Timeout Socket::get_linger() const {
  linger value{};
  std::memcpy(&value, getsockopt(SOL_SOCKET, SO_LINGER, sizeof value).data(), sizeof value);
  return value.l_onoff ? Timeout(seconds(value.l_linger)) : Timeout();
}

void Socket::set_sendbuf(int bytes) { setsockopt(SOL_SOCKET, SO_SNDBUF, bytes); }
int Socket::get_sendbuf() const { return getsockopt(SOL_SOCKET, SO_SNDBUF); }

void Socket::set_recvbuf(int bytes) { setsockopt(SOL_SOCKET, SO_RCVBUF, bytes); }
int Socket::get_recvbuf() const { return getsockopt(SOL_SOCKET, SO_RCVBUF); }

void Socket::set_broadcast(bool on) { setsockopt(SOL_SOCKET, SO_BROADCAST, on); }
bool Socket::get_broadcast() const { return getsockopt(SOL_SOCKET, SO_BROADCAST) != 0; }

void Socket::join_multicast(std::string_view group, unsigned interface) {
  setsockopt(ip_level(family_), MCAST_JOIN_GROUP,
             bytes_of(group_request(group, family_, interface)));
}

void Socket::leave_multicast(std::string_view group, unsigned interface) {
  setsockopt(ip_level(family_), MCAST_LEAVE_GROUP,
             bytes_of(group_request(group, family_, interface)));
}

void Socket::join_multicast(std::string_view group, std::string_view local_address) {
  const ip_mreq request{numeric_ipv4(group), numeric_ipv4(local_address)};
  setsockopt(IPPROTO_IP, IP_ADD_MEMBERSHIP, bytes_of(request));
}

void Socket::leave_multicast(std::string_view group, std::string_view local_address) {
  const ip_mreq request{numeric_ipv4(group), numeric_ipv4(local_address)};
  setsockopt(IPPROTO_IP, IP_DROP_MEMBERSHIP, bytes_of(request));
}

void Socket::set_multicast_ttl(int ttl) {
  if (ttl < 0 || ttl > 255) throw std::out_of_range("a multicast TTL must be 0-255");
  setsockopt(ip_level(family_), v4_or_v6(family_, IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS), ttl);
}

int Socket::get_multicast_ttl() const {
  return getsockopt(ip_level(family_), v4_or_v6(family_, IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS));
}

void Socket::set_multicast_loop(bool on) {
  setsockopt(ip_level(family_), v4_or_v6(family_, IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP), on);
}

bool Socket::get_multicast_loop() const {
  return getsockopt(ip_level(family_), v4_or_v6(family_, IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP)) !=
         0;
}

}  // namespace thinsock
