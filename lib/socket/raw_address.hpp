// An Address as the kernel's own structs.
#pragma once

#include <algorithm>
#include <cstring>

#include "../system/syscall.hpp"
#include "thinsock/address.hpp"

namespace thinsock {

/// The address as its family's own struct; the bytes beyond its size are zero.
template <class Raw>
Raw raw_of(const Address& address) noexcept {
  Raw raw{};
  std::memcpy(&raw, address.data(), std::min<std::size_t>(address.size(), sizeof raw));
  return raw;
}

template <class Raw>
Address address_from(const Raw& raw, std::size_t size = sizeof(Raw)) noexcept {
  Address address;
  std::memcpy(address.data(), &raw, sizeof raw);  // All of it: tools look beyond the size.
  address.resize(static_cast<socklen_t>(size));
  return address;
}

using NameCall = int(int, sockaddr*, socklen_t*) noexcept;

/// getsockname(2) or getpeername(2).
inline Result name_into(Address& address, NameCall* call, int fd) noexcept {
  socklen_t size = Address::capacity();
  const Result result = once([&] { return call(fd, address.data(), &size); });
  address.resize(result < 0 ? 0 : size);
  return result;
}

}  // namespace thinsock
