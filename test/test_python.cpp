// Sockets, timeouts, addresses, connections and options: as in Python.
#include "python.hpp"

#include <netinet/in.h>

#include <cmath>
#include <limits>

#include "thinsock/message.hpp"

using namespace test;
using namespace std::string_literals;
using std::nullopt;
using std::tuple;
using thinsock::Address;

namespace {

Socket unix_socket() { return patient(Socket(AF_UNIX)); }

Socket closed() {
  Socket sk = patient(Socket());
  sk.close();
  return sk;
}

Address bound(thinsock::AddressLike address, int family = AF_INET, int type = SOCK_STREAM) {
  Socket sk(family, type);
  sk.bind(address);
  return sk.getsockname();
}

}  // namespace

TEST_CASE("a socket is made as in Python", "[python][socket]") {
  same("the defaults", "s = socket(); return s.family, s.type, s.gettimeout()", [] {
    Socket s;
    return tuple{s.family(), s.type(), s.gettimeout()};
  });
  same("SOCK_NONBLOCK is no part of the type",
       "s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK); return s.type, s.gettimeout()", [] {
         Socket s(AF_INET, SOCK_STREAM | SOCK_NONBLOCK);
         return tuple{s.type(), s.gettimeout()};
       });
  same("an unknown family", "socket(99)", [] { Socket(99); });
  same("an unknown type", "socket(AF_INET, 99)", [] { Socket(AF_INET, 99); });
  same("a protocol of another type", "socket(AF_INET, SOCK_STREAM, IPPROTO_UDP)",
       [] { Socket(AF_INET, SOCK_STREAM, IPPROTO_UDP); });
  same("adopting tells the kind",
       "s = socket(fileno=socket(AF_INET6, SOCK_DGRAM).detach()); "
       "return s.family, s.type, s.proto",
       [] {
         Socket s = Socket::adopt(Socket(AF_INET6, SOCK_DGRAM).detach());
         return tuple{s.family(), s.type(), s.proto()};
       });
  same("adopting a pipe", "socket(fileno=os.pipe()[0])", [] {
    int fds[2];
    REQUIRE(::pipe(fds) == 0);
    const thinsock::Descriptor in(fds[0]), out(fds[1]);
    (void)Socket::adopt(fds[0]);
  });
  same("adopting what is not open", "socket(fileno=9999)", [] { (void)Socket::adopt(9999); });
  same("fromfd leaves the descriptor",
       "s = socket(); t = fromfd(s.fileno(), AF_INET, SOCK_STREAM); t.close(); "
       "return s.getsockname()",
       [] {
         Socket s;
         Socket::fromfd(s.fileno()).close();
         return s.getsockname();
       });
  same("a pair has no names", "a, b = pair(); return a.getsockname(), b.getpeername()", [] {
    auto [a, b] = unix_pair();
    return tuple{a.getsockname(), b.getpeername()};
  });
  same("no pair over IPv4", "socketpair(AF_INET)", [] { thinsock::socketpair(AF_INET); });
}

TEST_CASE("descriptors are kept as in Python", "[python][socket]") {
  same("they are not inherited",
       "a, b = tcp_pair(); return [s.get_inheritable() for s in (a, b, a.dup(), *pair())]", [] {
         auto [a, b] = tcp_pair();
         auto [c, d] = unix_pair();
         return tuple{a.get_inheritable(), b.get_inheritable(), a.dup().get_inheritable(),
                      c.get_inheritable(), d.get_inheritable()};
       });
  same("unless they are told to be",
       "s = socket(); s.set_inheritable(True); return s.get_inheritable()", [] {
         Socket s;
         s.set_inheritable(true);
         return s.get_inheritable();
       });
  same("detach leaves none",
       "s = socket(); fd = s.detach(); close(fd); return fd >= 0, s.detach(), s.fileno()", [] {
         Socket s;
         const thinsock::Descriptor fd(s.detach());
         return tuple{fd.fileno() >= 0, s.detach(), s.fileno()};
       });
  same("close may be repeated", "s = closed(); s.close(); return s.fileno()", [] {
    Socket s = closed();
    s.close();
    return s.fileno();
  });
  same("closed: recv", "closed().recv(1)", [] { closed().recv(1); });
  same("closed: recv of nothing", "return closed().recv(0)", [] { return closed().recv(0); });
  same("closed: sendall", "closed().sendall(b'x')", [] { closed().sendall("x"); });
  same("closed: accept", "closed().accept()", [] { (void)closed().accept(); });
  same("closed: getsockname", "closed().getsockname()", [] { closed().getsockname(); });
  same("closed: listen", "closed().listen()", [] { closed().listen(); });
  same("closed: shutdown", "closed().shutdown(SHUT_RDWR)", [] { closed().shutdown(SHUT_RDWR); });
  same("closed: connect_ex", "return closed().connect_ex(('127.0.0.1', 1))", [] {
    return closed().connect_ex({"127.0.0.1", 1});
  });
  same("closed: settimeout", "closed().settimeout(1)", [] { closed().settimeout(1s); });
  same("closed: dup", "closed().dup()", [] { (void)closed().dup(); });
  same("a duplicate has the timeout", "return pair()[0].dup().gettimeout()",
       [] { return unix_pair().client.dup().gettimeout(); });
}

TEST_CASE("timeouts are as in Python", "[python][timeout]") {
  constexpr auto settled = [](thinsock::Timeout timeout) {
    Socket s;
    s.settimeout(timeout);
    return tuple{s.gettimeout(), s.getblocking()};
  };
  using Seconds = std::chrono::duration<double>;
  const char* const get = "return s.gettimeout(), s.getblocking()";
  const auto set = [&](const char* name, const char* value, thinsock::Timeout timeout) {
    const std::string body = "s = socket(); s.settimeout("s + value + "); " + get;
    same(name, body, [&] { return settled(timeout); });
  };
  set("none", "None", nullopt);
  set("zero", "0", 0s);
  set("a fraction of a second", "2.5", 2500ms);
  set("a picosecond rounds up", "1e-12", Seconds(1e-12));
  set("ten years", "315360000", 315360000s);
  same("negative", "socket().settimeout(-1)", [] { Socket().settimeout(-1s); });
  same("a little negative", "socket().settimeout(-1e-12)",
       [] { Socket().settimeout(Seconds(-1e-12)); });
  same("not a number", "socket().settimeout(float('nan'))",
       [] { Socket().settimeout(Seconds(std::nan(""))); });
  same("infinite", "socket().settimeout(float('inf'))",
       [] { Socket().settimeout(Seconds(std::numeric_limits<double>::infinity())); });
  same("setblocking", "s = socket(); s.setblocking(False); return s.gettimeout()", [] {
    Socket s;
    s.setblocking(false);
    return s.gettimeout();
  });
  same("an accepted socket does not take the listener's",
       "l = listener(); c = socket(); c.connect(l.getsockname()); a, _ = l.accept(); "
       "return a.gettimeout(), a.getblocking()",
       [] {
         Socket l = listener(), c;
         c.connect(l.getsockname());
         auto [a, address] = l.accept();
         return tuple{a.gettimeout(), a.getblocking()};
       });
  same("new and accepted sockets take the default",
       "l = listener(); setdefaulttimeout(3); c = socket(); c.connect(l.getsockname()); "
       "a, _ = l.accept(); setdefaulttimeout(None); return a.gettimeout(), c.gettimeout()",
       [] {
         Socket l = listener();
         thinsock::setdefaulttimeout(3s);
         Socket c;
         c.connect(l.getsockname());
         auto [a, address] = l.accept();
         thinsock::setdefaulttimeout(nullopt);
         return tuple{a.gettimeout(), c.gettimeout()};
       });
  same("a negative default", "setdefaulttimeout(-1)", [] { thinsock::setdefaulttimeout(-1s); });
  same("recv times out", "a, b = pair(); a.settimeout(0.01); a.recv(1)", [] {
    auto [a, b] = unix_pair();
    a.settimeout(10ms);
    a.recv(1);
  });
  same("accept times out", "l = listener(); l.settimeout(0.01); l.accept()", [] {
    Socket l = listener();
    l.settimeout(10ms);
    (void)l.accept();
  });
  same("connect times out",
       "l = socket(); keep = full(l, ('127.0.0.1', 0)); c = socket(); c.settimeout(0.05); "
       "c.connect(l.getsockname())",
       [] {
         FullListener l(Address("127.0.0.1", 0));
         Socket c;
         c.settimeout(50ms);
         c.connect(l.name);
       });
  same("recv without blocking", "a, b = pair(); a.setblocking(False); a.recv(1)", [] {
    auto [a, b] = unix_pair();
    a.setblocking(false);
    a.recv(1);
  });
  same("accept without blocking", "l = listener(); l.setblocking(False); l.accept()", [] {
    Socket l = listener();
    l.setblocking(false);
    (void)l.accept();
  });
  same("sendall without room", "a, b = pair(); a.setblocking(False); a.sendall(bytes(1 << 22))",
       [] {
         auto [a, b] = unix_pair();
         a.setblocking(false);
         a.sendall(std::string(1 << 22, '\0'));
       });
}

TEST_CASE("addresses are taken and given as in Python", "[python][address]") {
  same("the wildcard", "return bound(('', 0))[0]", [] { return bound({"", 0}).host(); });
  same("the IPv6 wildcard", "return bound(('', 0), AF_INET6)[0]", [] {
    return bound({"", 0}, AF_INET6).host();
  });
  same("broadcast", "return bound(('<broadcast>', 0), AF_INET, SOCK_DGRAM)[0]", [] {
    return bound({"<broadcast>", 0}, AF_INET, SOCK_DGRAM).host();
  });
  same("nothing bound", "return socket().getsockname(), socket(AF_INET6).getsockname()", [] {
    return tuple{Socket().getsockname(), Socket(AF_INET6).getsockname()};
  });
  same("a port too high", "bound(('127.0.0.1', 65536))", [] { bound({"127.0.0.1", 65536}); });
  same("a port too low", "bound(('127.0.0.1', -1))", [] { bound({"127.0.0.1", -1}); });
  same("a flowinfo too high", "bound(('::1', 0, 0x100000), AF_INET6)", [] {
    bound({"::1", 0, 0x100000}, AF_INET6);
  });
  same("a NUL in the host", "bound(('127.0.0.1\\0', 0))", [] { bound({"127.0.0.1\0"s, 0}); });
  same("IPv6 on an IPv4 socket", "bound(('::1', 0))", [] { bound({"::1", 0}); });
  same("IPv4 on an IPv6 socket", "bound(('127.0.0.1', 0), AF_INET6)", [] {
    bound({"127.0.0.1", 0}, AF_INET6);
  });
  same("a path on an IPv4 socket", "bound('/tmp/x')", [] { bound("/tmp/x"); });
  same("a host on a Unix socket", "bound(('127.0.0.1', 0), AF_UNIX)", [] {
    bound({"127.0.0.1", 0}, AF_UNIX);
  });
  same("an address of nobody here", "bound(('192.0.2.1', 0))", [] { bound({"192.0.2.1", 0}); });
  same("an address in use", "l = refusing(); bound(l.getsockname())", [] {
    const RefusingPort l;
    bound(l.address);
  });
  same("bound twice", "s = refusing(); s.bind(('127.0.0.1', 0))", [] {
    RefusingPort().holder.bind({"127.0.0.1", 0});
  });
  same("a path of 107 bytes", "p = path(107); return len(bound(p, AF_UNIX))",
       [&] { return bound(new_path(107), AF_UNIX).path().size(); });
  same("an abstract name of 108 bytes",
       "p = '\\0%d' % os.getpid(); return len(bound(p.ljust(108, 'x'), AF_UNIX))", [] {
         std::string name = '\0' + std::to_string(::getpid());
         name.resize(108, 'y');
         return bound(name, AF_UNIX).path().size();
       });
  same("a name of the kernel's choice", "n = bound('', AF_UNIX); return len(n), n[:1]", [] {
    const Address name = bound("", AF_UNIX);
    return tuple{name.path().size(), std::string(name.path(), 0, 1)};
  });
  same("a path in no directory", "bound(path() + '/x', AF_UNIX)",
       [&] { bound(new_path() + "/x", AF_UNIX); });
  same("a path that is there", "p = path(); bound(p, AF_UNIX); bound(p, AF_UNIX)", [&] {
    const std::string path = new_path();
    bound(path, AF_UNIX);
    bound(path, AF_UNIX);
  });
  same("a client without a name",
       "l, c, p = unix(), unix(), path(); l.bind(p); l.listen(); c.connect(p); "
       "return l.accept()[1], c.getpeername() == p",
       [&] {
         Socket l = unix_socket(), c = unix_socket();
         const std::string path = new_path();
         l.bind(path);
         l.listen();
         c.connect(path);
         return tuple{l.accept().address, c.getpeername().path() == path};
       });
}

TEST_CASE("connections come about as in Python", "[python][socket][connect]") {
  same("refused", "l = refusing(); socket().connect(l.getsockname())",
       [] { Socket().connect(RefusingPort().address); });
  same("connect_ex, refused", "l = refusing(); return socket().connect_ex(l.getsockname())", [] {
    const RefusingPort l;
    return Socket().connect_ex(l.address);
  });
  same("connect_ex without blocking",
       "l, s = listener(), socket(); s.setblocking(False); "
       "return s.connect_ex(l.getsockname())",
       [] {
         Socket l = listener(), s;
         s.setblocking(false);
         return s.connect_ex(l.getsockname());
       });
  same("connect_ex to a port too high", "socket().connect_ex(('127.0.0.1', 65536))", [] {
    (void)Socket().connect_ex({"127.0.0.1", 65536});
  });
  same("the empty host is this one",
       "l, s = listener(), socket(); s.connect(('', l.getsockname()[1])); "
       "return s.getpeername()[0]",
       [] {
         Socket l = listener(), s;
         s.connect({"", l.getsockname().port()});
         return s.getpeername().host();
       });
  same("connected twice",
       "l, s = listener(), socket(); s.connect(l.getsockname()); s.connect(l.getsockname())", [] {
         Socket l = listener(), s;
         s.connect(l.getsockname());
         s.connect(l.getsockname());
       });
  same("no such path", "unix().connect(path())", [&] { unix_socket().connect(new_path()); });
  same("a path of another type",
       "p = path(); s = socket(AF_UNIX, SOCK_DGRAM); s.bind(p); unix().connect(p)", [&] {
         const std::string path = new_path();
         Socket s(AF_UNIX, SOCK_DGRAM);
         s.bind(path);
         unix_socket().connect(path);
       });
  same("a listener of datagrams", "udp().listen()", [] { named_socket().listen(); });
  same("a negative backlog", "refusing().listen(-1)", [] { RefusingPort().holder.listen(-1); });
  same("accept without listen", "refusing().accept()",
       [] { (void)RefusingPort().holder.accept(); });
  same("no peer", "socket().getpeername()", [] { Socket().getpeername(); });
  same("shutdown without a peer", "socket().shutdown(SHUT_RDWR)",
       [] { Socket().shutdown(SHUT_RDWR); });
  same("shutdown in no direction", "a, b = pair(); a.shutdown(7)",
       [] { unix_pair().client.shutdown(7); });
  same("create_server's options",
       "s = create_server(('::1', 0), family=AF_INET6); "
       "return s.getsockopt(IPPROTO_IPV6, IPV6_V6ONLY), "
       "s.getsockopt(SOL_SOCKET, SO_REUSEADDR)",
       [] {
         Socket s = thinsock::create_server({"::1", 0}, {.family = AF_INET6});
         return tuple{s.getsockopt(IPPROTO_IPV6, IPV6_V6ONLY),
                      s.getsockopt(SOL_SOCKET, SO_REUSEADDR)};
       });
  same("create_server in use", "l = listener(); create_server(l.getsockname())", [] {
    Socket l = listener();
    (void)thinsock::create_server(l.getsockname());
  });
  same("two families on IPv4", "create_server(('', 0), dualstack_ipv6=True)", [] {
    (void)thinsock::create_server({"", 0}, {.dualstack_ipv6 = true});
  });
  same("two families", "return has_dualstack_ipv6()",
       [] { return thinsock::has_dualstack_ipv6(); });
  same("create_connection, refused",
       "l = refusing(); create_connection(l.getsockname(), timeout=5)", [] {
         const RefusingPort l;
         (void)thinsock::create_connection(l.address, 5s);
       });
  same("create_connection keeps timeout and source",
       "l = listener(); s = create_connection(l.getsockname(), 5, ('127.0.0.2', 0)); "
       "return s.gettimeout(), s.getsockname()[0]",
       [] {
         Socket l = listener();
         Socket s = thinsock::create_connection(l.getsockname(), 5s, {"127.0.0.2", 0});
         return tuple{s.gettimeout(), s.getsockname().host()};
       });
}

TEST_CASE("options are as in Python", "[python][socket][option]") {
  same("as bytes", "return socket().getsockopt(SOL_SOCKET, SO_LINGER, 8)",
       [] { return Socket().getsockopt(SOL_SOCKET, SO_LINGER, 8); });
  same("as long as they are", "return socket().getsockopt(SOL_SOCKET, SO_TYPE, 100)",
       [] { return Socket().getsockopt(SOL_SOCKET, SO_TYPE, 100); });
  same("set as bytes",
       "s = socket(); s.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 7)); "
       "return s.getsockopt(SOL_SOCKET, SO_LINGER, 8)",
       [] {
         Socket s;
         const int value[] = {1, 7};
         s.setsockopt(SOL_SOCKET, SO_LINGER, value);
         return s.getsockopt(SOL_SOCKET, SO_LINGER, 8);
       });
  same("unknown", "socket().getsockopt(SOL_SOCKET, 999)",
       [] { (void)Socket().getsockopt(SOL_SOCKET, 999); });
  same("too short", "socket().setsockopt(SOL_SOCKET, SO_KEEPALIVE, b'x')",
       [] { Socket().setsockopt(SOL_SOCKET, SO_KEEPALIVE, "x"); });
}
