#include "thinsock/address.hpp"

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <ostream>
#include <stdexcept>

#include "raw_address.hpp"
#include "thinsock/resolve.hpp"

namespace thinsock {

namespace {

constexpr std::size_t kPathOffset = offsetof(sockaddr_un, sun_path);
constexpr std::size_t kPathMax = sizeof(sockaddr_un) - kPathOffset;

// sun_path has to hold the NUL that ends a path. An abstract name starts with a NUL and may fill
// sun_path, because the size of the address tells where it ends.
void check_path(std::string_view path) {
  const bool abstract = path.starts_with('\0');
  if (path.size() > (abstract ? kPathMax : kPathMax - 1)) {
    throw std::invalid_argument(
        "a Unix path must have at most 107 bytes (an abstract name 108), not " +
        std::to_string(path.size()));
  }
  if (!abstract && path.find('\0') != std::string_view::npos) {
    throw std::invalid_argument("a Unix path must not contain a NUL");
  }
}

Address unix_address(std::string_view path) {
  sockaddr_un raw{};
  raw.sun_family = AF_UNIX;
  path.copy(raw.sun_path, path.size());
  const bool terminated = !path.empty() && path.front() != '\0';
  return address_from(raw, kPathOffset + path.size() + terminated);
}

std::string family_name(int family) {
  switch (family) {
    case AF_INET:
      return "AF_INET";
    case AF_INET6:
      return "AF_INET6";
    case AF_UNIX:
      return "AF_UNIX";
    default:
      return "family " + std::to_string(family);
  }
}

std::string host_and_port(std::string_view host, int port) {
  if (host.empty()) host = "\"\"";
  const bool bracketed = host.find(':') != std::string_view::npos;
  std::string text(bracketed ? "[" : "");
  return text.append(host).append(bracketed ? "]:" : ":").append(std::to_string(port));
}

std::string printable_path(std::string_view path) {
  if (!path.starts_with('\0')) return std::string(path);
  return '@' + std::string(path.substr(1));
}

Address ipv4_address(in_addr host, int port) {
  sockaddr_in raw{};
  raw.sin_family = AF_INET;
  raw.sin_addr = host;
  raw.sin_port = htons(static_cast<in_port_t>(port));
  return address_from(raw);
}

Address ipv6_address(const in6_addr& host, int port, std::uint32_t flowinfo,
                     std::uint32_t scope_id) {
  sockaddr_in6 raw{};
  raw.sin6_family = AF_INET6;
  raw.sin6_addr = host;
  raw.sin6_port = htons(static_cast<in_port_t>(port));
  raw.sin6_flowinfo = htonl(flowinfo);
  raw.sin6_scope_id = scope_id;
  return address_from(raw);
}

// For what inet_pton cannot parse: a name, or a numeric host with a scope ("fe80::1%eth0").
Address look_up(std::string_view host, int port, std::uint32_t flowinfo, std::uint32_t scope_id,
                int family, int type, int proto, int flags) {
  // Without a service, because raw sockets have none and it would not be found.
  const auto found = getaddrinfo(host, std::nullopt, family, type, proto, flags);
  return completed(found.at(0).address, port, flowinfo, scope_id);
}

Address parse_or_look_up(const std::string& host, int port, std::uint32_t flowinfo,
                         std::uint32_t scope_id, int family, int type, int proto, int flags) {
  in_addr v4;
  in6_addr v6;
  if (family != AF_INET6 && ::inet_pton(AF_INET, host.c_str(), &v4) == 1) {
    return ipv4_address(v4, port);
  }
  if (family != AF_INET && ::inet_pton(AF_INET6, host.c_str(), &v6) == 1) {
    return ipv6_address(v6, port, flowinfo, scope_id);
  }
  return look_up(host, port, flowinfo, scope_id, family, type, proto, flags);
}

}  // namespace

Address::Address(std::string_view host, int port, std::uint32_t flowinfo, std::uint32_t scope_id) {
  *this = AddressLike(host, port, flowinfo, scope_id).resolve(AF_UNSPEC, 0, 0, AI_NUMERICHOST);
}

Address::Address(std::string_view path) {
  check_path(path);
  *this = unix_address(path);
}

Address::Address(const sockaddr* data, socklen_t size) {
  if (size > capacity()) throw std::invalid_argument("an address must have at most 128 bytes");
  if (size > 0) std::memcpy(bytes_, data, size);
  size_ = size;
}

std::string Address::host() const {
  char text[INET6_ADDRSTRLEN] = "";
  if (family() == AF_INET) {
    const auto raw = raw_of<sockaddr_in>(*this);
    ::inet_ntop(AF_INET, &raw.sin_addr, text, sizeof text);
  } else if (family() == AF_INET6) {
    const auto raw = raw_of<sockaddr_in6>(*this);
    ::inet_ntop(AF_INET6, &raw.sin6_addr, text, sizeof text);
  }
  return text;
}

int Address::port() const noexcept {
  switch (family()) {
    case AF_INET:
      return ntohs(raw_of<sockaddr_in>(*this).sin_port);
    case AF_INET6:
      return ntohs(raw_of<sockaddr_in6>(*this).sin6_port);
    default:
      return 0;
  }
}

std::uint32_t Address::flowinfo() const noexcept {
  return family() == AF_INET6 ? ntohl(raw_of<sockaddr_in6>(*this).sin6_flowinfo) : 0;
}

std::uint32_t Address::scope_id() const noexcept {
  return family() == AF_INET6 ? raw_of<sockaddr_in6>(*this).sin6_scope_id : 0;
}

std::string_view Address::path() const noexcept {
  if (family() != AF_UNIX || size_ <= kPathOffset) return {};
  const std::string_view path(reinterpret_cast<const char*>(bytes_) + kPathOffset,
                              size_ - kPathOffset);
  return path.front() == '\0' ? path : path.substr(0, path.find('\0'));
}

std::string Address::str() const {
  switch (family()) {
    case AF_INET:
      return host_and_port(host(), port());
    case AF_INET6: {
      std::string text = host();
      if (const unsigned scope = scope_id(); scope != 0) {
        char name[IF_NAMESIZE];
        text += '%';
        text += ::if_indextoname(scope, name) ? name : std::to_string(scope);
      }
      return host_and_port(text, port());
    }
    case AF_UNIX:
      return printable_path(path());
    case AF_UNSPEC:
      return {};
    default:
      return family_name(family()) + ", " + std::to_string(size_) + " bytes";
  }
}

std::string_view Address::compared_bytes() const noexcept {
  if (family() == AF_UNIX) return path();
  const std::string_view bytes(reinterpret_cast<const char*>(bytes_), size_);
  return family() == AF_INET ? bytes.substr(0, offsetof(sockaddr_in, sin_zero)) : bytes;
}

std::ostream& operator<<(std::ostream& out, const Address& address) { return out << address.str(); }

AddressLike::AddressLike(std::string_view host, int port, std::uint32_t flowinfo,
                         std::uint32_t scope_id)
    : text_(host), flowinfo_(flowinfo), scope_id_(scope_id), port_(port), kind_(Kind::host) {
  if (port < 0 || port > 65535) {
    throw std::out_of_range("port must be 0-65535, not " + std::to_string(port));
  }
  if (flowinfo > 0xfffff) throw std::out_of_range("flowinfo must be 0-1048575");
  if (host.find('\0') != std::string_view::npos) {
    throw std::invalid_argument("a host name must not contain a NUL");
  }
}

std::string_view AddressLike::view_of(const char* path) {
  if (path == nullptr) throw std::invalid_argument("a path must not be null");
  return path;
}

AddressLike::AddressLike(std::string_view path, Kind kind) : text_(path), kind_(kind) {
  check_path(path);
}

int AddressLike::family() const noexcept {
  if (kind_ == Kind::path) return AF_UNIX;
  return kind_ == Kind::address ? address_->family() : AF_UNSPEC;
}

Address AddressLike::resolve(int family, int type, int proto, int flags) const {
  Address storage;
  return resolve_into(family, type, proto, flags, storage);
}

const Address& AddressLike::resolve_into(int family, int type, int proto, int flags,
                                         Address& storage) const {
  if (kind_ == Kind::address && address_->family() == family) return *address_;
  if (empty()) throw std::invalid_argument("this call needs an address");
  const bool any_family = family == AF_UNSPEC;
  const bool broadcast = kind_ == Kind::host && text_ == "<broadcast>";
  const bool fits = kind_ == Kind::host
                        ? (any_family || is_internet(family)) && !(broadcast && family == AF_INET6)
                        : any_family || this->family() == family || this->family() == AF_UNSPEC;
  if (!fits) {
    const char* kind = kind_ == Kind::path ? "the Unix path " : "";
    throw std::invalid_argument(kind + str() + " is not an address of " + family_name(family));
  }

  if (kind_ == Kind::address) return *address_;
  if (kind_ == Kind::path) return storage = unix_address(text_);
  if (broadcast) return storage = ipv4_address({INADDR_BROADCAST}, port_);
  if (!text_.empty()) {
    return storage = parse_or_look_up(std::string(text_), port_, flowinfo_, scope_id_, family, type,
                                      proto, flags);
  }
  if (family == AF_INET6) return storage = ipv6_address(in6addr_any, port_, flowinfo_, scope_id_);
  return storage = ipv4_address({INADDR_ANY}, port_);
}

std::string AddressLike::str() const {
  switch (kind_) {
    case Kind::host:
      return host_and_port(text_, port_);
    case Kind::path:
      return printable_path(text_);
    case Kind::address:
      return address_->str();
    default:
      return {};
  }
}

}  // namespace thinsock
