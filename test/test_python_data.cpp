// Sending, receiving, files, streams and names: as in Python.
#include <netdb.h>

#include <fstream>

#include "python.hpp"
#include "thinsock/message.hpp"

using namespace test;
using namespace std::string_literals;
using std::nullopt;
using std::tuple;
using thinsock::getaddrinfo;

namespace {

thinsock::Descriptor file_with(const std::string& path, std::string_view data) {
  std::ofstream(path) << data;
  return thinsock::Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

}  // namespace

TEST_CASE("bytes travel as in Python", "[python][socket][recv][send]") {
  same("recv of nothing", "a, b = pair(); b.send(b'x'); return a.recv(0), a.recv(1)", [] {
    auto [a, b] = unix_pair();
    b.send("x");
    return tuple{a.recv(0), a.recv(1)};
  });
  same("the end", "a, b = pair(); b.close(); return a.recv(9), a.recv(9)", [] {
    auto [a, b] = unix_pair();
    b.close();
    return tuple{a.recv(9), a.recv(9)};
  });
  same("shut down for writing", "a, b = pair(); a.shutdown(SHUT_WR); a.send(b'x')", [] {
    auto [a, b] = unix_pair();
    a.shutdown(SHUT_WR);
    a.send("x");
  });
  const std::string reset_one =
      "a, b = tcp_pair(); b.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0)); "
      "b.close(); ";
  const auto after_reset = [] {
    auto [a, b] = tcp_pair();
    reset(std::move(b));
    return std::move(a);
  };
  same("reset", reset_one + "a.recv(1)", [&] { after_reset().recv(1); });
  same("no peer after a reset", reset_one + "a.getpeername()",
       [&] { after_reset().getpeername(); });
  same("the peer is gone", "a, b = pair(); b.close(); a.sendall(b'x')", [] {
    auto [a, b] = unix_pair();
    b.close();
    a.sendall("x");
  });
  same("sendall to nobody", "patient(socket()).sendall(b'')",
       [] { patient(Socket()).sendall(""); });
  same("recv from nobody", "patient(socket()).recv(1)", [] { patient(Socket()).recv(1); });
  same("an empty datagram",
       "a, b = pair(SOCK_DGRAM); n = a.send(b''); a.send(b'x'); "
       "return n, b.recv(9), b.recv(9)",
       [] {
         auto [a, b] = unix_pair(SOCK_DGRAM);
         const std::size_t n = a.send("");
         a.send("x");
         return tuple{n, b.recv(9), b.recv(9)};
       });
  same("recvfrom of nothing takes the datagram",
       "a, b = pair(SOCK_DGRAM); a.send(b'one'); a.send(b'two'); "
       "return b.recvfrom(0)[0], b.recv(9)",
       [] {
         auto [a, b] = unix_pair(SOCK_DGRAM);
         a.send("one");
         a.send("two");
         return tuple{b.recvfrom(0).data, b.recv(9)};
       });
  same("a datagram is cut",
       "a, b = pair(SOCK_DGRAM); a.send(b'hello'); a.send(b'x'); return b.recv(3), b.recv(3)", [] {
         auto [a, b] = unix_pair(SOCK_DGRAM);
         a.send("hello");
         a.send("x");
         return tuple{b.recv(3), b.recv(3)};
       });
  same("MSG_TRUNC tells the true length",
       "a, b = pair(SOCK_DGRAM); a.send(b'hello'); return b.recv_into(bytearray(2), 2, "
       "MSG_TRUNC)",
       [] {
         auto [a, b] = unix_pair(SOCK_DGRAM);
         a.send("hello");
         char buffer[2];
         return b.recv_into(buffer, MSG_TRUNC);
       });
  same("MSG_PEEK", "a, b = pair(); a.send(b'x'); return b.recv(9, MSG_PEEK), b.recv(9)", [] {
    auto [a, b] = unix_pair();
    a.send("x");
    return tuple{b.recv(9, MSG_PEEK), b.recv(9)};
  });
  same("recv_into no room", "a, b = pair(); return a.recv_into(bytearray(0))", [] {
    auto [a, b] = unix_pair();
    return a.recv_into({nullptr, 0});
  });
  same("no sender on a stream",
       "a, b = tcp_pair(); a.send(b'x'); c, d = pair(); c.send(b'y'); "
       "return b.recvfrom(9), d.recvfrom(9)",
       [] {
         auto [a, b] = tcp_pair();
         a.send("x");
         auto [c, d] = unix_pair();
         c.send("y");
         auto [data, sender] = b.recvfrom(9);
         auto [more, other] = d.recvfrom(9);
         return tuple{tuple{data, sender}, tuple{more, other}};
       });
  same("a datagram too long", "u = udp(); u.sendto(bytes(65508), u.getsockname())", [] {
    Socket u = named_socket();
    u.sendto(std::string(65508, '\0'), u.getsockname());
  });
  same("a stream needs no address", "a, b = tcp_pair(); return a.sendto(b'x', b.getsockname())",
       [] {
         auto [a, b] = tcp_pair();
         return a.sendto("x", b.getsockname());
       });
  same("nobody takes a datagram",
       "u, r = udp(), udp(); u.connect(r.getsockname()); r.close(); u.send(b'x'); "
       "return u.recv(1)",
       [] {
         Socket u = named_socket(), r = named_socket();
         u.connect(r.getsockname());
         r.close();
         u.send("x");
         return u.recv(1);
       });
  same("gather and scatter",
       "a, b = pair(); n = a.sendmsg([b'ab', b'', b'cde']); x, y = bytearray(1), bytearray(9);"
       " m = b.recvmsg_into([x, y]); return n, m, x, y[:4]",
       [] {
         auto [a, b] = unix_pair();
         const std::size_t n = a.sendmsg({"ab", "", "cde"});
         char x[1], y[9];
         const auto m = b.recvmsg_into({x, y});
         return tuple{n, tuple{m.size, std::vector<int>(), m.flags, m.address}, std::string(x, 1),
                      std::string(y, 4)};
       });
  same("recvmsg tells what was cut",
       "a, b = pair(SOCK_DGRAM); a.send(b'hello'); return b.recvmsg(2)[::2]", [] {
         auto [a, b] = unix_pair(SOCK_DGRAM);
         a.send("hello");
         const auto m = b.recvmsg(2);
         return tuple{m.data, m.flags};
       });
  same("descriptors beyond maxfds",
       "a, b = pair(); send_fds(a, [b'x'], [a.fileno()] * 3); m = recv_fds(b, 9, 2); "
       "return m[0], len(m[1]), m[2] & MSG_CTRUNC",
       [] {
         auto [a, b] = unix_pair();
         thinsock::send_fds(a, {"x"}, {a.fileno(), a.fileno(), a.fileno()});
         const auto m = thinsock::recv_fds(b, 9, 2);
         return tuple{m.data, m.fds.size(), m.flags & MSG_CTRUNC};
       });
}

TEST_CASE("sendfile sends as in Python", "[python][socket][sendfile]") {
  const auto send = [&](const char* name, const char* arguments, std::uint64_t offset,
                        std::optional<std::uint64_t> count) {
    const auto body = "a, b = pair(); f = file(b'0123456789'); n = a.sendfile(f"s + arguments +
                      "); a.close(); return n, b.recv(99)";
    same(name, body, [&] {
      auto [a, b] = unix_pair();
      const std::size_t n = a.sendfile(file_with(new_path(), "0123456789").fileno(), offset, count);
      a.close();
      return tuple{n, b.recv(99)};
    });
  };
  send("all of it", "", 0, nullopt);
  send("from an offset", ", 4", 4, nullopt);
  send("some of it", ", 4, 3", 4, 3);
  send("more than there is", ", 4, 99", 4, 99);
  send("beyond the end", ", 99", 99, nullopt);
  same("nothing in it", "a, b = pair(); return a.sendfile(file(b''))", [&] {
    auto [a, b] = unix_pair();
    return a.sendfile(file_with(new_path(), "").fileno());
  });
  same("datagrams", "a, b = pair(SOCK_DGRAM); a.sendfile(file(b'x'))", [&] {
    auto [a, b] = unix_pair(SOCK_DGRAM);
    a.sendfile(file_with(new_path(), "x").fileno());
  });
  same("without blocking", "a, b = pair(); a.setblocking(False); a.sendfile(file(b'x'))", [&] {
    auto [a, b] = unix_pair();
    a.setblocking(false);
    a.sendfile(file_with(new_path(), "x").fileno());
  });
}

TEST_CASE("makefile reads and writes as in Python", "[python][stream]") {
  same("lines",
       "a, b = pair(); a.sendall(b'one\\ntwo'); a.close(); f = b.makefile('rb'); "
       "return f.readline(), f.readline(), f.readline()",
       [] {
         auto [a, b] = unix_pair();
         a.sendall("one\ntwo");
         a.close();
         auto f = b.makefile("rb");
         const std::string one = f.readline(), two = f.readline();
         return tuple{one, two, f.readline()};
       });
  same("a limit", "a, b = pair(); a.sendall(b'one\\n'); return b.makefile('rb').readline(2)", [] {
    auto [a, b] = unix_pair();
    a.sendall("one\n");
    return b.makefile("rb").readline(2);
  });
  same("the connection outlives its socket",
       "a, b = pair(); f = a.makefile('wb'); a.close(); f.write(b'x'); f.close(); "
       "return b.recv(9), b.recv(9)",
       [] {
         auto [a, b] = unix_pair();
         auto f = a.makefile("wb");
         a.close();
         f << 'x';
         f.close();
         return tuple{b.recv(9), b.recv(9)};
       });
  same("the socket outlives its file",
       "a, b = pair(); a.makefile('rb').close(); a.send(b'x'); return b.recv(9)", [] {
         auto [a, b] = unix_pair();
         a.makefile("rb").close();
         a.send("x");
         return b.recv(9);
       });
  same("a mode that is none", "a, b = pair(); a.makefile('x')",
       [] { unix_pair().client.makefile("x"); });
}

TEST_CASE("names resolve as in Python", "[python][resolve]") {
  same("a numeric host", "return getaddrinfo('127.0.0.1', 80)",
       [] { return getaddrinfo("127.0.0.1", 80); });
  same("an IPv6 one with its name",
       "return getaddrinfo('::1', '80', 0, SOCK_STREAM, 0, AI_CANONNAME)",
       [] { return getaddrinfo("::1", "80", 0, SOCK_STREAM, 0, AI_CANONNAME); });
  same("the wildcard", "return getaddrinfo(None, 0, AF_INET6, SOCK_DGRAM, 0, AI_PASSIVE)",
       [] { return getaddrinfo(nullopt, 0, AF_INET6, SOCK_DGRAM, 0, AI_PASSIVE); });
  same("neither host nor port", "getaddrinfo(None, None)", [] { getaddrinfo(nullopt, nullopt); });
  same("an empty host", "getaddrinfo('', 80)", [] { getaddrinfo("", 80); });
  same("no such service", "getaddrinfo('127.0.0.1', 'no-such')",
       [] { getaddrinfo("127.0.0.1", "no-such"); });
  same("no such family", "getaddrinfo('127.0.0.1', 80, 99)",
       [] { getaddrinfo("127.0.0.1", 80, 99); });
  same("no such type", "getaddrinfo('127.0.0.1', 80, 0, 99)",
       [] { getaddrinfo("127.0.0.1", 80, 0, 99); });
  same("a name where a number is asked", "getaddrinfo('localhost', 80, 0, 0, 0, 4)",
       [] { getaddrinfo("localhost", 80, 0, 0, 0, AI_NUMERICHOST); });
  same("getnameinfo", "return getnameinfo(('::1', 65000), NI_NUMERICHOST | NI_NUMERICSERV)", [] {
    const auto [host, service] =
        thinsock::getnameinfo({"::1", 65000}, NI_NUMERICHOST | NI_NUMERICSERV);
    return tuple{host, service};
  });
  same("getnameinfo of a name", "getnameinfo(('localhost', 80), 0)", [] {
    thinsock::getnameinfo({"localhost", 80});
  });
  same("getnameinfo of nothing", "getnameinfo(('', 80), 0)", [] {
    thinsock::getnameinfo({"", 80});
  });
  same("getnameinfo of broadcast", "getnameinfo(('<broadcast>', 80), 0)", [] {
    thinsock::getnameinfo({"<broadcast>", 80});
  });
  same("gethostbyname", "return [gethostbyname(h) for h in ('', '127.1', '<broadcast>')]", [] {
    return tuple{thinsock::gethostbyname(""), thinsock::gethostbyname("127.1"),
                 thinsock::gethostbyname("<broadcast>")};
  });
  same("gethostbyname of IPv6", "gethostbyname('::1')", [] { thinsock::gethostbyname("::1"); });
  same("gethostbyname_ex", "return gethostbyname_ex('localhost')", [] {
    const auto [name, aliases, addresses] = thinsock::gethostbyname_ex("localhost");
    return tuple{name, aliases, addresses};
  });
  same("gethostbyname_ex of nothing", "gethostbyname_ex('')",
       [] { thinsock::gethostbyname_ex(""); });
  same("gethostbyname_ex of no host", "gethostbyname_ex('256.0.0.1')",
       [] { thinsock::gethostbyname_ex("256.0.0.1"); });
  same("gethostbyaddr", "return gethostbyaddr('127.0.0.1')", [] {
    const auto [name, aliases, addresses] = thinsock::gethostbyaddr("127.0.0.1");
    return tuple{name, aliases, addresses};
  });
  same("gethostname", "return gethostname()", [] { return thinsock::gethostname(); });
  same("getfqdn", "return getfqdn('127.0.0.1')", [] { return thinsock::getfqdn("127.0.0.1"); });
  same("getfqdn of no host", "return getfqdn('<x>')", [] { return thinsock::getfqdn("<x>"); });
  if (::getservbyname("http", "tcp")) {  // Some systems have no /etc/services.
    same("getservbyname", "return getservbyname('http'), getservbyport(512, 'udp')", [] {
      return tuple{thinsock::getservbyname("http"), thinsock::getservbyport(512, "udp")};
    });
  }
  same("getservbyport too high", "getservbyport(65536)", [] { thinsock::getservbyport(65536); });
  same("if_nameindex", "return if_nameindex()", [] {
    std::vector<tuple<unsigned, std::string>> all;
    for (const auto& [index, name] : thinsock::if_nameindex()) all.emplace_back(index, name);
    return all;
  });
  same("no such interface", "if_indextoname(0)", [] { thinsock::if_indextoname(0); });
}

TEST_CASE("addresses are packed as in Python", "[python][resolve][inet]") {
  same("inet_aton", "return [inet_aton(a) for a in ('1', '1.2.3', '0x7f.1', '1.2.3.4 foo')]", [] {
    using thinsock::inet_aton;
    return tuple{inet_aton("1"), inet_aton("1.2.3"), inet_aton("0x7f.1"), inet_aton("1.2.3.4 foo")};
  });
  same("inet_ntoa", "return inet_ntoa(bytes([1, 2, 3, 4]))",
       [] { return thinsock::inet_ntoa("\1\2\3\4"); });
  same("inet_pton", "return inet_pton(AF_INET6, '::ffff:1.2.3.4')",
       [] { return thinsock::inet_pton(AF_INET6, "::ffff:1.2.3.4"); });
  same("inet_pton of no family", "inet_pton(AF_UNIX, 'x')",
       [] { thinsock::inet_pton(AF_UNIX, "x"); });
  same("inet_pton with a NUL", "inet_pton(AF_INET, '127.0.0.1\\0')",
       [] { thinsock::inet_pton(AF_INET, "127.0.0.1\0"s); });
  same("inet_ntop", "return inet_ntop(AF_INET6, bytes(15) + b'x')",
       [] { return thinsock::inet_ntop(AF_INET6, std::string(15, '\0') + 'x'); });
  same("inet_ntop of the wrong size", "inet_ntop(AF_INET6, b'1234')",
       [] { thinsock::inet_ntop(AF_INET6, "1234"); });
}
