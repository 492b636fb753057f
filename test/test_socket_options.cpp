// The typed options, compared with what the kernel says of them, and how a Socket prints.
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <climits>
#include <functional>
#include <sstream>

#include "support.hpp"
#include "thinsock/message.hpp"

using namespace test;
using namespace std::string_literals;
using std::errc;
using thinsock::Error;
using thinsock::ResolveError;
using thinsock::Timeout;

namespace {

constexpr const char* kGroup = "239.255.77.5";
constexpr const char* kGroup6 = "ff02::77:5";

unsigned loopback() { return ::if_nametoindex("lo"); }

Socket udp(int family = AF_INET) { return patient(Socket(family, SOCK_DGRAM)); }

// The value of an option, an int or a linger, as getsockopt(2) gives it.
template <class T = int>
T raw(const Socket& sk, int level, int name) {
  T value{};
  socklen_t size = sizeof value;
  REQUIRE(::getsockopt(sk.fileno(), level, name, &value, &size) == 0);
  return value;
}

std::string printed(const Socket& sk) {
  std::ostringstream out;
  out << sk;
  return out.str();
}

// A socket that receives only what is sent to groups which it has joined itself. Otherwise it would
// receive what is sent to groups that any socket of this machine has joined.
Socket group_receiver() {
  Socket sk = udp();
  sk.setsockopt(IPPROTO_IP, IP_MULTICAST_ALL, 0);
  sk.bind({"", 0});
  return sk;
}

// A socket that sends to groups on the loopback interface, so that nothing leaves the machine.
Socket group_sender() {
  Socket sk = udp();
  sk.set_multicast_interface(loopback());
  return sk;
}

struct Switch {
  const char* name;
  bool (Socket::*get)() const;
  void (Socket::*set)(bool);
  int family, type, level, option;
};

Switch any_switch() {
  return GENERATE(Switch{"nodelay", &Socket::get_nodelay, &Socket::set_nodelay, AF_INET,
                         SOCK_STREAM, IPPROTO_TCP, TCP_NODELAY},
                  Switch{"broadcast", &Socket::get_broadcast, &Socket::set_broadcast, AF_INET,
                         SOCK_DGRAM, SOL_SOCKET, SO_BROADCAST},
                  Switch{"multicast_loop", &Socket::get_multicast_loop, &Socket::set_multicast_loop,
                         AF_INET, SOCK_DGRAM, IPPROTO_IP, IP_MULTICAST_LOOP},
                  Switch{"multicast_loop", &Socket::get_multicast_loop, &Socket::set_multicast_loop,
                         AF_INET6, SOCK_DGRAM, IPPROTO_IPV6, IPV6_MULTICAST_LOOP});
}

struct Size {
  const char* name;
  int (Socket::*get)() const;
  void (Socket::*set)(int);
  int option;
};

// A century: an int cannot hold so many seconds.
constexpr auto kTooLong = std::chrono::hours(24 * 365 * 100);

}  // namespace

TEST_CASE("an option that is on or off is as it was set, for the kernel too", "[options]") {
  const Switch option = any_switch();
  CAPTURE(option.name, option.family);
  Socket sk(option.family, option.type);
  const bool first = (sk.*option.get)();
  REQUIRE(first == (option.option == IP_MULTICAST_LOOP || option.option == IPV6_MULTICAST_LOOP));
  for (const bool value : {!first, first, !first}) {
    (sk.*option.set)(value);
    REQUIRE((sk.*option.get)() == value);
    REQUIRE((raw(sk, option.level, option.option) != 0) == value);
  }
}

TEST_CASE("nodelay, keepalive and broadcast are turned on without an argument", "[options]") {
  Socket tcp, datagrams = udp();
  tcp.set_nodelay();
  tcp.set_keepalive();
  datagrams.set_broadcast();
  REQUIRE(tcp.get_nodelay());
  REQUIRE(tcp.get_keepalive());
  REQUIRE(datagrams.get_broadcast());
}

TEST_CASE("nodelay is refused on what is not TCP", "[options][nodelay]") {
  Socket datagrams = udp();
  REQUIRE_THROWS_MATCHES(datagrams.set_nodelay(), Error, Code(errc::no_protocol_option));
  REQUIRE_THROWS_MATCHES(datagrams.get_nodelay(), Error, Code(errc::operation_not_supported));
  Pair pair = unix_pair();
  REQUIRE_THROWS_MATCHES(pair.client.set_nodelay(), Error, Code(errc::operation_not_supported));
  REQUIRE(pair.client.send("usable") == 6);
}

TEST_CASE("keepalive is none until it is turned on", "[options][keepalive]") {
  Socket sk;
  REQUIRE_FALSE(sk.get_keepalive());
  sk.set_keepalive(true);
  REQUIRE(raw(sk, SOL_SOCKET, SO_KEEPALIVE) == 1);
  REQUIRE(sk.get_keepalive());
  sk.set_keepalive(false);
  REQUIRE(raw(sk, SOL_SOCKET, SO_KEEPALIVE) == 0);
  REQUIRE_FALSE(sk.get_keepalive());
}

TEST_CASE("keepalive has its times in whole seconds, rounded up", "[options][keepalive]") {
  Socket sk;
  sk.set_keepalive(1500ms, 1ms, 7);
  const auto keepalive = sk.get_keepalive();
  REQUIRE(keepalive);
  REQUIRE(keepalive->idle == 2s);
  REQUIRE(keepalive->interval == 1s);
  REQUIRE(keepalive->count == 7);
  REQUIRE(raw(sk, SOL_SOCKET, SO_KEEPALIVE) == 1);
  REQUIRE(raw(sk, IPPROTO_TCP, TCP_KEEPIDLE) == 2);
  REQUIRE(raw(sk, IPPROTO_TCP, TCP_KEEPINTVL) == 1);
  REQUIRE(raw(sk, IPPROTO_TCP, TCP_KEEPCNT) == 7);
}

TEST_CASE("keepalive keeps its times while it is off", "[options][keepalive]") {
  Socket sk;
  sk.set_keepalive(3s, 4s, 5);
  sk.set_keepalive(false);
  sk.set_keepalive(true);
  REQUIRE(sk.get_keepalive()->idle == 3s);
  REQUIRE(sk.get_keepalive()->interval == 4s);
  REQUIRE(sk.get_keepalive()->count == 5);
}

TEST_CASE("a keepalive the kernel does not have fails with EINVAL", "[options][keepalive]") {
  Socket sk;
  const Code invalid(errc::invalid_argument);
  REQUIRE_THROWS_MATCHES(sk.set_keepalive(0s, 1s, 1), Error, invalid);
  REQUIRE_THROWS_MATCHES(sk.set_keepalive(std::nullopt, 1s, 1), Error, invalid);
  REQUIRE_THROWS_MATCHES(sk.set_keepalive(1s, 32768s, 1), Error, invalid);
  REQUIRE_THROWS_MATCHES(sk.set_keepalive(1s, 1s, 0), Error, invalid);
  REQUIRE_THROWS_MATCHES(sk.set_keepalive(1s, 1s, 128), Error, invalid);
  REQUIRE_FALSE(sk.get_keepalive());
  sk.set_keepalive(32767s, 32767s, 127);
  REQUIRE(sk.get_keepalive()->count == 127);
}

TEST_CASE("a keepalive beyond all counting is out_of_range and sets nothing", "[keepalive]") {
  Socket sk;
  const int idle = raw(sk, IPPROTO_TCP, TCP_KEEPIDLE);
  REQUIRE_THROWS_AS(sk.set_keepalive(kTooLong, 1s, 1), std::out_of_range);
  REQUIRE_THROWS_AS(sk.set_keepalive(1s, kTooLong, 1), std::out_of_range);
  REQUIRE_FALSE(sk.get_keepalive());
  REQUIRE(raw(sk, IPPROTO_TCP, TCP_KEEPIDLE) == idle);
}

TEST_CASE("a negative linger that was set elsewhere is the longest", "[options][linger]") {
  Socket sk;
  const linger negative{1, -1};
  REQUIRE(::setsockopt(sk.fileno(), SOL_SOCKET, SO_LINGER, &negative, sizeof negative) == 0);
  REQUIRE(sk.get_linger() > 24h);
}

TEST_CASE("linger is off, zero or whole seconds, rounded up", "[options][linger]") {
  Socket sk;
  REQUIRE(sk.get_linger() == std::nullopt);
  sk.set_linger(3s);
  REQUIRE(sk.get_linger() == 3s);
  REQUIRE(raw<linger>(sk, SOL_SOCKET, SO_LINGER).l_onoff == 1);
  REQUIRE(raw<linger>(sk, SOL_SOCKET, SO_LINGER).l_linger == 3);
  sk.set_linger(1ms);
  REQUIRE(sk.get_linger() == 1s);
  sk.set_linger(0s);
  REQUIRE(sk.get_linger() == 0s);
  REQUIRE(raw<linger>(sk, SOL_SOCKET, SO_LINGER).l_onoff == 1);
  sk.set_linger(std::nullopt);
  REQUIRE(sk.get_linger() == std::nullopt);
  REQUIRE(raw<linger>(sk, SOL_SOCKET, SO_LINGER).l_onoff == 0);
}

TEST_CASE("linger beyond all counting is out_of_range and sets nothing", "[options][linger]") {
  Socket sk;
  sk.set_linger(5s);
  REQUIRE_THROWS_AS(sk.set_linger(kTooLong), std::out_of_range);
  REQUIRE(sk.get_linger() == 5s);
}

TEST_CASE("a close resets the connection only if linger is zero", "[options][linger]") {
  Pair pair = tcp_pair();
  SECTION("zero") {
    pair.server.set_linger(0s);
    pair.server.close();
    REQUIRE_THROWS_MATCHES(pair.client.recv(1), Error, Code(errc::connection_reset));
  }
  SECTION("longer") {
    pair.server.set_linger(3s);
    pair.server.close();
    REQUIRE(pair.client.recv(1).empty());
  }
  SECTION("none") {
    pair.server.close();
    REQUIRE(pair.client.recv(1).empty());
  }
}

TEST_CASE("a buffer has twice the size it was given", "[options][sendbuf][recvbuf]") {
  const Size option =
      GENERATE(Size{"sendbuf", &Socket::get_sendbuf, &Socket::set_sendbuf, SO_SNDBUF},
               Size{"recvbuf", &Socket::get_recvbuf, &Socket::set_recvbuf, SO_RCVBUF});
  CAPTURE(option.name);
  Socket sk = GENERATE(true, false) ? Socket() : udp();
  REQUIRE((sk.*option.get)() == raw(sk, SOL_SOCKET, option.option));
  for (const int bytes : {20'000, 30'000}) {
    (sk.*option.set)(bytes);
    REQUIRE((sk.*option.get)() == 2 * bytes);
    REQUIRE(raw(sk, SOL_SOCKET, option.option) == 2 * bytes);
  }
}

TEST_CASE("sending to a broadcast address without broadcast fails with EACCES", "[broadcast]") {
  Socket sk = named_socket();
  REQUIRE_THROWS_MATCHES(sk.sendto("", {"255.255.255.255", 9}), Error,
                         Code(errc::permission_denied));
  sk.set_broadcast();
  sk.set_broadcast(false);
  REQUIRE_THROWS_MATCHES(sk.sendto("", {"<broadcast>", 9}), Error, Code(errc::permission_denied));
  REQUIRE(sk.sendto("usable", sk.getsockname()) == 6);
}

TEST_CASE("a group's packets come from joining it to leaving it", "[options][multicast]") {
  Socket receiver = group_receiver();
  Socket sender = group_sender();
  const int port = receiver.getsockname().port();
  SECTION("by interface index") { receiver.join_multicast(kGroup, loopback()); }
  SECTION("by local address") { receiver.join_multicast(kGroup, "127.0.0.1"); }
  sender.sendto("joined", {kGroup, port});
  REQUIRE(receiver.recv(100) == "joined");

  receiver.leave_multicast(kGroup, loopback());
  sender.sendto("left", {kGroup, port});
  sender.sendto("direct", {"127.0.0.1", port});
  REQUIRE(receiver.recv(100) == "direct");
}

TEST_CASE("packets to a group leave by the multicast interface", "[options][multicast]") {
  const bool by_index = GENERATE(true, false);
  Socket receiver = group_receiver();
  Socket sender = udp();
  by_index ? sender.set_multicast_interface(loopback())
           : sender.set_multicast_interface("127.0.0.1");
  receiver.join_multicast(kGroup, loopback());
  sender.sendto("sent", {kGroup, receiver.getsockname().port()});
  REQUIRE(receiver.recv(100) == "sent");
}

TEST_CASE("the multicast interface is the kernel's until set, and again", "[options][multicast]") {
  Socket v4 = udp(), v6 = udp(AF_INET6);
  const auto chosen = [&] { return v4.getsockopt(IPPROTO_IP, IP_MULTICAST_IF, sizeof(in_addr)); };
  const std::string none = chosen();
  v4.set_multicast_interface("127.0.0.1");
  REQUIRE(chosen() != none);
  v4.set_multicast_interface(0);
  REQUIRE(chosen() == none);
  v6.set_multicast_interface(loopback());
  REQUIRE(raw(v6, IPPROTO_IPV6, IPV6_MULTICAST_IF) == static_cast<int>(loopback()));
  v6.set_multicast_interface(0);
  REQUIRE(raw(v6, IPPROTO_IPV6, IPV6_MULTICAST_IF) == 0);
}

TEST_CASE("a multicast interface that is not there is refused", "[options][multicast]") {
  REQUIRE_THROWS_AS(udp().set_multicast_interface(1'000'000), Error);
  REQUIRE_THROWS_AS(udp(AF_INET6).set_multicast_interface(1'000'000), Error);
  REQUIRE_THROWS_AS(udp().set_multicast_interface("192.0.2.1"), Error);
  REQUIRE_THROWS_AS(udp().set_multicast_interface("localhost"), ResolveError);
}

TEST_CASE("a group can be joined once at a time", "[options][multicast]") {
  const int family = GENERATE(AF_INET, AF_INET6);
  const char* group = family == AF_INET ? kGroup : kGroup6;
  Socket sk = udp(family);
  sk.join_multicast(group, loopback());
  REQUIRE_THROWS_MATCHES(sk.join_multicast(group, loopback()), Error, Code(errc::address_in_use));
  sk.leave_multicast(group, loopback());
  const Code not_available(errc::address_not_available);
  REQUIRE_THROWS_MATCHES(sk.leave_multicast(group, loopback()), Error, not_available);
  REQUIRE_NOTHROW(sk.join_multicast(group, loopback()));
}

TEST_CASE("a group joined by local address is left by it", "[options][multicast]") {
  Socket sk = udp();
  sk.join_multicast(kGroup, "127.0.0.1");
  sk.leave_multicast(kGroup, "127.0.0.1");
  REQUIRE_THROWS_MATCHES(sk.leave_multicast(kGroup, "127.0.0.1"), Error,
                         Code(errc::address_not_available));
  REQUIRE_NOTHROW(sk.join_multicast(kGroup, "127.0.0.1"));
}

TEST_CASE("a group that is not numeric or of another family does not resolve", "[multicast]") {
  Socket v4 = udp(AF_INET), v6 = udp(AF_INET6);
  REQUIRE_THROWS_AS(v4.join_multicast("localhost", loopback()), ResolveError);
  REQUIRE_THROWS_AS(v4.join_multicast("localhost", "127.0.0.1"), ResolveError);
  REQUIRE_THROWS_AS(v4.join_multicast(kGroup, "localhost"), ResolveError);
  REQUIRE_THROWS_AS(v4.leave_multicast("localhost", loopback()), ResolveError);
  REQUIRE_THROWS_AS(v4.join_multicast(kGroup6, loopback()), ResolveError);
  REQUIRE_THROWS_AS(v4.join_multicast(kGroup6, "127.0.0.1"), ResolveError);
  REQUIRE_THROWS_AS(v4.join_multicast(kGroup, "::1"), ResolveError);
  REQUIRE_THROWS_AS(v6.join_multicast(kGroup, loopback()), ResolveError);
  REQUIRE_THROWS_AS(v4.join_multicast("239.255.77.5\0"s, loopback()), std::invalid_argument);
  REQUIRE_NOTHROW(v4.join_multicast(kGroup, loopback()));
  REQUIRE_NOTHROW(v6.join_multicast(kGroup6, loopback()));
}

TEST_CASE("a group that is not multicast fails with EINVAL", "[options][multicast]") {
  Socket v4 = udp(AF_INET), v6 = udp(AF_INET6);
  const Code invalid(errc::invalid_argument);
  REQUIRE_THROWS_MATCHES(v4.join_multicast("127.0.0.1", loopback()), Error, invalid);
  REQUIRE_THROWS_MATCHES(v4.join_multicast("", loopback()), Error, invalid);
  REQUIRE_THROWS_MATCHES(v4.join_multicast("127.0.0.1", "127.0.0.1"), Error, invalid);
  REQUIRE_THROWS_MATCHES(v6.join_multicast("::1", loopback()), Error, invalid);
  REQUIRE_NOTHROW(v4.join_multicast(kGroup, loopback()));
  REQUIRE_NOTHROW(v6.join_multicast(kGroup6, loopback()));
}

TEST_CASE("an interface that is not there fails with ENODEV", "[options][multicast]") {
  Socket v4 = udp(AF_INET), v6 = udp(AF_INET6);
  const Code no_device(errc::no_such_device);
  REQUIRE_THROWS_MATCHES(v4.join_multicast(kGroup, 99'999), Error, no_device);
  REQUIRE_THROWS_MATCHES(v6.join_multicast(kGroup6, 99'999), Error, no_device);
  REQUIRE_THROWS_MATCHES(v4.join_multicast(kGroup, "203.0.113.9"), Error, no_device);
  REQUIRE_NOTHROW(v4.join_multicast(kGroup, loopback()));
  REQUIRE_NOTHROW(v6.join_multicast(kGroup6, loopback()));
}

TEST_CASE("a Unix socket joins no group", "[options][multicast]") {
  Pair pair = unix_pair(SOCK_DGRAM);
  REQUIRE_THROWS_AS(pair.client.join_multicast(kGroup, loopback()), std::invalid_argument);
  REQUIRE_THROWS_MATCHES(pair.client.join_multicast(kGroup, "127.0.0.1"), Error,
                         Code(errc::operation_not_supported));
  REQUIRE(pair.client.send("usable") == 6);
}

TEST_CASE("the multicast TTL is one until set to any of 0-255", "[options][multicast]") {
  const int family = GENERATE(AF_INET, AF_INET6);
  Socket sk = udp(family);
  const int level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
  const int option = family == AF_INET ? IP_MULTICAST_TTL : IPV6_MULTICAST_HOPS;
  REQUIRE(sk.get_multicast_ttl() == 1);
  for (const int ttl : {2, 255, 0, 1}) {
    sk.set_multicast_ttl(ttl);
    REQUIRE(sk.get_multicast_ttl() == ttl);
    REQUIRE(raw(sk, level, option) == ttl);
  }
}

TEST_CASE("a multicast TTL outside 0-255 is out_of_range and sets nothing", "[multicast]") {
  Socket sk = udp(GENERATE(AF_INET, AF_INET6));
  sk.set_multicast_ttl(7);
  for (const int ttl : {-1, 256, INT_MAX, INT_MIN}) {
    REQUIRE_THROWS_AS(sk.set_multicast_ttl(ttl), std::out_of_range);
  }
  REQUIRE(sk.get_multicast_ttl() == 7);
}

TEST_CASE("a packet carries the multicast TTL", "[options][multicast]") {
  Socket receiver = group_receiver();
  receiver.join_multicast(kGroup, loopback());
  receiver.setsockopt(IPPROTO_IP, IP_RECVTTL, 1);
  Socket sender = group_sender();
  sender.set_multicast_ttl(9);
  sender.sendto("x", {kGroup, receiver.getsockname().port()});
  const thinsock::Message message = receiver.recvmsg(10, 64);
  REQUIRE(message.data == "x");
  REQUIRE(message.get<int>(IPPROTO_IP, IP_TTL) == 9);
}

TEST_CASE("every option of a closed Socket fails with EBADF", "[options][close]") {
  using Call = std::function<void(Socket&)>;
  const auto call = GENERATE(
      as<Call>{}, [](Socket& sk) { sk.set_nodelay(); }, [](Socket& sk) { sk.get_nodelay(); },
      [](Socket& sk) { sk.set_keepalive(); }, [](Socket& sk) { sk.set_keepalive(1s, 1s, 1); },
      [](Socket& sk) { sk.get_keepalive(); }, [](Socket& sk) { sk.set_linger(0s); },
      [](Socket& sk) { sk.get_linger(); }, [](Socket& sk) { sk.set_sendbuf(9999); },
      [](Socket& sk) { sk.get_sendbuf(); }, [](Socket& sk) { sk.set_recvbuf(9999); },
      [](Socket& sk) { sk.get_recvbuf(); }, [](Socket& sk) { sk.set_broadcast(); },
      [](Socket& sk) { sk.get_broadcast(); }, [](Socket& sk) { sk.join_multicast(kGroup); },
      [](Socket& sk) { sk.join_multicast(kGroup, "127.0.0.1"); },
      [](Socket& sk) { sk.leave_multicast(kGroup); },
      [](Socket& sk) { sk.leave_multicast(kGroup, "127.0.0.1"); },
      [](Socket& sk) { sk.set_multicast_ttl(1); }, [](Socket& sk) { sk.get_multicast_ttl(); },
      [](Socket& sk) { sk.set_multicast_loop(true); }, [](Socket& sk) { sk.get_multicast_loop(); });
  Socket sk = udp();
  sk.close();
  REQUIRE_THROWS_MATCHES(call(sk), Error, Code(errc::bad_file_descriptor));
  REQUIRE_THROWS_WITH(
      call(sk), Catch::Contains("et_") || Catch::Contains(std::string("_multicast ") + kGroup));
  REQUIRE_THROWS_WITH(call(sk), Catch::EndsWith(" on a closed socket: Bad file descriptor"));
}

TEST_CASE("an option that is refused names its function and argument", "[options][error]") {
  Socket sk = udp();
  sk.join_multicast(kGroup, "127.0.0.1");
  REQUIRE_THROWS_WITH(sk.set_nodelay(), "set_nodelay: Protocol not available");
  REQUIRE_THROWS_WITH(sk.join_multicast(kGroup, "127.0.0.1"),
                      std::string("join_multicast ") + kGroup + ": Address already in use");
  REQUIRE_THROWS_WITH(sk.join_multicast("10.0.0.1"), "join_multicast 10.0.0.1: Invalid argument");
  REQUIRE_THROWS_WITH(sk.setsockopt(SOL_SOCKET, 9999, 1), "setsockopt: Protocol not available");
}

TEST_CASE("a Socket prints what it is and both its addresses", "[socket][print]") {
  Pair pair = tcp_pair();
  const std::string local = pair.client.getsockname().str();
  const std::string peer = pair.client.getpeername().str();
  REQUIRE(printed(pair.client) == "<Socket fd=" + std::to_string(pair.client.fileno()) +
                                      ", family=2, type=1, proto=6, laddr=" + local +
                                      ", raddr=" + peer + ">");
}

TEST_CASE("a Socket without a peer prints where it is bound", "[socket][print]") {
  Socket sk(AF_INET, SOCK_DGRAM);
  const std::string start =
      "<Socket fd=" + std::to_string(sk.fileno()) + ", family=2, type=2, proto=17, laddr=";
  REQUIRE(printed(sk) == start + "0.0.0.0:0>");
  sk.bind({"127.0.0.1", 0});
  REQUIRE(printed(sk) == start + sk.getsockname().str() + ">");
}

TEST_CASE("a Unix Socket prints its path", "[socket][print]") {
  TempDir dir;
  Socket sk(AF_UNIX);
  sk.bind(dir / "sk");
  REQUIRE(printed(sk) == "<Socket fd=" + std::to_string(sk.fileno()) +
                             ", family=1, type=1, proto=0, laddr=" + dir / "sk" + ">");
}

TEST_CASE("a Socket without a name prints no addresses", "[socket][print]") {
  Pair pair = unix_pair();
  REQUIRE(printed(pair.client) ==
          "<Socket fd=" + std::to_string(pair.client.fileno()) + ", family=1, type=1, proto=0>");
}

TEST_CASE("a Socket without a descriptor prints [closed]", "[socket][print]") {
  Socket sk(AF_INET6);
  SECTION("closed") { sk.close(); }
  SECTION("moved from") { Socket other = std::move(sk); }
  REQUIRE(printed(sk) == "<Socket [closed] fd=-1, family=10, type=1>");
}
