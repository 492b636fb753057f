// thinsock/resolve.hpp - converts names to addresses and back.
//
// A lookup blocks for as long as the system's resolver does: neither a timeout nor a CancelScope
// can end it. A name that cannot be resolved throws ResolveError. The EAI_*, AI_* and NI_*
// constants are in <netdb.h>. Ports are in host byte order.
#pragma once

#include <concepts>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "thinsock/address.hpp"
#include "thinsock/error.hpp"

namespace thinsock {

/// The category of the ResolveErrors of gethostbyaddr, and of gethostbyname_ex for an empty host
/// (Python's herror), whose codes are the HOST_NOT_FOUND, TRY_AGAIN, … of <netdb.h>.
const std::error_category& host_category() noexcept;

/// One answer of getaddrinfo: the arguments of a Socket, and the address to connect or bind it to.
struct AddressInfo {
  int family;
  int type;
  int proto;
  std::string canonname;  ///< Empty unless AI_CANONNAME was asked for.
  Address address;
};

/// All addresses of a host and service, in the order in which to try them. std::nullopt is Python's
/// None: without a host the answer is the wildcard (with AI_PASSIVE) or loopback, without a service
/// port 0. A service is a name ("http") or a port number; a number outside 0-65535 throws
/// std::out_of_range, whereas libc would wrap it. getaddrinfo(3).
std::vector<AddressInfo> getaddrinfo(std::optional<std::string_view> host,
                                     std::optional<std::string_view> service, int family = 0,
                                     int type = 0, int proto = 0, int flags = 0);
std::vector<AddressInfo> getaddrinfo(std::optional<std::string_view> host, int port, int family = 0,
                                     int type = 0, int proto = 0, int flags = 0);

// Deleted, because Python's None is std::nullopt here, and nullptr would be taken for a string.
template <class... Rest>
void getaddrinfo(std::nullptr_t, Rest&&...) = delete;
template <class Host, std::same_as<std::nullptr_t> Service, class... Rest>
void getaddrinfo(const Host&, Service, Rest&&...) = delete;

struct NameInfo {
  std::string host;
  std::string service;
};

/// auto [host, service] = getnameinfo(address); A host without a name is returned in numeric form,
/// unless flags has NI_NAMEREQD. The address has to be numeric, as in Python. getnameinfo(3).
NameInfo getnameinfo(AddressLike address, int flags = 0);

/// The first IPv4 address of a host, as text; "" gives 0.0.0.0.
std::string gethostbyname(std::string_view host);

struct HostEntry {
  std::string name;  ///< The official (canonical) name.
  std::vector<std::string> aliases;
  std::vector<std::string> addresses;  ///< Numeric, all of the same family.
};

/// auto [name, aliases, addresses] = gethostbyname_ex(host); IPv4 only. gethostbyname_r(3).
HostEntry gethostbyname_ex(std::string_view host);
/// auto [name, aliases, addresses] = gethostbyaddr(host); The host is numeric, IPv4 or IPv6, or a
/// name, which is then looked up first. gethostbyaddr_r(3).
HostEntry gethostbyaddr(std::string_view host);

/// The name of this host; to set it needs privileges (EPERM). gethostname(2).
std::string gethostname();
void sethostname(std::string_view name);

/// The first of the host's names that contains a dot, its official name if none does, and the
/// argument if the host cannot be looked up. An empty argument or a wildcard ("0.0.0.0", "::")
/// means this host. Never throws ResolveError.
std::string getfqdn(std::string_view name = "");

/// Looks up ports and protocol numbers in the system's databases (/etc/services, /etc/protocols).
/// An empty proto matches any protocol. Throws ResolveError (EAI_SERVICE, EAI_NONAME) if there is
/// no such entry, and std::out_of_range for a port outside 0-65535.
int getservbyname(std::string_view service, std::string_view proto = "");
std::string getservbyport(int port, std::string_view proto = "");
int getprotobyname(std::string_view name);

struct Interface {
  unsigned index;
  std::string name;
};

/// The network interfaces of this host. An unknown name or index throws Error (ENODEV, ENXIO).
/// if_nametoindex(3).
std::vector<Interface> if_nameindex();
unsigned if_nametoindex(std::string_view name);
std::string if_indextoname(unsigned index);

/// These convert between an address as text and its 4 or 16 bytes in network order. inet_aton also
/// accepts short forms such as "127.1". They throw Error if the text is no address (EINVAL) or the
/// family neither AF_INET nor AF_INET6 (EAFNOSUPPORT), and std::invalid_argument if the number of
/// bytes is wrong. inet(3).
std::string inet_aton(std::string_view text);
std::string inet_ntoa(std::string_view packed);
std::string inet_pton(int family, std::string_view text);
std::string inet_ntop(int family, std::string_view packed);

}  // namespace thinsock
