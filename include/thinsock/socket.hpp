// thinsock/socket.hpp - BSD sockets with the interface of Python's socket module.
//
// A Socket owns one descriptor and closes it. Every descriptor is close-on-exec, no call raises
// SIGPIPE, and no call returns early because of a signal (EINTR). A method is one system call where
// the kernel allows it; where it has to wait for the timeout it may be a few.
//
// Failures throw Error (error.hpp). The calls whose failure is routine in a loop have a twin with a
// trailing std::error_code&, which throws only for the caller's own mistakes.
//
// Threads: one may receive while another sends, and any may shutdown() a socket that others are
// blocked in. All else on one Socket is for the caller to serialise.
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

/// The timeout new sockets start with, in the whole process: for ever, until it is set.
Timeout getdefaulttimeout() noexcept;
void setdefaulttimeout(Timeout timeout) noexcept;

/// MSG_* flags: an int. Any other number in their place is a length, as in Python's
/// recv_into(buffer, n), and does not compile. A length that is an int cannot be told from flags.
class Flags {
 public:
  constexpr Flags(int flags) noexcept : flags_(flags) {}
  template <std::integral Length>
  Flags(Length) {
    static_assert(never<Length>,
                  "a length is not flags: write {pointer, bytes}, or a whole buffer alone");
  }
  constexpr operator int() const noexcept { return flags_; }

 private:
  int flags_;
};

/// An open socket. After close(), detach() or a move it owns none: fileno() is -1, and every call
/// fails with EBADF.
///
///   thinsock::Socket sk;
///   sk.settimeout(5s);
///   sk.connect({"127.0.0.1", 8888});
///   sk.sendall("Hello!!");
///   std::cout << sk.recv(1024);
class Socket {
 public:
  /// Any family, type and protocol the kernel has; SOCK_NONBLOCK in type is settimeout(0s).
  /// Starts with the default timeout. socket(2).
  explicit Socket(int family = AF_INET, int type = SOCK_STREAM, int proto = 0);
  /// Owns no socket, as after close(): for a member that is assigned to later.
  explicit Socket(std::nullopt_t) noexcept;

  /// Takes over a descriptor, which stays the caller's if this throws (ENOTSOCK, EBADF), and stays
  /// inheritable if it was. Family, type and a non-blocking mode are read from the kernel, where
  /// Python guesses them; a blocking descriptor gets the default timeout. Python:
  /// socket(fileno=fd).
  [[nodiscard("a Socket that is not kept is closed")]] static Socket adopt(int fd);
  /// The same for a duplicate; fd stays the caller's.
  [[nodiscard]] static Socket fromfd(int fd);

  Socket(Socket&& other) noexcept;
  Socket& operator=(Socket&& other) noexcept;
  ~Socket();

  /// bind(2). Port 0 takes a free one: see getsockname.
  void bind(AddressLike address);
  /// backlog: connections the kernel completes before accept takes them; negative counts as 0.
  void listen(int backlog = 128);

  /// auto [conn, addr] = sk.accept(); The new socket has the default timeout, not this one's.
  /// Fails with EMFILE, ENFILE and ECONNABORTED as accept4(2) does; the listener stays usable.
  Accepted accept();
  Accepted accept(std::error_code& error) noexcept;

  /// Connects within the timeout. After a TimeoutError the attempt may still be under way: connect
  /// again, only to the same address, to go on waiting for it, or close the socket. A name means
  /// the first of its addresses: create_connection tries them all.
  /// On a Unix socket the timeout also covers a full backlog. connect(2).
  void connect(AddressLike address);
  /// As connect, but the kernel's refusal is returned: std::errc::operation_in_progress if
  /// non-blocking, timed_out after the timeout. A host that does not resolve still throws.
  [[nodiscard]] std::error_code connect_ex(AddressLike address);

  /// Sends once and returns how many bytes the kernel took: on a stream perhaps not all. send(2).
  std::size_t send(ConstBuffer data, Flags flags = 0);
  std::size_t send(ConstBuffer data, Flags flags, std::error_code& error) noexcept;
  std::size_t send(ConstBuffer data, std::error_code& error) noexcept {
    return send(data, 0, error);
  }

  /// Sends all of it; the timeout is one deadline for the whole call. On failure
  /// Error::transferred(), or the value returned beside the error, tells how much has gone.
  void sendall(ConstBuffer data, Flags flags = 0);
  std::size_t sendall(ConstBuffer data, Flags flags, std::error_code& error) noexcept;
  std::size_t sendall(ConstBuffer data, std::error_code& error) noexcept {
    return sendall(data, 0, error);
  }
  /// Sends all of several buffers, such as {header, body}: by one system call, if the kernel takes
  /// all of it at once. At most 1024 buffers, as in sendmsg.
  void sendall(ListOf<ConstBuffer> buffers, Flags flags = 0);

  /// Sends one datagram. A name that does not resolve is an error like any other. sendto(2).
  std::size_t sendto(ConstBuffer data, AddressLike address) { return sendto(data, 0, address); }
  std::size_t sendto(ConstBuffer data, Flags flags, AddressLike address);
  std::size_t sendto(ConstBuffer data, Flags flags, AddressLike address, std::error_code& error);
  std::size_t sendto(ConstBuffer data, AddressLike address, std::error_code& error) {
    return sendto(data, 0, address, error);
  }

  /// Sends the file behind fd from offset on, to its end or for count bytes, without copying it
  /// through the process, and returns how many bytes went. The timeout is one deadline for the
  /// whole call, transferred() tells how far a failed one came, and the file's own position stays.
  /// What comes out of a pipe is sent by splice(2), and what could not be sent stays in the pipe.
  /// Anything else that sendfile(2) refuses is read and sent.
  /// Streams only, and not non-blocking: std::invalid_argument.
  std::size_t sendfile(int fd, std::uint64_t offset = 0, std::optional<std::uint64_t> count = {});

  /// Sends the buffers as one, with ancillary data beside them: one system call, which may send
  /// less on a stream. <thinsock/message.hpp>; more than 1024 buffers are std::invalid_argument.
  std::size_t sendmsg(ListOf<ConstBuffer> buffers);
  std::size_t sendmsg(ListOf<ConstBuffer> buffers, ListOf<Ancillary> ancdata, Flags flags = 0,
                      AddressLike address = {});

  /// At most bufsize bytes, on a stream also at most 64 KiB (unless MSG_WAITALL); empty once the
  /// peer has closed. A large bufsize costs nothing where little arrives. recv(0) is empty without
  /// a system call. Bytes that MSG_TRUNC counts but the kernel does not deliver are left out, or
  /// zero. Under a timeout, in a CancelScope or after a signal MSG_WAITALL may give less: see
  /// recv_exactly. recv(2).
  std::string recv(std::size_t bufsize, Flags flags = 0);
  /// The number of bytes received, 0 once the peer has closed or if there is no room; with
  /// MSG_TRUNC the datagram's true length, which may exceed the buffer.
  std::size_t recv_into(MutableBuffer buffer, Flags flags = 0);
  std::size_t recv_into(MutableBuffer buffer, Flags flags, std::error_code& error) noexcept;
  std::size_t recv_into(MutableBuffer buffer, std::error_code& error) noexcept {
    return recv_into(buffer, 0, error);
  }

  /// All of size bytes within one timeout, or an Error whose transferred() tells how many came:
  /// EOFError if the peer closed first. Those are gone with recv_exactly, and in the buffer with
  /// recv_exactly_into. Memory grows with what arrives, not with size. Streams only:
  /// std::invalid_argument.
  [[nodiscard("bytes that are not kept are lost")]] std::string recv_exactly(std::size_t size);
  void recv_exactly_into(MutableBuffer buffer);

  /// auto [data, addr] = sk.recvfrom(1024); One datagram, cut to bufsize, and its sender; the
  /// address is empty where the kernel names none, as on a connected stream. recvfrom(2).
  Datagram recvfrom(std::size_t bufsize, Flags flags = 0);
  /// auto [n, addr] = sk.recvfrom_into(buffer);
  Received recvfrom_into(MutableBuffer buffer, Flags flags = 0);
  Received recvfrom_into(MutableBuffer buffer, Flags flags, std::error_code& error) noexcept;
  Received recvfrom_into(MutableBuffer buffer, std::error_code& error) noexcept;

  /// As recvfrom, with at most ancbufsize bytes of ancillary data (CMSG_SPACE(3) of each item).
  /// <thinsock/message.hpp>.
  Message recvmsg(std::size_t bufsize, std::size_t ancbufsize = 0, Flags flags = 0);
  /// Fills one buffer after the other; Message::size tells how much came.
  Message recvmsg_into(ListOf<MutableBuffer> buffers, std::size_t ancbufsize = 0, Flags flags = 0);
  /// The kernel's refusal comes beside an empty Message; memory may still run out.
  Message recvmsg_into(ListOf<MutableBuffer> buffers, std::size_t ancbufsize, Flags flags,
                       std::error_code& error);

  /// A buffered std::iostream over a duplicate of the descriptor: the connection stays open until
  /// both are closed. mode is "r", "w" or "rw". <thinsock/stream.hpp>.
  SocketStream makefile(std::string_view mode = "rw", std::size_t buffering = 8192) const;

  /// Zero: calls fail at once with std::errc::operation_would_block. std::nullopt: they wait for
  /// ever. Else each call has that long as a whole, then throws TimeoutError.
  void settimeout(Timeout timeout);
  Timeout gettimeout() const noexcept { return timeout_; }
  /// settimeout(std::nullopt) or settimeout(0s).
  void setblocking(bool blocking);
  /// False only if the timeout is zero.
  bool getblocking() const noexcept;

  /// ENOTCONN if there is no peer, or no more. getpeername(2).
  Address getpeername() const;
  Address getsockname() const;

  /// Stays owned by the Socket; -1 if closed. The Socket may change its blocking mode (O_NONBLOCK)
  /// and leaves no other trace on it.
  int fileno() const noexcept { return fd_; }
  int family() const noexcept { return family_; }
  int type() const noexcept { return type_; }
  /// The kernel's choice where none was given; 0 if closed.
  int proto() const;

  void setsockopt(int level, int name, int value);
  void setsockopt(int level, int name, ConstBuffer value);
  int getsockopt(int level, int name) const;
  /// The option's bytes, at most size of them.
  std::string getsockopt(int level, int name, std::size_t size) const;

  // The options most asked for, with their units; setsockopt covers the rest.

  /// TCP: send small pieces at once instead of gathering them (Nagle). Off at first. tcp(7).
  void set_nodelay(bool on = true);
  bool get_nodelay() const;
  /// TCP: after idle, ask a silent peer every interval, and give it up after count unanswered
  /// times. Whole seconds, rounded up.
  void set_keepalive(Timeout idle, Timeout interval, int count);
  void set_keepalive(bool on = true);
  /// None if off.
  std::optional<Keepalive> get_keepalive() const;
  /// How long close() waits for what was sent to be acknowledged: not at all by default
  /// (std::nullopt), whole seconds, or 0s to drop it and reset the connection. socket(7).
  void set_linger(Timeout time);
  Timeout get_linger() const;
  /// In bytes; the kernel doubles what is set, and get tells so.
  void set_sendbuf(int bytes);
  int get_sendbuf() const;
  void set_recvbuf(int bytes);
  int get_recvbuf() const;
  /// UDP: allow sending to broadcast addresses.
  void set_broadcast(bool on = true);
  bool get_broadcast() const;

  /// UDP: receive what is sent to a multicast group, on one interface, by its index (0: the
  /// kernel's choice) or, for IPv4, by its own address. ip(7), ipv6(7).
  void join_multicast(std::string_view group, unsigned interface = 0);
  void join_multicast(std::string_view group, std::string_view local_address);
  void leave_multicast(std::string_view group, unsigned interface = 0);
  void leave_multicast(std::string_view group, std::string_view local_address);
  /// The interface that multicast packets leave by, in the same two forms; 0, as at first, leaves
  /// it to the routes.
  void set_multicast_interface(unsigned interface);
  void set_multicast_interface(std::string_view local_address);
  /// How many routers a multicast packet may pass: 0-255, 1 at first.
  void set_multicast_ttl(int ttl);
  int get_multicast_ttl() const;
  /// Whether this host gets its own multicast packets: true at first.
  void set_multicast_loop(bool on);
  bool get_multicast_loop() const;

  /// Whether the descriptor survives an exec: false until set.
  bool get_inheritable() const;
  void set_inheritable(bool inheritable);

  /// SHUT_RD, SHUT_WR or SHUT_RDWR. Wakes threads blocked in recv (end of file) or accept (EINVAL),
  /// which close() does not. shutdown(2).
  void shutdown(int how);
  /// Does nothing if closed already. The descriptor is gone even if this throws. Does not wake
  /// threads that are blocked in a call: shutdown() or a CancelScope does.
  void close();
  /// The descriptor is the caller's from here on; -1 if closed already.
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

/// Connects a stream to the first address of a host that answers, or to a path. The timeout is one
/// budget for all addresses, each getting an even share of what is left; the lookup counts, though
/// nothing can cut it short. The Socket keeps the timeout. If all fail, the Error is the last one's
/// and what() lists every address with its reason. Nested in it (std::rethrow_if_nested) is the
/// Error of the last of several addresses, in that the one before, and so on.
///
/// With a happy_eyeballs_delay (250ms is what RFC 8305 recommends) it does not wait for one address
/// to fail: every delay, or as soon as one has failed, the next is tried beside the others, IPv6
/// and IPv4 by turns; the first to be connected wins, and each may use the whole of the budget.
[[nodiscard("a Socket that is not kept is closed")]] Socket create_connection(
    AddressLike address, Timeout timeout = getdefaulttimeout(), AddressLike source = {},
    Timeout happy_eyeballs_delay = std::nullopt);

/// Does not compile, because host and port are one argument.
template <std::integral Port>
auto create_connection(std::string_view, Port, const auto&...) {
  static_assert(never<Port>, "an address is one argument: write create_connection({host, port})");
}

struct ServerSocketOptions {
  int family = AF_INET;  ///< For a name or IPv4 address; all else has its own.
  int backlog = 128;
  bool reuse_port = false;      ///< SO_REUSEPORT: several listeners share the port.
  bool dualstack_ipv6 = false;  ///< AF_INET6 only: IPv4 clients too, as ::ffff:a.b.c.d.
};

/// A listening stream socket. An address in TIME_WAIT is no obstacle (SO_REUSEADDR), and IPv6
/// stays by itself unless dualstack_ipv6, which is std::invalid_argument for another family.
[[nodiscard("a Socket that is not kept is closed")]] Socket create_server(
    AddressLike address, ServerSocketOptions options = {});

/// Whether one IPv6 socket can serve IPv4 as well.
bool has_dualstack_ipv6() noexcept;

/// Two sockets connected to each other. socketpair(2).
std::pair<Socket, Socket> socketpair(int family = AF_UNIX, int type = SOCK_STREAM, int proto = 0);

}  // namespace thinsock
