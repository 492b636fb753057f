#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <functional>
#include <stdexcept>
#include <type_traits>

#include "support.hpp"

using namespace test;
using std::errc;
using thinsock::Address;
using thinsock::Error;
using thinsock::Timeout;
using thinsock::TimeoutError;

static_assert(!std::is_copy_constructible_v<Socket> && !std::is_copy_assignable_v<Socket>);
static_assert(std::is_nothrow_move_constructible_v<Socket>);
static_assert(std::is_nothrow_move_assignable_v<Socket>);
static_assert(sizeof(Socket) <= 16, "a Socket is a descriptor and a timeout");

namespace {

bool close_on_exec(const Socket& sk) { return ::fcntl(sk.fileno(), F_GETFD) & FD_CLOEXEC; }
}  // namespace

TEST_CASE("a Socket is of the family and type it was constructed with", "[socket][construct]") {
  const auto [family, type] = GENERATE(table<int, int>({{AF_INET, SOCK_STREAM},
                                                        {AF_INET, SOCK_DGRAM},
                                                        {AF_INET6, SOCK_STREAM},
                                                        {AF_INET6, SOCK_DGRAM},
                                                        {AF_UNIX, SOCK_STREAM},
                                                        {AF_UNIX, SOCK_DGRAM},
                                                        {AF_UNIX, SOCK_SEQPACKET}}));
  const Socket sk(family, type);
  REQUIRE(sk.family() == family);
  REQUIRE(sk.type() == type);
  REQUIRE(sk.getsockopt(SOL_SOCKET, SO_DOMAIN) == family);
  REQUIRE(sk.getsockopt(SOL_SOCKET, SO_TYPE) == type);
}

TEST_CASE("a raw Socket needs the privilege the kernel asks for", "[socket][construct]") {
  const int fd = ::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
  if (fd == -1) {
    REQUIRE_THROWS_MATCHES(Socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), Error,
                           Code(errc::operation_not_permitted));
  } else {
    ::close(fd);
    REQUIRE(Socket(AF_INET, SOCK_RAW, IPPROTO_ICMP).proto() == IPPROTO_ICMP);
  }
}

TEST_CASE("a raw socket pings a name", "[socket][sendto]") {
  std::optional<Socket> sk;
  if (code_of([&] { sk = patient(Socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)); })) {
    WARN("skipped: only root may open a raw socket");
    return;
  }
  // Type, code, checksum, identifier and sequence number; the answer is of another type.
  const std::string request("\x08\0\x83\x8cts\0\0", 8), answer("\0\0\x8b\x8cts\0\0", 8);
  REQUIRE(sk->sendto(request, {"localhost", 1}) == request.size());
  // The request comes back as well, each behind an IP header of 20 bytes.
  std::string received;
  while (received != answer) received = sk->recv(1024).substr(20);
}

TEST_CASE("SOCK_NONBLOCK in the type is a timeout of zero", "[socket][construct]") {
  const DefaultTimeout three_seconds(3s);
  const Socket sk(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
  REQUIRE(sk.gettimeout() == 0s);
  REQUIRE(nonblocking(sk));
}

TEST_CASE("type() leaves out SOCK_NONBLOCK and SOCK_CLOEXEC", "[socket][construct]") {
  REQUIRE(Socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC).type() == SOCK_DGRAM);
}

TEST_CASE("a descriptor the library makes is close-on-exec", "[socket][construct]") {
  Socket lst = listener();
  REQUIRE(close_on_exec(lst));
  REQUIRE(close_on_exec(lst.dup()));
  REQUIRE(close_on_exec(Socket::fromfd(lst.fileno())));
  Socket client;
  client.connect(lst.getsockname());
  REQUIRE(close_on_exec(lst.accept().socket));
}

TEST_CASE("a construction that fails leaks nothing", "[socket][construct]") {
  const std::size_t before = open_descriptors();
  for (int i = 0; i < 1000; ++i) {
    REQUIRE_THROWS_MATCHES(Socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), Error,
                           Code(errc::protocol_not_supported));
  }
  REQUIRE(open_descriptors() == before);
}

TEST_CASE("a new Socket has the default timeout", "[socket][construct]") {
  REQUIRE(Socket().gettimeout() == std::nullopt);
  const Timeout timeout = GENERATE(Timeout(3s), Timeout(0s));
  const DefaultTimeout changed(timeout);
  const Socket sk;
  REQUIRE(sk.gettimeout() == timeout);
  REQUIRE(nonblocking(sk) == (timeout == 0s));
}

TEST_CASE("a descriptor that cannot be adopted stays the caller's", "[socket][adopt]") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const std::size_t before = open_descriptors();
  REQUIRE_THROWS_MATCHES(Socket::adopt(ends[0]), Error, Code(errc::not_a_socket));
  REQUIRE_THROWS_MATCHES(Socket::fromfd(ends[0]), Error, Code(errc::not_a_socket));
  REQUIRE(is_open(ends[0]));
  REQUIRE(open_descriptors() == before);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("a bad descriptor cannot be adopted", "[socket][adopt]") {
  REQUIRE_THROWS_MATCHES(Socket::adopt(-1), Error, Code(errc::bad_file_descriptor));
  REQUIRE_THROWS_MATCHES(Socket::fromfd(-1), Error, Code(errc::bad_file_descriptor));
}

TEST_CASE("adopt reads family, type and blocking mode from the kernel", "[socket][adopt]") {
  const DefaultTimeout three_seconds(3s);
  const bool blocking = GENERATE(true, false);
  const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET | (blocking ? 0 : SOCK_NONBLOCK), 0);
  const Socket sk = Socket::adopt(fd);
  REQUIRE(sk.fileno() == fd);
  REQUIRE(sk.family() == AF_UNIX);
  REQUIRE(sk.type() == SOCK_SEQPACKET);
  REQUIRE(sk.gettimeout() == (blocking ? Timeout(3s) : Timeout(0s)));
}

TEST_CASE("a socket whose family has no getsockname can be adopted", "[socket][adopt]") {
  const auto [family, type, protocol] = GENERATE(table<int, int, int>({{AF_ALG, SOCK_SEQPACKET, 0},
                                                                       {AF_XDP, SOCK_RAW, 0},
                                                                       {AF_CAN, SOCK_DGRAM, 2},
                                                                       {AF_KEY, SOCK_RAW, 2}}));
  const int fd = ::socket(family, type | SOCK_CLOEXEC, protocol);
  if (fd == -1) return;  // Not every kernel has them, and not every user may open them.
  const Socket sk = Socket::adopt(fd);
  REQUIRE(sk.family() == family);
  REQUIRE(sk.type() == type);
}

TEST_CASE("fromfd leaves the original open", "[socket][adopt]") {
  Pair pair = unix_pair();
  {
    Socket copy = Socket::fromfd(pair.client.fileno());
    REQUIRE(copy.fileno() != pair.client.fileno());
    copy.sendall("copy");
  }
  pair.client.sendall("original");
  REQUIRE(pair.server.recv_exactly(12) == "copyoriginal");
}

TEST_CASE("a move carries descriptor, family, type and timeout along", "[socket][move]") {
  Socket from = patient(Socket(AF_UNIX, SOCK_DGRAM));
  const int fd = from.fileno();
  Socket to = std::move(from);
  REQUIRE(from.fileno() == -1);
  REQUIRE(to.fileno() == fd);
  REQUIRE(to.family() == AF_UNIX);
  REQUIRE(to.type() == SOCK_DGRAM);
  REQUIRE(to.gettimeout() == kPatience);
}

TEST_CASE("a move assignment closes the old descriptor", "[socket][move]") {
  Socket from = patient(Socket(AF_UNIX)), to;
  const int old = to.fileno(), fd = from.fileno();
  to = std::move(from);
  REQUIRE_FALSE(is_open(old));
  REQUIRE(to.fileno() == fd);
  REQUIRE(to.family() == AF_UNIX);
  REQUIRE(to.gettimeout() == kPatience);
}

TEST_CASE("a Socket moved onto itself stays open", "[socket][move]") {
  Socket sk;
  Socket& same = sk;
  const int fd = sk.fileno();
  sk = std::move(same);
  REQUIRE(sk.fileno() == fd);
  REQUIRE(is_open(fd));
}

TEST_CASE("a Socket without a descriptor fails every call with EBADF", "[socket][close]") {
  const std::vector<std::pair<const char*, std::function<void(Socket&)>>> calls = {
      {"bind", [](Socket& sk) { sk.bind(Address("127.0.0.1", 0)); }},
      {"listen", [](Socket& sk) { sk.listen(); }},
      {"accept", [](Socket& sk) { (void)sk.accept(); }},
      {"connect", [](Socket& sk) { sk.connect(Address("127.0.0.1", 9)); }},
      {"send", [](Socket& sk) { sk.send("x"); }},
      {"sendall", [](Socket& sk) { sk.sendall("x"); }},
      {"sendto", [](Socket& sk) { sk.sendto("x", Address("127.0.0.1", 9)); }},
      {"recv", [](Socket& sk) { sk.recv(1); }},
      {"recv_exactly", [](Socket& sk) { (void)sk.recv_exactly(1); }},
      {"recvfrom", [](Socket& sk) { sk.recvfrom(1); }},
      {"settimeout", [](Socket& sk) { sk.settimeout(1s); }},
      {"setblocking", [](Socket& sk) { sk.setblocking(true); }},
      {"getpeername", [](Socket& sk) { sk.getpeername(); }},
      {"getsockname", [](Socket& sk) { sk.getsockname(); }},
      {"setsockopt", [](Socket& sk) { sk.setsockopt(SOL_SOCKET, SO_KEEPALIVE, 1); }},
      {"getsockopt", [](Socket& sk) { sk.getsockopt(SOL_SOCKET, SO_TYPE); }},
      {"getsockopt of bytes", [](Socket& sk) { sk.getsockopt(SOL_SOCKET, SO_TYPE, 4); }},
      {"get_inheritable", [](Socket& sk) { sk.get_inheritable(); }},
      {"set_inheritable", [](Socket& sk) { sk.set_inheritable(true); }},
      {"shutdown", [](Socket& sk) { sk.shutdown(SHUT_RDWR); }},
      {"dup", [](Socket& sk) { (void)sk.dup(); }},
  };
  Socket sk, taker;
  sk.settimeout(GENERATE(Timeout(), Timeout(0s), Timeout(5s)));
  SECTION("closed") { sk.close(); }
  SECTION("detached") { taker = Socket::adopt(sk.detach()); }
  SECTION("moved from") { taker = std::move(sk); }
  for (const auto& [name, call] : calls) {
    CAPTURE(name);
    REQUIRE_THROWS_MATCHES(call(sk), Error, Code(errc::bad_file_descriptor));
    REQUIRE_THROWS_WITH(call(sk), Catch::Contains(" on a closed socket"));
  }
  REQUIRE(sk.connect_ex({"127.0.0.1", 9}) == errc::bad_file_descriptor);
  REQUIRE(sk.family() == AF_INET);  // As in Python, these three only tell what it was.
  REQUIRE(sk.type() == SOCK_STREAM);
  REQUIRE(sk.proto() == 0);
}

TEST_CASE("bind to port 0 takes a free port", "[socket][bind]") {
  const int family = GENERATE(AF_INET, AF_INET6);
  Socket sk(family);
  sk.bind({family == AF_INET ? "127.0.0.1" : "::1", 0});
  REQUIRE(sk.getsockname().host() == (family == AF_INET ? "127.0.0.1" : "::1"));
  REQUIRE(sk.getsockname().port() > 0);
}

TEST_CASE("an address of another family is refused before any system call", "[socket][bind]") {
  Socket closed;  // A system call would fail with EBADF.
  closed.close();
  REQUIRE_THROWS_AS(closed.bind("/tmp/x"), std::invalid_argument);
  REQUIRE_THROWS_AS(closed.bind(Address("::1", 0)), std::invalid_argument);
  REQUIRE_THROWS_AS(closed.connect("/tmp/x"), std::invalid_argument);
  REQUIRE_THROWS_AS(closed.connect_ex(Address("::1", 9)), std::invalid_argument);
}

TEST_CASE("bind to a taken address names it and leaves the Socket usable", "[socket][bind]") {
  const RefusingPort taken;
  Socket sk;
  REQUIRE_THROWS_WITH(sk.bind(taken.address), Catch::StartsWith("bind " + taken.address.str()));
  REQUIRE_THROWS_MATCHES(sk.bind(taken.address), Error, Code(errc::address_in_use));
  sk.bind({"127.0.0.1", 0});
  REQUIRE(sk.getsockname().port() != taken.address.port());
}

TEST_CASE("a link-local address reaches the kernel with its scope", "[socket][bind]") {
  // No interface has this address: the kernel says so once it knows which interface is meant.
  const char* nobody = "fe80::7468:696e";
  Socket sk(AF_INET6);
  REQUIRE_THROWS_MATCHES(sk.bind({nobody, 0}), Error, Code(errc::invalid_argument));
  REQUIRE_THROWS_MATCHES(sk.bind({nobody, 0, 0, ::if_nametoindex("lo")}), Error,
                         Code(errc::address_not_available));
  REQUIRE_THROWS_MATCHES(sk.bind({std::string(nobody) + "%lo", 0}), Error,
                         Code(errc::address_not_available));
}

TEST_CASE("a negative backlog counts as 0", "[socket][listen]") {
  Socket lst(AF_UNIX);
  lst.bind("");
  lst.listen(-1);
  Socket first(AF_UNIX), second(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK);
  first.connect(lst.getsockname());
  REQUIRE(second.connect_ex(lst.getsockname()) == errc::operation_would_block);
}

TEST_CASE("a datagram socket cannot listen", "[socket][listen]") {
  REQUIRE_THROWS_MATCHES(named_socket().listen(), Error, Code(errc::operation_not_supported));
}

TEST_CASE("a descriptor is truly blocking once the timeout is gone", "[socket][settimeout]") {
  Socket sk = listener();
  sk.settimeout(200ms);
  SECTION("after an accept") { REQUIRE_THROWS_AS(sk.accept(), TimeoutError); }
  SECTION("after a recv") {
    sk = named_socket();
    sk.settimeout(200ms);
    REQUIRE_THROWS_AS(sk.recv(1), TimeoutError);
  }
  SECTION("after a connect") {
    const FullListener full(Address("127.0.0.1", 0));
    sk = Socket();
    sk.settimeout(200ms);
    REQUIRE_THROWS_AS(sk.connect(full.name), TimeoutError);
  }
  SECTION("after a zero") { sk.settimeout(0s); }
  sk.settimeout(std::nullopt);
  REQUIRE_FALSE(nonblocking(sk));
  REQUIRE_FALSE(has_timer(sk, SO_RCVTIMEO));
  REQUIRE_FALSE(has_timer(sk, SO_SNDTIMEO));
}

TEST_CASE("a timeout of zero makes the descriptor non-blocking", "[socket][settimeout]") {
  Socket sk;
  SECTION("at first") {}
  SECTION("after a timed accept") {
    sk = listener();
    sk.settimeout(3ms);
    REQUIRE_THROWS_AS(sk.accept(), TimeoutError);
  }
  SECTION("after a timed connect") {
    const FullListener full(Address("127.0.0.1", 0));
    sk.settimeout(3ms);
    REQUIRE_THROWS_AS(sk.connect(full.name), TimeoutError);
  }
  SECTION("after an accept that failed and a timed connect") {
    const FullListener full(Address("127.0.0.1", 0));
    sk.settimeout(3ms);
    REQUIRE_THROWS_MATCHES(sk.accept(), Error, Code(errc::invalid_argument));
    REQUIRE_THROWS_AS(sk.connect(full.name), TimeoutError);
  }
  sk.settimeout(0s);
  REQUIRE(nonblocking(sk));
  REQUIRE_FALSE(has_timer(sk, SO_RCVTIMEO));
}

TEST_CASE("a negative timeout is refused and the old one kept", "[socket][settimeout]") {
  Socket sk = patient(Socket());
  REQUIRE_THROWS_AS(sk.settimeout(-1ns), std::invalid_argument);
  REQUIRE(sk.gettimeout() == kPatience);
}

TEST_CASE("only a timeout of zero is not blocking", "[socket][getblocking]") {
  Socket sk;
  REQUIRE(sk.getblocking());
  sk.settimeout(0s);
  REQUIRE_FALSE(sk.getblocking());
  sk.settimeout(1ns);
  REQUIRE(sk.getblocking());
}

TEST_CASE("setblocking is a timeout of zero or none", "[socket][setblocking]") {
  Socket sk = patient(Socket());
  sk.setblocking(false);
  REQUIRE(sk.gettimeout() == 0s);
  REQUIRE(nonblocking(sk));
  sk.setblocking(true);
  REQUIRE(sk.gettimeout() == std::nullopt);
  REQUIRE_FALSE(nonblocking(sk));
}

TEST_CASE("a Socket without a peer has no peer name", "[socket][getpeername]") {
  const int family = GENERATE(AF_INET, AF_INET6, AF_UNIX);
  const Socket sk(family);
  REQUIRE_THROWS_MATCHES(sk.getpeername(), Error, Code(errc::not_connected));
  REQUIRE(sk.getsockname().family() == family);
}

TEST_CASE("proto is the kernel's choice where none was given", "[socket][proto]") {
  REQUIRE(Socket().proto() == IPPROTO_TCP);
  REQUIRE(Socket(AF_INET, SOCK_DGRAM).proto() == IPPROTO_UDP);
}

TEST_CASE("an option reads back as it was set", "[socket][setsockopt]") {
  struct Option {
    int family, type, level, name;
  };
  const auto [family, type, level, name] =
      GENERATE(Option{AF_INET, SOCK_STREAM, SOL_SOCKET, SO_REUSEADDR},
               Option{AF_INET, SOCK_STREAM, SOL_SOCKET, SO_KEEPALIVE},
               Option{AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_NODELAY},
               Option{AF_INET, SOCK_DGRAM, SOL_SOCKET, SO_BROADCAST},
               Option{AF_INET6, SOCK_STREAM, IPPROTO_IPV6, IPV6_V6ONLY});
  Socket sk(family, type);
  const int old = sk.getsockopt(level, name);
  sk.setsockopt(level, name, !old);
  REQUIRE(sk.getsockopt(level, name) == !old);
}

TEST_CASE("an option may be bytes", "[socket][setsockopt]") {
  Socket sk;
  const linger set{1, 7};
  sk.setsockopt(SOL_SOCKET, SO_LINGER, {&set, sizeof set});
  const std::string bytes(reinterpret_cast<const char*>(&set), sizeof set);
  REQUIRE(sk.getsockopt(SOL_SOCKET, SO_LINGER, sizeof set) == bytes);
  REQUIRE(sk.getsockopt(SOL_SOCKET, SO_LINGER, 100) == bytes);
  REQUIRE(sk.getsockopt(SOL_SOCKET, SO_LINGER, 4) == bytes.substr(0, 4));
}

TEST_CASE("an option the kernel does not have is an Error", "[socket][setsockopt]") {
  Socket sk;
  REQUIRE_THROWS_MATCHES(sk.setsockopt(SOL_SOCKET, 9999, 1), Error, Code(errc::no_protocol_option));
  REQUIRE_THROWS_MATCHES(sk.getsockopt(SOL_SOCKET, 9999), Error, Code(errc::no_protocol_option));
}

TEST_CASE("set_inheritable switches close-on-exec", "[socket][set_inheritable]") {
  Socket sk;
  REQUIRE_FALSE(sk.get_inheritable());
  sk.set_inheritable(true);
  REQUIRE(sk.get_inheritable());
  REQUIRE_FALSE(close_on_exec(sk));
  sk.set_inheritable(false);
  REQUIRE(close_on_exec(sk));
}

TEST_CASE("shutdown ends what the peer reads, one way", "[socket][shutdown]") {
  Pair pair = tcp_pair();
  pair.client.shutdown(SHUT_WR);
  REQUIRE(pair.server.recv(1).empty());
  pair.server.sendall("back");
  REQUIRE(pair.client.recv_exactly(4) == "back");
}

TEST_CASE("shutdown without a peer fails with ENOTCONN", "[socket][shutdown]") {
  REQUIRE_THROWS_MATCHES(Socket().shutdown(SHUT_RDWR), Error, Code(errc::not_connected));
}

TEST_CASE("close closes the descriptor, once", "[socket][close]") {
  Socket sk;
  const int fd = sk.fileno();
  sk.close();
  REQUIRE(sk.fileno() == -1);
  REQUIRE_FALSE(is_open(fd));
  const Socket successor;  // It has the same number now.
  REQUIRE(successor.fileno() == fd);
  sk.close();
  REQUIRE(is_open(fd));
}

TEST_CASE("the destructor closes the descriptor", "[socket][close]") {
  int fd;
  {
    const Socket sk;
    fd = sk.fileno();
    REQUIRE(is_open(fd));
  }
  REQUIRE_FALSE(is_open(fd));
}

TEST_CASE("detach hands the open descriptor over, once", "[socket][detach]") {
  Socket sk;
  const int fd = sk.fileno();
  REQUIRE(sk.detach() == fd);
  REQUIRE(sk.detach() == -1);
  sk.close();
  REQUIRE(is_open(fd));
  ::close(fd);
}

TEST_CASE("dup is another descriptor for the same socket", "[socket][dup]") {
  Pair pair = unix_pair();
  Socket copy = pair.client.dup();
  REQUIRE(copy.fileno() != pair.client.fileno());
  REQUIRE(copy.gettimeout() == kPatience);
  REQUIRE(copy.family() == AF_UNIX);
  REQUIRE(copy.type() == SOCK_STREAM);
  pair.client.close();
  copy.sendall("still open");
  REQUIRE(pair.server.recv_exactly(10) == "still open");
}

TEST_CASE("dup without a free descriptor leaves the original usable", "[socket][dup]") {
  Pair pair = unix_pair();
  {
    const DescriptorLimit limit(0);
    REQUIRE_THROWS_MATCHES((void)pair.client.dup(), Error, Code(errc::too_many_files_open));
  }
  pair.client.sendall("still open");
  REQUIRE(pair.server.recv_exactly(10) == "still open");
}
