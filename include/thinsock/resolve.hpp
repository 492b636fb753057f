// thinsock/resolve.hpp - names to addresses and back.
//
// These block for as long as the system's resolver does: no timeout of ours reaches into it.
// A name that does not resolve is a ResolveError; <netdb.h> has the EAI_*, AI_* and NI_* constants.
#pragma once

#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "thinsock/address.hpp"
#include "thinsock/error.hpp"

#pragma GCC visibility push(default)  // The library hides all else.
namespace thinsock {

/// The category of ResolveErrors from gethostbyname_ex and gethostbyaddr, Python's herror: the
/// HOST_NOT_FOUND, TRY_AGAIN, … of <netdb.h>.
const std::error_category& host_category() noexcept;

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

// Python's None is std::nullopt.
template <class... Rest>
void getaddrinfo(std::nullptr_t, Rest&&...) = delete;
template <class Host, std::same_as<std::nullptr_t> Service, class... Rest>
void getaddrinfo(const Host&, Service, Rest&&...) = delete;

struct NameInfo {
  std::string host;
  std::string service;
};

/// auto [host, service] = getnameinfo(address); A host that has no name comes back numeric, unless
/// NI_NAMEREQD is given. The address has to be numeric, as in Python. getnameinfo(3).
NameInfo getnameinfo(AddressLike address, int flags = 0);

/// The first IPv4 address of a host; "" is 0.0.0.0.
std::string gethostbyname(std::string_view host);

struct HostEntry {
  std::string name;  ///< The one that counts as official.
  std::vector<std::string> aliases;
  std::vector<std::string> addresses;  ///< Numeric, of one family.
};

/// auto [name, aliases, addresses] = gethostbyname_ex(host); IPv4 only. gethostbyname_r(3).
HostEntry gethostbyname_ex(std::string_view host);
/// For a numeric host of either family, or a name that is looked up first. gethostbyaddr_r(3).
HostEntry gethostbyaddr(std::string_view host);

/// The name of this host; setting it needs privileges. gethostname(2).
std::string gethostname();
void sethostname(std::string_view name);

/// The first name with a dot in it that the host is known by, or else what was asked for; this
/// host's if that is empty or a wildcard. Never throws ResolveError.
std::string getfqdn(std::string_view name = "");

/// Ports and protocols as /etc/services and /etc/protocols have them; any protocol if proto is
/// empty. ResolveError (EAI_SERVICE, EAI_NONAME) if they do not.
int getservbyname(std::string_view service, std::string_view proto = "");
std::string getservbyport(int port, std::string_view proto = "");
int getprotobyname(std::string_view name);

struct Interface {
  unsigned index;
  std::string name;
};

/// The network interfaces. An unknown one is an Error (ENODEV, ENXIO). if_nametoindex(3).
std::vector<Interface> if_nameindex();
unsigned if_nametoindex(std::string_view name);
std::string if_indextoname(unsigned index);

/// Between text and the bytes of an address, in network order: 4 or 16 of them. aton also takes
/// "127.1" and the like. Text that is no address is an Error (EINVAL), as is a family that is not
/// AF_INET or AF_INET6 (EAFNOSUPPORT); a wrong number of bytes is std::invalid_argument. inet(3).
std::string inet_aton(std::string_view text);
std::string inet_ntoa(std::string_view packed);
std::string inet_pton(int family, std::string_view text);
std::string inet_ntop(int family, std::string_view packed);

}  // namespace thinsock
#pragma GCC visibility pop
