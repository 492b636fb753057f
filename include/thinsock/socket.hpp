// thinsock/socket.hpp - BSD sockets with the interface of Python's socket module.
//
// A Socket owns one descriptor and closes it. Every descriptor is close-on-exec, no call raises
// SIGPIPE, and no call returns early because of a signal (EINTR). A method is one system call if it
// does not have to wait, and a few if it waits under a timeout.
//
// Failures throw Error (error.hpp). The calls that often fail in a loop have an overload with a
// trailing std::error_code&, which throws only for mistakes of the caller.
//
// Threads: one thread may receive while another sends, and any thread may shutdown() a socket in
// which others are blocked. Everything else on the same Socket needs a lock.
#pragma once

#include <sys/socket.h>

#include <concepts>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "thinsock/address.hpp"
#include "thinsock/buffer.hpp"
#include "thinsock/error.hpp"
#include "thinsock/timeout.hpp"

namespace thinsock {

struct [[nodiscard("a connection that is not kept is closed")]] Accepted;
struct Ancillary;  // <thinsock/message.hpp>
struct Datagram;
struct Keepalive;
struct Message;  // <thinsock/message.hpp>
struct Received;
class SocketStream;  // <thinsock/stream.hpp>

/// The timeout with which every new socket of the process starts: none (std::nullopt) until set.
Timeout getdefaulttimeout() noexcept;
void setdefaulttimeout(Timeout timeout) noexcept;

/// MSG_* flags, which are an int. A number of any other type does not compile, because it is
/// probably a length, as in Python's recv_into(buffer, n), or a timeout. A length that is an int
/// still compiles.
class Flags {
 public:
  constexpr Flags(int flags) noexcept : flags_(flags) {}
  template <std::integral Length>
  Flags(Length) {
    static_assert(never<Length>,
                  "a length is not flags: write {pointer, bytes}, or a whole buffer alone");
  }
  template <class Time>
  requires(std::is_floating_point_v<Time> || Duration<Time>) Flags(Time) {
    static_assert(never<Time>, "a timeout is not flags: call settimeout(5s) before");
  }
  constexpr operator int() const noexcept { return flags_; }

 private:
  int flags_;
};

/// An open socket. After close(), detach() or a move it is closed: fileno() is -1, and every call
/// fails with EBADF.
///
///   thinsock::Socket sk;
///   sk.settimeout(5s);
///   sk.connect({"127.0.0.1", 8888});
///   sk.sendall("Hello!!");
///   std::cout << sk.recv(1024);
class Socket {
 public:
  /// Takes any family, type and protocol that the kernel has, and starts with the default timeout,
  /// or with 0s if type has SOCK_NONBLOCK. socket(2).
  explicit Socket(int family = AF_INET, int type = SOCK_STREAM, int proto = 0);
  /// A closed Socket, for a member that is assigned later.
  explicit Socket(std::nullopt_t) noexcept;

  /// Takes ownership of fd, unless it throws (ENOTSOCK, EBADF). Asks the kernel for the family, the
  /// type and whether fd is non-blocking (then the timeout is 0s, else the default timeout). fd
  /// stays inheritable if it was. Python: socket(fileno=fd).
  [[nodiscard("a Socket that is not kept is closed")]] static Socket adopt(int fd);
  /// The same for a duplicate of fd, which the caller goes on owning.
  [[nodiscard]] static Socket fromfd(int fd);

  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  ~Socket();

  /// For port 0 the kernel chooses a free port, which getsockname tells. bind(2).
  void bind(AddressLike address);
  /// backlog: how many connections may wait for accept; a negative number means 0. listen(2).
  void listen(int backlog = 128);

  /// auto [conn, addr] = sk.accept(); The new socket starts with the default timeout, not with that
  /// of this socket. After a failure such as EMFILE or ECONNABORTED the listener stays usable.
  /// accept4(2).
  Accepted accept();
  Accepted accept(std::error_code& error) noexcept;

  /// Connects within the timeout. After a TimeoutError the kernel may still be connecting: close
  /// the socket, or call connect again with the same address to go on waiting. Of a name only the
  /// first address is tried; create_connection tries all. On a Unix socket the timeout also limits
  /// the wait for a full backlog. connect(2).
  void connect(AddressLike address);
  /// The same, but returns the error: std::errc::operation_in_progress if the timeout is zero,
  /// std::errc::timed_out after the timeout. A host that cannot be resolved still throws.
  [[nodiscard]] std::error_code connect_ex(AddressLike address);

  /// Returns how many bytes were sent, which on a stream may be fewer than were given. send(2).
  std::size_t send(ConstBuffer data, Flags flags = 0);
  std::size_t send(ConstBuffer data, Flags flags, std::error_code& error) noexcept;
  std::size_t send(ConstBuffer data, std::error_code& error) noexcept {
    return send(data, 0, error);
  }

  /// Sends all bytes. The timeout limits the whole call. After a failure Error::transferred(), or
  /// the returned value, tells how many bytes were sent.
  void sendall(ConstBuffer data, Flags flags = 0);
  std::size_t sendall(ConstBuffer data, Flags flags, std::error_code& error) noexcept;
  std::size_t sendall(ConstBuffer data, std::error_code& error) noexcept {
    return sendall(data, 0, error);
  }
  /// Sends all bytes of several buffers, for example {header, body}, by one system call if the
  /// kernel accepts everything at once. At most 1024 buffers, as in sendmsg.
  void sendall(ListOf<ConstBuffer> buffers, Flags flags = 0);

  /// Sends one datagram. The overloads with an error_code also return it if a name cannot be
  /// resolved. sendto(2).
  std::size_t sendto(ConstBuffer data, AddressLike address) { return sendto(data, 0, address); }
  std::size_t sendto(ConstBuffer data, Flags flags, AddressLike address);
  std::size_t sendto(ConstBuffer data, Flags flags, AddressLike address, std::error_code& error);
  std::size_t sendto(ConstBuffer data, AddressLike address, std::error_code& error) {
    return sendto(data, 0, address, error);
  }

  /// Sends the file fd from offset to its end, or count bytes of it, and returns how many bytes
  /// were sent. The bytes are not copied through the process, and the file's position does not
  /// change. The timeout limits the whole call; after a failure Error::transferred() tells how many
  /// bytes were sent. From a pipe it uses splice(2), so what could not be sent stays in the pipe.
  /// What sendfile(2) does not support, for example a socket, it reads and sends; a part that was
  /// read and cannot be sent is lost. Without a timeout the kernel may report EPIPE instead of why
  /// it has given the peer up. Throws std::invalid_argument if the socket is not a stream or its
  /// timeout is zero.
  std::size_t sendfile(int fd, std::uint64_t offset = 0, std::optional<std::uint64_t> count = {});

  /// Sends the buffers as one message, together with ancillary data (<thinsock/message.hpp>).
  /// Returns how many bytes were sent, which on a stream may be fewer than were given. Throws
  /// std::invalid_argument for more than 1024 buffers. sendmsg(2).
  std::size_t sendmsg(ListOf<ConstBuffer> buffers);
  std::size_t sendmsg(ListOf<ConstBuffer> buffers, ListOf<Ancillary> ancdata, Flags flags = 0,
                      AddressLike address = {});

  /// Returns at most bufsize bytes, on a stream also at most 64 KiB (unless MSG_WAITALL is given);
  /// none once the peer has closed. A large bufsize costs nothing if few bytes arrive. recv(0) is
  /// no system call. Bytes that the kernel counts but does not deliver (MSG_TRUNC) are left out, or
  /// zero. MSG_WAITALL may return fewer bytes under a timeout, in a CancelScope, or after a signal:
  /// use recv_exactly. recv(2).
  std::string recv(std::size_t bufsize, Flags flags = 0);
  /// Returns how many bytes were received: 0 once the peer has closed, or if the buffer is empty.
  /// With MSG_TRUNC it returns the full length of the datagram, which may exceed the buffer.
  std::size_t recv_into(MutableBuffer buffer, Flags flags = 0);
  std::size_t recv_into(MutableBuffer buffer, Flags flags, std::error_code& error) noexcept;
  std::size_t recv_into(MutableBuffer buffer, std::error_code& error) noexcept {
    return recv_into(buffer, 0, error);
  }

  /// Returns exactly size bytes; the timeout limits the whole call. If the peer closes first,
  /// throws EOFError. After any failure Error::transferred() tells how many bytes arrived:
  /// recv_exactly loses them, recv_exactly_into leaves them in the buffer. Memory grows with what
  /// arrives, not with size. Throws std::invalid_argument if the socket is not a stream.
  [[nodiscard("bytes that are not kept are lost")]] std::string recv_exactly(std::size_t size);
  void recv_exactly_into(MutableBuffer buffer);

  /// auto [data, addr] = sk.recvfrom(1024); Returns one datagram, cut to bufsize, and its sender.
  /// The address is empty if the kernel names no sender, as on a stream. recvfrom(2).
  Datagram recvfrom(std::size_t bufsize, Flags flags = 0);
  /// auto [n, addr] = sk.recvfrom_into(buffer);
  Received recvfrom_into(MutableBuffer buffer, Flags flags = 0);
  Received recvfrom_into(MutableBuffer buffer, Flags flags, std::error_code& error) noexcept;
  Received recvfrom_into(MutableBuffer buffer, std::error_code& error) noexcept;

  /// The same with at most ancbufsize bytes of ancillary data: the sum of CMSG_SPACE(3) of the
  /// items. <thinsock/message.hpp>.
  Message recvmsg(std::size_t bufsize, std::size_t ancbufsize = 0, Flags flags = 0);
  /// Fills one buffer after the other. Message::size tells how many bytes were received.
  Message recvmsg_into(ListOf<MutableBuffer> buffers, std::size_t ancbufsize = 0, Flags flags = 0);
  /// Returns an empty Message with the error. May still throw std::bad_alloc.
  Message recvmsg_into(ListOf<MutableBuffer> buffers, std::size_t ancbufsize, Flags flags,
                       std::error_code& error);

  /// A buffered std::iostream over a duplicate of the descriptor: the connection stays open until
  /// both are closed. mode is "r", "w" or "rw". <thinsock/stream.hpp>.
  SocketStream makefile(std::string_view mode = "rw", std::size_t buffering = 8192) const;

  /// How long each call may block before it throws TimeoutError. std::nullopt: for ever. 0s: calls
  /// that would block throw std::errc::operation_would_block at once.
  void settimeout(Timeout timeout);
  Timeout gettimeout() const noexcept { return timeout_; }
  /// settimeout(std::nullopt) or settimeout(0s).
  void setblocking(bool blocking);
  /// False only if the timeout is zero.
  bool getblocking() const noexcept;

  /// Throws ENOTCONN if the socket is not connected, or not any more. getpeername(2).
  Address getpeername() const;
  Address getsockname() const;

  /// The descriptor, which the Socket goes on owning; -1 if closed. The Socket may change its
  /// blocking mode (O_NONBLOCK), and sets nothing else that other code could notice.
  int fileno() const noexcept { return fd_; }
  int family() const noexcept { return family_; }
  int type() const noexcept { return type_; }
  /// The protocol that the kernel chose if none was given; 0 if closed.
  int proto() const;

  void setsockopt(int level, int name, int value);
  void setsockopt(int level, int name, ConstBuffer value);
  int getsockopt(int level, int name) const;
  /// Returns the bytes of the option, at most size.
  std::string getsockopt(int level, int name, std::size_t size) const;

  // The most used options. setsockopt sets all others.

  /// TCP: sends small pieces at once instead of collecting them (Nagle's algorithm). Off by
  /// default. tcp(7).
  void set_nodelay(bool on = true);
  bool get_nodelay() const;
  /// TCP: after the peer was silent for `idle`, probes it every `interval`, and gives the
  /// connection up after `count` probes without an answer. Times are rounded up to whole seconds.
  /// tcp(7).
  void set_keepalive(Timeout idle, Timeout interval, int count);
  void set_keepalive(bool on = true);
  /// std::nullopt if off.
  std::optional<Keepalive> get_keepalive() const;
  /// How long close() waits until the peer has acknowledged what was sent, in whole seconds. 0s:
  /// close() drops what is not acknowledged and resets the connection. std::nullopt, the default:
  /// close() does not wait, and the kernel goes on sending. socket(7).
  void set_linger(Timeout time);
  Timeout get_linger() const;
  /// In bytes. The kernel doubles the value that is set, and get returns the doubled one.
  void set_sendbuf(int bytes);
  int get_sendbuf() const;
  void set_recvbuf(int bytes);
  int get_recvbuf() const;
  /// UDP: allows sending to broadcast addresses.
  void set_broadcast(bool on = true);
  bool get_broadcast() const;

  /// UDP: receives what is sent to a multicast group, on the interface with this index (0: the
  /// kernel chooses one) or, for IPv4, with this address. ip(7), ipv6(7).
  void join_multicast(std::string_view group, unsigned interface = 0);
  void join_multicast(std::string_view group, std::string_view local_address);
  void leave_multicast(std::string_view group, unsigned interface = 0);
  void leave_multicast(std::string_view group, std::string_view local_address);
  /// The interface through which multicast packets are sent. 0, the default: the routes decide.
  void set_multicast_interface(unsigned interface);
  void set_multicast_interface(std::string_view local_address);
  /// How many routers a multicast packet may pass, 0 to 255; 1 by default.
  void set_multicast_ttl(int ttl);
  int get_multicast_ttl() const;
  /// Whether this host receives its own multicast packets; true by default.
  void set_multicast_loop(bool on);
  bool get_multicast_loop() const;

  /// Whether a program started by exec inherits the descriptor; false by default.
  bool get_inheritable() const;
  void set_inheritable(bool inheritable);

  /// how: SHUT_RD, SHUT_WR or SHUT_RDWR. Also wakes threads that are blocked in recv, which returns
  /// no bytes, or in accept (EINVAL). Throws ENOTCONN if the peer is gone. shutdown(2).
  void shutdown(int how);
  /// Does nothing if it is closed. Closes the descriptor even if it throws. Does not wake threads
  /// that are blocked in a call; shutdown() or a CancelScope does. close(2).
  void close();
  /// Gives the descriptor to the caller, who has to close it; -1 if closed.
  [[nodiscard]] int detach() noexcept;
  /// Another descriptor for the same socket, with the same timeout. dup(2).
  [[nodiscard]] Socket dup() const;

  /// Python's repr: descriptor, family, type, protocol and addresses, or [closed].
  std::string str() const;

 private:
  friend std::pair<Socket, Socket> socketpair(int family, int type, int proto);

  Socket(int fd, int family, int type, Timeout timeout) noexcept;

  Timeout timeout_;
  int fd_;
  unsigned char family_;
  unsigned char type_;
};

std::ostream& operator<<(std::ostream& out, const Socket& sk);

struct Accepted {
  Socket socket;
  Address address;
};

struct Datagram {
  std::string data;
  Address address;
};

struct Received {
  std::size_t size;
  Address address;
};

inline Received Socket::recvfrom_into(MutableBuffer buffer, std::error_code& error) noexcept {
  return recvfrom_into(buffer, 0, error);
}

struct Keepalive {
  Timeout idle;
  Timeout interval;
  int count;
};

/// Connects a stream socket to the first address of a host that answers, or to a path. The timeout
/// limits the whole call, including the lookup, which it cannot interrupt; each address may use an
/// equal share of what is left. The Socket keeps the timeout. If all addresses fail, throws the
/// last Error, whose what() lists every address with its reason. The Errors of the addresses are
/// nested in it (std::rethrow_if_nested), the last address first.
///
/// With a happy_eyeballs_delay (RFC 8305 recommends 250ms) several addresses are tried at the same
/// time, IPv6 and IPv4 in turn: the next one starts after each delay, or as soon as one has failed.
/// The first that connects is returned, and each may use the whole timeout.
[[nodiscard("a Socket that is not kept is closed")]] Socket create_connection(
    AddressLike address, Timeout timeout = getdefaulttimeout(), AddressLike source = {},
    Timeout happy_eyeballs_delay = std::nullopt);

/// Does not compile, because host and port are one argument: {host, port}.
template <std::convertible_to<std::string_view> Host, std::integral Port>
auto create_connection(const Host&, Port, const auto&...) {
  static_assert(never<Port>, "an address is one argument: write create_connection({host, port})");
}

struct ServerSocketOptions {
  int family = AF_INET;  ///< Of a host name; other addresses have their own.
  int backlog = 128;
  bool reuse_port = false;      ///< SO_REUSEPORT: several listeners share the port.
  bool dualstack_ipv6 = false;  ///< AF_INET6 only: IPv4 clients too, as ::ffff:a.b.c.d.
};

/// Returns a listening stream socket. Binds even while old connections are in TIME_WAIT
/// (SO_REUSEADDR). Throws std::invalid_argument if dualstack_ipv6 is set for another family.
[[nodiscard("a Socket that is not kept is closed")]] Socket create_server(
    AddressLike address, ServerSocketOptions options = {});

/// Whether one IPv6 socket can serve IPv4 as well.
bool has_dualstack_ipv6() noexcept;

/// Two sockets connected to each other. socketpair(2).
std::pair<Socket, Socket> socketpair(int family = AF_UNIX, int type = SOCK_STREAM, int proto = 0);

}  // namespace thinsock
