// thinsock/address.hpp - socket addresses, and the forms in which callers may write one.
#pragma once

#include <sys/socket.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <type_traits>

#include "thinsock/version.hpp"

namespace thinsock {

/// One socket address of any family: IPv4, IPv6, a Unix path or abstract name, or the raw bytes of
/// another family. It is a value that can be copied, compared, hashed and printed.
class Address {
 public:
  /// An empty address, size() == 0: recvfrom returns it where the kernel names no sender.
  Address() noexcept {}

  /// A numeric IPv4 or IPv6 host ("127.0.0.1", "fe80::1%eth0"); "" is 0.0.0.0. Names are not looked
  /// up here but by getaddrinfo. Throws ResolveError if the host is not numeric, and for bad
  /// arguments what AddressLike throws.
  Address(std::string_view host, int port, std::uint32_t flowinfo = 0, std::uint32_t scope_id = 0);

  /// A Unix path of at most 107 bytes, or an abstract name: a NUL and at most 107 more bytes. When
  /// a socket is bound to an empty path, the kernel chooses an abstract name. Throws
  /// std::invalid_argument if the path is longer or contains another NUL.
  explicit Address(std::string_view path);

  /// A copy of an address that a system call wrote. Throws std::invalid_argument if size exceeds
  /// capacity().
  Address(const sockaddr* data, socklen_t size);

  /// AF_INET, AF_INET6, AF_UNIX, …; AF_UNSPEC if the address is empty.
  int family() const noexcept {
    sa_family_t family = AF_UNSPEC;
    // The builtin, because including <cstring> makes a small client compile 1 % longer.
    if (size_ >= sizeof family) __builtin_memcpy(&family, bytes_, sizeof family);
    return family;
  }

  /// The numeric host without its scope ("%eth0"); empty if the family has no hosts.
  std::string host() const;
  /// In host byte order; 0 if the family has no ports.
  int port() const noexcept;
  /// IPv6 only, in host byte order; 0 for other families.
  std::uint32_t flowinfo() const noexcept;
  /// IPv6 only: the index of the interface a link-local address belongs to; 0 for other families.
  std::uint32_t scope_id() const noexcept;
  /// The Unix path, or an abstract name with its leading NUL; empty if the address is unnamed or of
  /// another family. The view points into this Address.
  std::string_view path() const noexcept;

  /// "127.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80", "/run/x.sock", "@name" (abstract); empty if
  /// unnamed; for other families the family's number and the size in bytes.
  std::string str() const;

  /// For system calls: let the call write at most capacity() bytes to data(), then pass the size it
  /// reported to resize(), which limits it to capacity().
  sockaddr* data() noexcept { return reinterpret_cast<sockaddr*>(bytes_); }
  const sockaddr* data() const noexcept { return reinterpret_cast<const sockaddr*>(bytes_); }
  socklen_t size() const noexcept { return size_; }
  void resize(socklen_t size) noexcept { size_ = size < capacity() ? size : capacity(); }
  static constexpr socklen_t capacity() noexcept { return sizeof(sockaddr_storage); }

  /// Ignores bytes without meaning: padding, and the NUL that ends a path.
  friend bool operator==(const Address& a, const Address& b) noexcept {
    return a.family() == b.family() && a.compared_bytes() == b.compared_bytes();
  }
  /// A total order for maps and sorting: by family, then by bytes.
  friend std::strong_ordering operator<=>(const Address& a, const Address& b) noexcept {
    const auto by_family = a.family() <=> b.family();
    return by_family != 0 ? by_family : a.compared_bytes() <=> b.compared_bytes();
  }

 private:
  friend struct std::hash<Address>;

  std::string_view compared_bytes() const noexcept;

  // Not a sockaddr_storage, because only unsigned char may be copied while uninitialised.
  alignas(sockaddr_storage) unsigned char bytes_[sizeof(sockaddr_storage)];
  socklen_t size_ = 0;
};

/// Writes str().
std::ostream& operator<<(std::ostream& out, const Address& address);

/// A std::string, std::string_view, std::filesystem::path, or anything else that gives a view of
/// its characters.
template <class P>
concept PathLike = requires(const P& path) {
  std::string_view(path);
}
|| requires(const P& path) { std::string_view(path.native()); };

/// The type of address parameters, which take every form that Python takes: {host, port}, {host,
/// port, flowinfo, scope_id}, a path, or an Address. It owns nothing and points to the caller's
/// strings, so do not store it.
///
/// A host is numeric, a name (in ASCII, because nothing encodes it), "" for the wildcard, or
/// "<broadcast>" for 255.255.255.255. The constructors throw std::out_of_range for a port outside
/// 0-65535 or a flowinfo above 0xfffff, and std::invalid_argument for a NUL in a host or path, and
/// for a path that is null or too long for Address.
class AddressLike {
 public:
  /// No address: for parameters that may be left out, such as create_connection's source.
  AddressLike() noexcept {}

  AddressLike(std::string_view host, int port, std::uint32_t flowinfo = 0,
              std::uint32_t scope_id = 0);

  AddressLike(const Address& address) noexcept : address_(&address), kind_(Kind::address) {}

  /// A string literal, of which only the terminating NUL is left out: an abstract name can be
  /// written "\0name".
  template <std::size_t N>
  AddressLike(const char (&path)[N])
      : AddressLike(std::string_view(path, path[N - 1] == '\0' ? N - 1 : N), Kind::path) {}
  /// A char array, which holds a path up to its first NUL.
  template <std::size_t N>
  AddressLike(char (&path)[N])
      : AddressLike(std::string_view(path, N).substr(0, std::string_view(path, N).find('\0')),
                    Kind::path) {}
  AddressLike(std::nullptr_t) = delete;
  AddressLike(std::nullptr_t, int, std::uint32_t = 0, std::uint32_t = 0) = delete;

  template <PathLike P>
  AddressLike(const P& path) : AddressLike(view_of(path), Kind::path) {}

  /// Whether the caller left the address out.
  bool empty() const noexcept { return kind_ == Kind::none; }
  /// AF_UNIX for a path, an Address's own family, and AF_UNSPEC for a host, whose family only
  /// resolve() can tell.
  int family() const noexcept;

  /// The Address for a socket of this family (AF_UNSPEC: of any). An Address is returned as it is
  /// and a numeric host is parsed by inet_pton(3). A name becomes the first address that
  /// getaddrinfo(3) finds for the type, protocol and AI_* flags; that may block without limit.
  /// Throws ResolveError if a name has no address, and std::invalid_argument if the address is
  /// empty or of another family.
  Address resolve(int family, int type = 0, int proto = 0, int flags = 0) const;

  /// The address as the caller wrote it, for messages.
  std::string str() const;

  /// Empty and 0 unless the address was given as {host, port, …}.
  std::string_view host() const noexcept { return kind_ == Kind::host ? text_ : ""; }
  int port() const noexcept { return port_; }
  std::uint32_t flowinfo() const noexcept { return flowinfo_; }
  std::uint32_t scope_id() const noexcept { return scope_id_; }

 private:
  friend class Socket;
  enum class Kind : unsigned char { none, host, path, address };

  AddressLike(std::string_view path, Kind kind);

  // resolve() without a copy: returns the caller's Address, or storage once it holds the result.
  const Address& resolve_into(int family, int type, int proto, int flags, Address& storage) const;

  static std::string_view view_of(const char* path);  // Refuses nullptr.
  template <class P>
  requires(!std::is_pointer_v<P>) static std::string_view view_of(const P& path) {
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

template <>
struct std::hash<thinsock::Address> {
  std::size_t operator()(const thinsock::Address& address) const noexcept {
    return std::hash<std::string_view>()(address.compared_bytes());
  }
};
