// thinsock/resolve.hpp - names to addresses and back.
//
// These block for as long as the system's resolver does: no timeout of ours reaches into it.
// A name that does not resolve is a ResolveError; <netdb.h> has the EAI_*, AI_* and NI_* constants.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "thinsock/address.hpp"
#include "thinsock/error.hpp"

#pragma GCC visibility push(default)  // The library hides all else.
namespace thinsock {

/// One answer of getaddrinfo: what to give to Socket, and what to connect or bind it to.
struct AddressInfo {
  int family;
  int type;
  int proto;
  std::string canonname;  ///< Empty unless AI_CANONNAME was asked for.
  Address address;
};

/// All addresses of a host and service, in the order to try them. std::nullopt is Python's None:
/// no host is the wildcard (with AI_PASSIVE) or loopback, no service is port 0. A port is a number
/// or a service name ("http"); a numeric one outside 0-65535 throws std::out_of_range, where libc
/// would wrap it. getaddrinfo(3).
std::vector<AddressInfo> getaddrinfo(std::optional<std::string_view> host,
                                     std::optional<std::string_view> service, int family = 0,
                                     int type = 0, int proto = 0, int flags = 0);
std::vector<AddressInfo> getaddrinfo(std::optional<std::string_view> host, int port, int family = 0,
                                     int type = 0, int proto = 0, int flags = 0);

template <class... Rest>
void getaddrinfo(std::nullptr_t, Rest&&...) = delete;  // Write std::nullopt.

struct NameInfo {
  std::string host;
  std::string service;
};

/// auto [host, service] = getnameinfo(address); A host that has no name comes back numeric, unless
/// NI_NAMEREQD is given. The address has to be numeric, as in Python. getnameinfo(3).
NameInfo getnameinfo(AddressLike address, int flags = 0);

}  // namespace thinsock
#pragma GCC visibility pop
