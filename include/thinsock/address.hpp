// thinsock/address.hpp - where a socket is bound or connected, and how callers name such a place.
#pragma once

#include <sys/socket.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

#pragma GCC visibility push(default)  // The library hides all else.
namespace thinsock {

/// One end point of any family, as the kernel has it: IPv4, IPv6, a Unix path or abstract name, or
/// the raw bytes of another family. A value: copyable, comparable, hashable, printable.
class Address {
 public:
  /// No address, size() == 0: what recvfrom gives where the kernel names no sender.
  Address() noexcept {}

  /// A numeric IPv4 or IPv6 host ("127.0.0.1", "fe80::1%eth0"); names are for getaddrinfo.
  /// "" is the IPv4 wildcard.
  /// Throws ResolveError if not numeric, otherwise as AddressLike does.
  Address(std::string_view host, int port, std::uint32_t flowinfo = 0, std::uint32_t scope_id = 0);

  /// A Unix path, at most 107 bytes, or an abstract name: a NUL and at most 107 bytes more.
  /// An empty path asks bind to choose an abstract name. Throws std::invalid_argument.
  explicit Address(std::string_view path);

  /// A copy of what a system call gave. Throws std::invalid_argument beyond capacity().
  Address(const sockaddr* data, socklen_t size);

  /// AF_INET, AF_INET6, AF_UNIX, …; AF_UNSPEC if there is no address.
  int family() const noexcept {
    sa_family_t family = AF_UNSPEC;
    // <cstring> would cost every small client a hundredth of its compile time.
    if (size_ >= sizeof family) __builtin_memcpy(&family, bytes_, sizeof family);
    return family;
  }

  /// The numeric host without scope; empty where the family has none.
  std::string host() const;
  /// In host byte order; 0 where the family has none.
  int port() const noexcept;
  /// IPv6 only, in host byte order; 0 elsewhere.
  std::uint32_t flowinfo() const noexcept;
  /// IPv6 only: the index of the interface a link-local address belongs to; 0 elsewhere.
  std::uint32_t scope_id() const noexcept;
  /// The Unix path; an abstract name keeps its leading NUL; empty if unnamed or of another family.
  /// Points into this Address.
  std::string_view path() const noexcept;

  /// "127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80", "/run/x.sock", "@name"; empty if unnamed.
  std::string str() const;

  /// For system calls: fill data() up to capacity(), then say with resize() how much came.
  sockaddr* data() noexcept { return reinterpret_cast<sockaddr*>(bytes_); }
  const sockaddr* data() const noexcept { return reinterpret_cast<const sockaddr*>(bytes_); }
  socklen_t size() const noexcept { return size_; }
  void resize(socklen_t size) noexcept { size_ = size < capacity() ? size : capacity(); }
  static constexpr socklen_t capacity() noexcept { return sizeof(sockaddr_storage); }

  /// By what the family means: padding and the NUL that ends a path do not count.
  friend bool operator==(const Address& a, const Address& b) noexcept {
    return a.family() == b.family() && a.significant() == b.significant();
  }
  /// Some total order, by family first, for maps and sorting.
  friend std::strong_ordering operator<=>(const Address& a, const Address& b) noexcept {
    const auto by_family = a.family() <=> b.family();
    return by_family != 0 ? by_family : a.significant() <=> b.significant();
  }

 private:
  friend struct std::hash<Address>;

  std::string_view significant() const noexcept;

  // Bytes, not sockaddr_storage: these may be copied while nothing has been written to them.
  alignas(sockaddr_storage) unsigned char bytes_[sizeof(sockaddr_storage)];
  socklen_t size_ = 0;
};

std::ostream& operator<<(std::ostream& out, const Address& address);

/// A std::string, string_view or filesystem::path: anything with a name to look into.
template <class P>
concept PathLike = requires(const P& path) {
  std::string_view(path);
}
|| requires(const P& path) { std::string_view(path.native()); };

/// How callers name an address, Python's polymorphic address argument: {host, port}, {host, port,
/// flowinfo, scope_id}, a path, or an Address. A parameter type: it points to the caller's strings.
///
/// A host is numeric or a name, "" for the wildcard, or "<broadcast>". Throws, before any system
/// call, std::out_of_range for a port outside 0-65535 or a flowinfo above 0xfffff, and
/// std::invalid_argument for a NUL in a host or path and for a path the kernel would cut.
class AddressLike {
 public:
  /// No address at all: create_connection's source, when it does not matter.
  AddressLike() noexcept {}

  AddressLike(std::string_view host, int port, std::uint32_t flowinfo = 0,
              std::uint32_t scope_id = 0);

  AddressLike(const Address& address) noexcept : address_(&address), kind_(Kind::address) {}

  /// A string literal: all of it, so that an abstract name can be written "\0name".
  template <std::size_t N>
  AddressLike(const char (&path)[N])
      : AddressLike(std::string_view(path, path[N - 1] == '\0' ? N - 1 : N), Kind::path) {}
  /// A buffer holds a path up to its first NUL.
  template <std::size_t N>
  AddressLike(char (&path)[N])
      : AddressLike(std::string_view(path, N).substr(0, std::string_view(path, N).find('\0')),
                    Kind::path) {}
  AddressLike(std::nullptr_t) = delete;
  AddressLike(std::nullptr_t, int, std::uint32_t = 0, std::uint32_t = 0) = delete;

  template <PathLike P>
  AddressLike(const P& path) : AddressLike(view_of(path), Kind::path) {}

  /// Whether there is an address at all.
  bool empty() const noexcept { return kind_ == Kind::none; }
  /// AF_UNIX for a path, the Address's own, and AF_UNSPEC for a host: that is for resolve to find.
  int family() const noexcept;

  /// The Address meant on a socket of this family and type. A given Address is itself; a numeric
  /// host costs no more than inet_pton(3); a name is looked up (getaddrinfo(3), which may block
  /// for as long as it likes; flags are its AI_* ones) and its first address taken.
  /// Throws ResolveError, and std::invalid_argument where the family is another one.
  Address resolve(int family, int type = 0, int proto = 0, int flags = 0) const;

  /// As it was given, for messages.
  std::string str() const;

  /// Both only if it was given as {host, port}.
  std::string_view host() const noexcept { return kind_ == Kind::host ? text_ : ""; }
  int port() const noexcept { return port_; }

 private:
  friend class Socket;
  enum class Kind : unsigned char { none, host, path, address };

  AddressLike(std::string_view path, Kind kind);

  // resolve without the copy: the given Address, or what was written to storage.
  const Address& meant_on(int family, int type, int proto, int flags, Address& storage) const;

  template <class P>
  static std::string_view view_of(const P& path) {
    if constexpr (requires { std::string_view(path); }) {
      return path;
    } else {
      return path.native();
    }
  }

  const Address* address_ = nullptr;
  std::string_view text_;
  std::uint32_t flowinfo_ = 0;
  std::uint32_t scope_id_ = 0;
  int port_ = 0;
  Kind kind_ = Kind::none;
};

}  // namespace thinsock
#pragma GCC visibility pop

template <>
struct std::hash<thinsock::Address> {
  std::size_t operator()(const thinsock::Address& address) const noexcept {
    return std::hash<std::string_view>()(address.significant());
  }
};
