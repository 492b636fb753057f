// Converts between Address and the kernel's structs (sockaddr_in, sockaddr_in6, sockaddr_un).
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "../system/result.hpp"
#include "thinsock/address.hpp"

namespace thinsock {

inline bool is_internet(int family) noexcept { return family == AF_INET || family == AF_INET6; }

/// A copy of the address as a Raw, the struct of its family; bytes beyond address.size() are zero.
template <class Raw>
Raw raw_of(const Address& address) noexcept {
  Raw raw{};
  std::memcpy(&raw, address.data(), std::min<std::size_t>(address.size(), sizeof raw));
  return raw;
}

/// The address in raw, of which only the first size bytes count.
template <class Raw>
Address address_from(const Raw& raw, std::size_t size = sizeof(Raw)) noexcept {
  Address address;
  // Copies the bytes beyond size too, because valgrind checks sun_path up to its NUL.
  std::memcpy(address.data(), &raw, sizeof raw);
  address.resize(static_cast<socklen_t>(size));
  return address;
}

/// What a resolver found, with the parts of the caller's address that it was not asked for. A
/// scope_id of 0 keeps the scope that was part of the host ("fe80::1%eth0").
inline Address completed(const Address& found, int port, std::uint32_t flowinfo,
                         std::uint32_t scope_id) noexcept {
  if (found.family() == AF_INET6) {
    auto raw = raw_of<sockaddr_in6>(found);
    raw.sin6_port = htons(static_cast<in_port_t>(port));
    raw.sin6_flowinfo = htonl(flowinfo);
    if (scope_id != 0) raw.sin6_scope_id = scope_id;
    return address_from(raw);
  }
  auto raw = raw_of<sockaddr_in>(found);
  raw.sin_port = htons(static_cast<in_port_t>(port));
  return address_from(raw);
}

/// The type of getsockname(2) and getpeername(2).
using NameCall = int(int, sockaddr*, socklen_t*) noexcept;

/// Stores the name that the call gives for fd; an empty Address if the call fails.
inline Result name_into(Address& address, NameCall* call, int fd) noexcept {
  socklen_t size = Address::capacity();
  const Result result = once([&] { return call(fd, address.data(), &size); });
  address.resize(result < 0 ? 0 : size);
  return result;
}

}  // namespace thinsock
