// Socket's options: setsockopt(2), and with C++ types and units those most asked for.
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <chrono>
#include <climits>
#include <cstring>
#include <stdexcept>

#include "failure.hpp"

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

// Throws an Error that names the function which was to set or get an option, and its argument.
void check_option(Result result, const Socket& sk, const char* function,
                  std::string_view argument = {}) {
  if (result >= 0) return;
  std::string text = function;
  if (!argument.empty()) text.append(" ").append(argument);
  fail(code_of(result), noting_closed(sk, text));
}

// The function is the one that calls.
void set_option(const Socket& sk, int level, int option, ConstBuffer value,
                std::string_view argument = {}, const char* function = __builtin_FUNCTION()) {
  const auto size = static_cast<socklen_t>(value.size());
  const auto call = [&] { return ::setsockopt(sk.fileno(), level, option, value.data(), size); };
  check_option(once(call), sk, function, argument);
}

void set_option(const Socket& sk, int level, int option, int value,
                const char* function = __builtin_FUNCTION()) {
  set_option(sk, level, option, bytes_of(value), {}, function);
}

template <class T = int>
T get_option(const Socket& sk, int level, int option, const char* function = __builtin_FUNCTION()) {
  T value{};
  socklen_t size = sizeof value;
  const auto call = [&] { return ::getsockopt(sk.fileno(), level, option, &value, &size); };
  check_option(once(call), sk, function);
  return value;
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

int Socket::proto() const { return fd_ == -1 ? 0 : get_option(*this, SOL_SOCKET, SO_PROTOCOL); }

void Socket::setsockopt(int level, int name, int value) { set_option(*this, level, name, value); }

void Socket::setsockopt(int level, int name, ConstBuffer value) {
  set_option(*this, level, name, value);
}

int Socket::getsockopt(int level, int name) const { return get_option(*this, level, name); }

std::string Socket::getsockopt(int level, int name, std::size_t size) const {
  std::string value(size, '\0');
  auto length = static_cast<socklen_t>(size);
  const auto call = [&] { return ::getsockopt(fd_, level, name, value.data(), &length); };
  check_option(once(call), *this, "getsockopt");
  value.resize(length);
  return value;
}

void Socket::set_nodelay(bool on) { set_option(*this, IPPROTO_TCP, TCP_NODELAY, on); }
bool Socket::get_nodelay() const { return get_option(*this, IPPROTO_TCP, TCP_NODELAY) != 0; }

void Socket::set_keepalive(bool on) { set_option(*this, SOL_SOCKET, SO_KEEPALIVE, on); }

void Socket::set_keepalive(Timeout idle, Timeout interval, int count) {
  const int idle_seconds = whole_seconds(idle), interval_seconds = whole_seconds(interval);
  set_option(*this, IPPROTO_TCP, TCP_KEEPIDLE, idle_seconds);
  set_option(*this, IPPROTO_TCP, TCP_KEEPINTVL, interval_seconds);
  set_option(*this, IPPROTO_TCP, TCP_KEEPCNT, count);
  set_keepalive(true);
}

std::optional<Keepalive> Socket::get_keepalive() const {
  if (get_option(*this, SOL_SOCKET, SO_KEEPALIVE) == 0) return std::nullopt;
  return Keepalive{seconds(get_option(*this, IPPROTO_TCP, TCP_KEEPIDLE)),
                   seconds(get_option(*this, IPPROTO_TCP, TCP_KEEPINTVL)),
                   get_option(*this, IPPROTO_TCP, TCP_KEEPCNT)};
}

void Socket::set_linger(Timeout time) {
  const linger value{time != std::nullopt, whole_seconds(time)};
  set_option(*this, SOL_SOCKET, SO_LINGER, bytes_of(value));
}

Timeout Socket::get_linger() const {
  const auto value = get_option<linger>(*this, SOL_SOCKET, SO_LINGER);
  if (!value.l_onoff) return std::nullopt;
  // The kernel takes a negative time for the longest.
  return seconds(value.l_linger < 0 ? INT_MAX : value.l_linger);
}

void Socket::set_sendbuf(int bytes) { set_option(*this, SOL_SOCKET, SO_SNDBUF, bytes); }
int Socket::get_sendbuf() const { return get_option(*this, SOL_SOCKET, SO_SNDBUF); }

void Socket::set_recvbuf(int bytes) { set_option(*this, SOL_SOCKET, SO_RCVBUF, bytes); }
int Socket::get_recvbuf() const { return get_option(*this, SOL_SOCKET, SO_RCVBUF); }

void Socket::set_broadcast(bool on) { set_option(*this, SOL_SOCKET, SO_BROADCAST, on); }
bool Socket::get_broadcast() const { return get_option(*this, SOL_SOCKET, SO_BROADCAST) != 0; }

void Socket::join_multicast(std::string_view group, unsigned interface) {
  set_option(*this, ip_level(family_), MCAST_JOIN_GROUP,
             bytes_of(group_request(group, family_, interface)), group);
}

void Socket::leave_multicast(std::string_view group, unsigned interface) {
  set_option(*this, ip_level(family_), MCAST_LEAVE_GROUP,
             bytes_of(group_request(group, family_, interface)), group);
}

void Socket::join_multicast(std::string_view group, std::string_view local_address) {
  const ip_mreq request{numeric_ipv4(group), numeric_ipv4(local_address)};
  set_option(*this, IPPROTO_IP, IP_ADD_MEMBERSHIP, bytes_of(request), group);
}

void Socket::leave_multicast(std::string_view group, std::string_view local_address) {
  const ip_mreq request{numeric_ipv4(group), numeric_ipv4(local_address)};
  set_option(*this, IPPROTO_IP, IP_DROP_MEMBERSHIP, bytes_of(request), group);
}

void Socket::set_multicast_interface(unsigned interface) {
  ip_mreqn request{};
  request.imr_ifindex = static_cast<int>(interface);
  if (family_ == AF_INET6) {
    setsockopt(IPPROTO_IPV6, IPV6_MULTICAST_IF, request.imr_ifindex);
  } else {
    setsockopt(IPPROTO_IP, IP_MULTICAST_IF, bytes_of(request));
  }
}

void Socket::set_multicast_interface(std::string_view local_address) {
  setsockopt(IPPROTO_IP, IP_MULTICAST_IF, bytes_of(numeric_ipv4(local_address)));
}

void Socket::set_multicast_ttl(int ttl) {
  if (ttl < 0 || ttl > 255) throw std::out_of_range("a multicast TTL must be 0-255");
  set_option(*this, ip_level(family_), v4_or_v6(family_, IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS),
             ttl);
}

int Socket::get_multicast_ttl() const {
  return get_option(*this, ip_level(family_),
                    v4_or_v6(family_, IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS));
}

void Socket::set_multicast_loop(bool on) {
  set_option(*this, ip_level(family_), v4_or_v6(family_, IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP),
             on);
}

bool Socket::get_multicast_loop() const {
  return get_option(*this, ip_level(family_),
                    v4_or_v6(family_, IP_MULTICAST_LOOP, IPV6_MULTICAST_LOOP)) != 0;
}

}  // namespace thinsock
