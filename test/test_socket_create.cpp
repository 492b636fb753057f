// How connections are made: accept, connect, create_connection, create_server, socketpair; and how
// shutdown wakes a thread that waits. test_timing.cpp tests how long accept and connect wait.
#include <net/if.h>
#include <netinet/in.h>

#include <fstream>
#include <future>
#include <memory>
#include <string_view>

#include "support.hpp"
#include "thinsock/cancel.hpp"

using namespace test;
using Catch::Contains;
using Catch::StartsWith;
using std::errc;
using thinsock::Address;
using thinsock::create_connection;
using thinsock::create_server;
using thinsock::Error;
using thinsock::ResolveError;
using thinsock::Timeout;
using thinsock::TimeoutError;

namespace {

bool asleep(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  std::string line;
  std::getline(file, line);
  return line.find(") S ") != std::string::npos;
}

// Makes the call in another thread, and returns when that thread waits in the kernel.
template <class Call>
auto blocked(Call call) {
  const auto thread = std::make_shared<std::atomic<pid_t>>(0);
  auto result = std::async(std::launch::async, [thread, call] {
    *thread = ::gettid();
    return call();
  });
  eventually([&] { return asleep(*thread); });
  return result;  // Nothing is checked here: a REQUIRE that fails would wait for the call to end.
}

Socket unix_listener(int type = SOCK_STREAM) {
  Socket lst = patient(Socket(AF_UNIX, type));
  lst.bind("");
  lst.listen();
  return lst;
}

FullListener full_listener(int family) {
  return FullListener(family == AF_UNIX ? Address("") : Address("127.0.0.1", 0), family);
}

}  // namespace

TEST_CASE("accept gives a connection and its peer's address", "[socket][accept]") {
  const int family = GENERATE(AF_INET, AF_INET6);
  Socket lst = listener(family), client = patient(Socket(family));
  client.connect(lst.getsockname());
  auto [conn, addr] = lst.accept();
  REQUIRE(addr == client.getsockname());
  REQUIRE(conn.getpeername() == addr);
  REQUIRE(conn.getsockname() == lst.getsockname());
  REQUIRE(conn.family() == family);
}

TEST_CASE("accept on a Unix listener gives the client's name, if it has one", "[socket][accept]") {
  const int type = GENERATE(SOCK_STREAM, SOCK_SEQPACKET);
  const TempDir dir;
  Socket lst = patient(Socket(AF_UNIX, type)), client(AF_UNIX, type);
  SECTION("at a path") { lst.bind(dir / "listener"); }
  SECTION("abstract") { lst.bind(""); }
  const bool named = GENERATE(true, false);
  if (named) client.bind(dir / "client");
  lst.listen();
  client.connect(lst.getsockname());
  auto [conn, addr] = lst.accept();
  REQUIRE(addr.path() == (named ? dir / "client" : ""));
  REQUIRE(conn.type() == type);
  REQUIRE(client.getpeername() == lst.getsockname());
}

TEST_CASE("accept on a Socket that does not listen fails with EINVAL", "[socket][accept]") {
  Socket sk;
  sk.settimeout(GENERATE(Timeout(), Timeout(0s), Timeout(5s)));
  REQUIRE_THROWS_MATCHES(sk.accept(), Error, Code(errc::invalid_argument));
}

TEST_CASE("an accepted Socket has the default timeout, not its listener's", "[socket][accept]") {
  Socket lst = unix_listener(), client(AF_UNIX);
  lst.settimeout(GENERATE(Timeout(), Timeout(0s), Timeout(5s)));
  client.connect(lst.getsockname());
  const Timeout timeout = GENERATE(Timeout(), Timeout(0s), Timeout(3s));
  const DefaultTimeout changed(timeout);
  const Socket conn = lst.accept().socket;
  REQUIRE(conn.gettimeout() == timeout);
  REQUIRE(nonblocking(conn) == (timeout == 0s));
}

TEST_CASE("accept with an error_code tells that nobody is there", "[socket][accept]") {
  Socket lst = unix_listener(), client(AF_UNIX);
  lst.setblocking(false);
  std::error_code error;
  REQUIRE(lst.accept(error).socket.fileno() == -1);
  REQUIRE(error == errc::operation_would_block);
  client.connect(lst.getsockname());
  REQUIRE(lst.accept(error).socket.fileno() != -1);
  REQUIRE_FALSE(error);
}

TEST_CASE("accept with an error_code gives no address when it fails", "[socket][accept]") {
  Socket lst = listener();
  lst.setblocking(false);
  std::error_code error;
  REQUIRE(lst.accept(error).address.size() == 0);
}

TEST_CASE("accept without a free descriptor leaves the listener usable",
          "[socket][accept][native]") {
  Socket lst = listener(), client;
  client.connect(lst.getsockname());
  const std::size_t before = open_descriptors();
  {
    DescriptorLimit limit(0);
    for (int i = 0; i < 100; ++i) {
      REQUIRE_THROWS_MATCHES(lst.accept(), Error, Code(errc::too_many_files_open));
    }
    limit.free_one();
    REQUIRE(lst.accept().address == client.getsockname());
  }
  REQUIRE(open_descriptors() == before);
}

TEST_CASE("a refused connect names the address and leaves the Socket usable", "[socket][connect]") {
  const RefusingPort nobody;
  Socket lst = listener(), sk;
  sk.settimeout(GENERATE(Timeout(), Timeout(5s)));
  REQUIRE_THROWS_WITH(sk.connect(nobody.address), Contains("connect " + nobody.address.str()));
  REQUIRE_THROWS_MATCHES(sk.connect(nobody.address), Error, Code(errc::connection_refused));
  REQUIRE(sk.connect_ex(nobody.address) == errc::connection_refused);
  sk.connect(lst.getsockname());
  REQUIRE(sk.getpeername() == lst.getsockname());
}

TEST_CASE("a non-blocking connect tells that it is under way", "[socket][connect]") {
  const FullListener full = full_listener(AF_INET);
  Socket sk(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
  REQUIRE_THROWS_MATCHES(sk.connect(full.name), Error, Code(errc::operation_in_progress));
  REQUIRE(sk.connect_ex(full.name) == errc::connection_already_in_progress);
}

TEST_CASE("a non-blocking Unix connect is made at once or not at all", "[socket][connect]") {
  FullListener full = full_listener(AF_UNIX);
  Socket sk(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK);
  REQUIRE_THROWS_MATCHES(sk.connect(full.name), Error, Code(errc::operation_would_block));
  (void)full.lst.accept();
  REQUIRE(sk.connect_ex(full.name) == std::error_code());
}

TEST_CASE("a timed connect leaves its descriptor blocking and untimed", "[socket][connect]") {
  const int family = GENERATE(AF_INET, AF_UNIX);
  FullListener full = full_listener(family);
  Socket sk(family);
  sk.settimeout(5s);
  SECTION("timed out") {
    sk.settimeout(GENERATE(3ms, 50ms, 300ms));
    REQUIRE(sk.connect_ex(full.name) == errc::timed_out);
  }
  SECTION("failed") {
    const Address nobody = full.name;
    full.lst.close();
    REQUIRE(sk.connect_ex(nobody) == errc::connection_refused);
  }
  SECTION("connected") {
    (void)full.lst.accept();
    REQUIRE(sk.connect_ex(full.name) == std::error_code());
  }
  REQUIRE_FALSE(nonblocking(sk));
  REQUIRE_FALSE(has_timer(sk, SO_SNDTIMEO));
}

TEST_CASE("a connect that gave up is waited for by the next one", "[socket][connect]") {
  FullListener full(thinsock::Address("127.0.0.1", 0));
  Socket sk;
  SECTION("after a timeout") {
    sk.settimeout(50ms);
    REQUIRE(sk.connect_ex(full.name) == errc::timed_out);
    REQUIRE(sk.connect_ex(full.name) == errc::timed_out);
    sk.settimeout(kPatience);
  }
  SECTION("after a scope") {
    const thinsock::CancelScope scope(50ms);
    REQUIRE(sk.connect_ex(full.name) == errc::timed_out);
  }
  const Timeout timeout = GENERATE(Timeout(), Timeout(kPatience));
  sk.settimeout(timeout);
  (void)full.lst.accept();  // There is room again, which the kernel finds out after a second.
  sk.connect(full.name);
  REQUIRE(sk.getpeername() == full.name);
  sk.sendall("x");
  REQUIRE(full.lst.accept().socket.recv(1) == "x");
}

TEST_CASE("a connect under way is not taken for one to another address", "[socket][connect]") {
  const FullListener full(thinsock::Address("127.0.0.1", 0));
  const Socket other = listener();
  Socket sk;
  sk.settimeout(20ms);
  REQUIRE(sk.connect_ex(full.name) == errc::timed_out);
  REQUIRE(sk.connect_ex(other.getsockname()) == errc::connection_already_in_progress);
}

TEST_CASE("a host that does not resolve leaves the Socket usable", "[socket][connect]") {
  Socket lst = listener(AF_INET6), sk = patient(Socket(AF_INET6));
  REQUIRE_THROWS_AS(sk.connect({"fe80::1%no-such-interface", 9}), ResolveError);
  REQUIRE_THROWS_AS(sk.connect_ex({"127.0.0.1", 9}), ResolveError);
  sk.connect(lst.getsockname());
  REQUIRE(sk.getpeername() == lst.getsockname());
}

TEST_CASE("an impossible host or port leaves the Socket usable", "[socket][connect]") {
  using namespace std::string_view_literals;
  Socket lst = listener(), sk = patient(Socket());
  REQUIRE_THROWS_AS(sk.connect({"127.0.0.1\0"sv, 9}), std::invalid_argument);
  REQUIRE_THROWS_AS(sk.connect({"127.0.0.1", 65536}), std::out_of_range);
  REQUIRE_THROWS_AS(sk.connect_ex({"127.0.0.1", -1}), std::out_of_range);
  sk.connect(lst.getsockname());
  REQUIRE(sk.getpeername() == lst.getsockname());
}

TEST_CASE("connect hands the flow label to the kernel", "[socket][connect]") {
  constexpr int kFlowinfoSend = 33;  // IPV6_FLOWINFO_SEND; its header clashes with libc's.
  Socket lst = listener(AF_INET6), sk = patient(Socket(AF_INET6));
  sk.setsockopt(IPPROTO_IPV6, kFlowinfoSend, 1);
  sk.connect({"::1", lst.getsockname().port(), 0x12345});
  REQUIRE(sk.getpeername().flowinfo() == 0x12345);
}

TEST_CASE("shutdown wakes a thread blocked in recv with the end of file", "[socket][shutdown]") {
  Pair pair = GENERATE(AF_INET, AF_UNIX) == AF_INET ? tcp_pair() : unix_pair();
  auto received = blocked([&pair] { return pair.client.recv(1); });
  pair.client.shutdown(SHUT_RDWR);
  REQUIRE(received.get().empty());
}

TEST_CASE("shutdown wakes a thread blocked in accept with EINVAL", "[socket][shutdown]") {
  Socket lst = GENERATE(AF_INET, AF_UNIX) == AF_INET ? listener() : unix_listener();
  auto accepted = blocked([&lst] {
    std::error_code error;
    (void)lst.accept(error);
    return error;
  });
  lst.shutdown(SHUT_RDWR);
  REQUIRE(accepted.get() == errc::invalid_argument);
}

TEST_CASE("create_connection connects to a host, an Address or a path", "[create_connection]") {
  const TempDir dir;
  Socket lst = listener(), path_lst = patient(create_server(dir / "listener"));
  const Address name = lst.getsockname();
  REQUIRE(create_connection({"127.0.0.1", name.port()}, 5s).getpeername() == name);
  REQUIRE(create_connection(name, 5s).getpeername() == name);
  REQUIRE(create_connection(dir / "listener", 5s).getpeername() == path_lst.getsockname());
}

TEST_CASE("create_connection keeps the scope of an address", "[create_connection]") {
  const std::string link_local = "[fe80::1%lo]:9";
  REQUIRE_THROWS_WITH(create_connection({"fe80::1", 9, 0, ::if_nametoindex("lo")}, 5s),
                      Contains(link_local));
  REQUIRE_THROWS_WITH(create_connection({"fe80::1%lo", 9}, 5s), Contains(link_local));
}

TEST_CASE("create_connection leaves its timeout on the Socket", "[create_connection]") {
  Socket lst = listener();
  const DefaultTimeout three_seconds(3s);
  REQUIRE(create_connection(lst.getsockname(), 5s).gettimeout() == 5s);
  REQUIRE(create_connection(lst.getsockname()).gettimeout() == 3s);
  REQUIRE(create_connection(lst.getsockname(), std::nullopt).gettimeout() == std::nullopt);
}

TEST_CASE("create_connection does not wait under a timeout of zero", "[create_connection]") {
  Socket path_lst = unix_listener();
  REQUIRE(create_connection(path_lst.getsockname(), 0s).gettimeout() == 0s);
  const FullListener full = full_listener(AF_INET);
  REQUIRE_THROWS_MATCHES(create_connection(full.name, 0s), Error,
                         Code(errc::operation_in_progress));
}

TEST_CASE("create_connection without a free descriptor is an Error", "[create_connection]") {
  const Socket lst = listener();
  const Address name = lst.getsockname();
  DescriptorLimit limit(0);
  REQUIRE_THROWS_MATCHES(create_connection(name, 5s), Error, Code(errc::too_many_files_open));
  limit.free_one();
  REQUIRE(create_connection(name, 5s).getpeername() == name);
}

TEST_CASE("create_connection to a host that does not resolve is a ResolveError",
          "[create_connection]") {
  REQUIRE_THROWS_AS(create_connection({"fe80::1%no-such-interface", 9}, 5s), ResolveError);
}

TEST_CASE("create_server listens at a host, an Address or a path", "[create_server]") {
  const TempDir dir;
  const Socket host = create_server({"127.0.0.1", 0});
  REQUIRE(create_server({"::1", 0}).family() == AF_INET6);
  const Socket address = create_server(Address("::1", 0));
  const Socket path = create_server(dir / "listener");
  REQUIRE(address.family() == AF_INET6);
  REQUIRE(path.getsockname().path() == dir / "listener");
  for (const Socket* lst : {&host, &address, &path}) {
    REQUIRE(lst->type() == SOCK_STREAM);
    REQUIRE(lst->getsockopt(SOL_SOCKET, SO_ACCEPTCONN) == 1);
    REQUIRE(create_connection(lst->getsockname(), 5s).getpeername() == lst->getsockname());
  }
}

TEST_CASE("create_server is not held up by TIME_WAIT", "[create_server]") {
  Socket lst = listener();
  const Address name = lst.getsockname();
  Socket client = create_connection(name, 5s);
  lst.accept().socket.close();  // The end that closes first is in TIME_WAIT.
  REQUIRE(client.recv(1).empty());
  client.close();
  lst.close();
  REQUIRE_THROWS_MATCHES(Socket().bind(name), Error, Code(errc::address_in_use));
  REQUIRE(create_server(name).getsockname() == name);
}

TEST_CASE("create_server at a taken address names it and leaks nothing", "[create_server]") {
  const Socket taken = listener();
  const Address name = taken.getsockname();
  const std::size_t before = open_descriptors();
  REQUIRE_THROWS_WITH(create_server(name), Catch::StartsWith("bind " + name.str()));
  REQUIRE_THROWS_MATCHES(create_server(name), Error, Code(errc::address_in_use));
  REQUIRE(open_descriptors() == before);
}

TEST_CASE("reuse_port lets servers share a port", "[create_server]") {
  const Socket first = create_server({"127.0.0.1", 0}, {.reuse_port = true});
  const Address name = first.getsockname();
  REQUIRE(create_server(name, {.reuse_port = true}).getsockname() == name);
  REQUIRE_THROWS_MATCHES(create_server(name), Error, Code(errc::address_in_use));
}

TEST_CASE("reuse_port does not disturb a path", "[create_server]") {
  const TempDir dir;
  REQUIRE_NOTHROW(create_server(dir / "listener", {.reuse_port = true}));
}

TEST_CASE("an IPv6 server serves IPv4 only as a dual stack", "[create_server]") {
  const bool dual = GENERATE(false, true);
  Socket lst = patient(create_server({"", 0}, {.family = AF_INET6, .dualstack_ipv6 = dual}));
  const Address ipv4("127.0.0.1", lst.getsockname().port());
  REQUIRE(lst.getsockopt(IPPROTO_IPV6, IPV6_V6ONLY) == !dual);
  if (dual) {
    const Socket client = create_connection(ipv4, 5s);
    REQUIRE(lst.accept().address.host() == "::ffff:127.0.0.1");
  } else {
    REQUIRE_THROWS_MATCHES(create_connection(ipv4, 5s), Error, Code(errc::connection_refused));
  }
}

TEST_CASE("a dual stack needs AF_INET6", "[create_server]") {
  REQUIRE_THROWS_AS(create_server({"", 0}, {.dualstack_ipv6 = true}), std::invalid_argument);
  REQUIRE_THROWS_AS(
      create_server(Address("127.0.0.1", 0), {.family = AF_INET6, .dualstack_ipv6 = true}),
      std::invalid_argument);
}

TEST_CASE("has_dualstack_ipv6 says what the kernel does", "[has_dualstack_ipv6]") {
  const std::size_t before = open_descriptors();
  const int fd = ::socket(AF_INET6, SOCK_STREAM, 0);
  const int off = 0;
  const bool can = ::setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0;
  if (fd != -1) ::close(fd);
  REQUIRE(thinsock::has_dualstack_ipv6() == can);
  REQUIRE(open_descriptors() == before);
  const DescriptorLimit limit(0);
  REQUIRE_FALSE(thinsock::has_dualstack_ipv6());
}

TEST_CASE("socketpair connects two sockets of a type", "[socketpair]") {
  const int type = GENERATE(SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET);
  const DefaultTimeout three_seconds(3s);
  auto [a, b] = thinsock::socketpair(AF_UNIX, type);
  a.send("there");
  REQUIRE(b.recv(100) == "there");
  b.send("back");
  REQUIRE(a.recv(100) == "back");
  for (const Socket* sk : {&a, &b}) {
    REQUIRE(sk->type() == type);
    REQUIRE(sk->gettimeout() == 3s);
    REQUIRE_FALSE(sk->get_inheritable());
  }
}

TEST_CASE("socketpair with SOCK_NONBLOCK makes both ends non-blocking", "[socketpair]") {
  auto [a, b] = thinsock::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK);
  for (Socket* sk : {&a, &b}) {
    REQUIRE(sk->type() == SOCK_STREAM);
    REQUIRE(sk->gettimeout() == 0s);
    REQUIRE(nonblocking(*sk));
  }
}

TEST_CASE("socketpair that fails leaks nothing", "[socketpair][native]") {
  const std::size_t before = open_descriptors();
  REQUIRE_THROWS_MATCHES(thinsock::socketpair(AF_INET), Error, Code(errc::operation_not_supported));
  {
    const DescriptorLimit limit(1);
    REQUIRE_THROWS_MATCHES(thinsock::socketpair(), Error, Code(errc::too_many_files_open));
  }
  REQUIRE(open_descriptors() == before);
}
