// Where thinsock differs from Python on purpose, as the manual of names or a header says.
#include <netdb.h>

#include <fstream>

#include "python.hpp"
#include "thinsock/message.hpp"

using namespace test;
using namespace std::string_literals;
using std::tuple;
using thinsock::Address;
using thinsock::getaddrinfo;

namespace {

thinsock::Descriptor four_bytes() {
  const std::string path = new_path();
  std::ofstream(path) << "0123";
  return thinsock::Descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
}

}  // namespace

TEST_CASE("timeouts keep what Python does not promise", "[python][timeout]") {
  differ(
      "connect_ex after a timeout",
      "l = socket(); keep = full(l, ('127.0.0.1', 0)); c = socket(); "
      "c.settimeout(0.05); return c.connect_ex(l.getsockname())",
      "11",
      [] {
        FullListener l(Address("127.0.0.1", 0));
        Socket c;
        c.settimeout(50ms);
        return c.connect_ex(l.name);
      },
      "110");
  differ(
      "a Unix connect to a full backlog",
      "l = socket(AF_UNIX); keep = full(l, path()); c = socket(AF_UNIX); "
      "c.settimeout(0.05); c.connect(l.getsockname())",
      "errno 11",
      [&] {
        FullListener l(new_path(), AF_UNIX);
        Socket c(AF_UNIX);
        c.settimeout(50ms);
        c.connect(l.name);
      },
      "timeout");
  differ(
      "MSG_DONTWAIT under a timeout", "a, b = pair(); a.settimeout(0.01); a.recv(1, MSG_DONTWAIT)",
      "timeout",
      [] {
        auto [a, b] = unix_pair();
        a.settimeout(10ms);
        a.recv(1, MSG_DONTWAIT);
      },
      "errno 11");
  differ(
      "the descriptor under a timeout", "a, b = pair(); return os.get_blocking(a.fileno())", "0",
      [] { return !nonblocking(unix_pair().client); }, "1");
  differ(
      "adopting a non-blocking descriptor",
      "a, b = pair(); a.setblocking(False); return socket(fileno=a.detach()).gettimeout()", "None",
      [] {
        auto [a, b] = unix_pair();
        a.setblocking(false);
        return Socket::adopt(a.detach()).gettimeout();
      },
      "0 ns");
  differ(
      "a file after a timeout",
      "a, b = pair(); a.settimeout(0.01); f = a.makefile('rb'); k = kind(f.readline); "
      "b.send(b'x\\n'); return k, kind(f.readline)",
      "(timeout, errno None)",
      [] {
        auto [a, b] = unix_pair();
        a.settimeout(10ms);
        auto f = a.makefile("rb");
        const std::string nothing = f.readline();
        f.clear();
        b.send("x\n");
        return tuple{nothing, f.readline()};
      },
      "(, x\\x0a)");
}

TEST_CASE("what the kernel would cut or wrap is refused", "[python][address]") {
  differ(
      "a port for getaddrinfo",
      "return [a[4] for a in getaddrinfo('127.0.0.1', 70000, 0, SOCK_STREAM)]",
      "((127.0.0.1, 4464))", [] { return getaddrinfo("127.0.0.1", 70000, 0, SOCK_STREAM); },
      "mistake");
  differ(
      "a negative port for create_connection", "create_connection(('127.0.0.1', -1))",
      "gaierror -8",
      [] {
        (void)thinsock::create_connection({"127.0.0.1", -1});
      },
      "mistake");
  differ(
      "a port for getnameinfo", "return getnameinfo(('127.0.0.1', 65616), 3)[1]", "80",
      [] {
        thinsock::getnameinfo({"127.0.0.1", 65616}, 3);
      },
      "mistake");
  differ(
      "a NUL in a path", "p = path(); return bound(p + '\\0x', AF_UNIX) == p", "1",
      [&] { Socket(AF_UNIX).bind(new_path() + "\0x"s); }, "mistake");
  differ(
      "a path of 108 bytes", "bound(path(108), AF_UNIX)", "errno None",
      [&] { Socket(AF_UNIX).bind(new_path(108)); }, "mistake");
  differ(
      "a datagram with MSG_TRUNC",
      "a, b = pair(SOCK_DGRAM); a.send(b'0123456789'); return len(b.recv(2, MSG_TRUNC))", "10",
      [] {
        auto [a, b] = unix_pair(SOCK_DGRAM);
        a.send("0123456789");
        return b.recv(2, MSG_TRUNC);
      },
      "01");
  differ(
      "the scope of a host", "bound(('fe80::1234%lo', 0), AF_INET6)", "errno 22",
      [] {
        Socket(AF_INET6).bind({"fe80::1234%lo", 0});
      },
      "errno 99");
  differ(
      "a host in full-width digits", "return gethostbyname('\\uff11\\uff12\\uff17.0.0.1')",
      "127.0.0.1",
      [] { return getaddrinfo("\uff11\uff12\uff17.0.0.1", 80, 0, 0, 0, AI_NUMERICHOST); },
      "gaierror -2");
  differ(
      "more buffers than the kernel takes", "pair()[0].sendmsg([b'x'] * 1025)", "errno 90",
      [] {
        const std::vector<thinsock::ConstBuffer> many(1025, "x");
        unix_pair().client.sendmsg(many);
      },
      "mistake");
}

TEST_CASE("descriptors and files are safer than in Python", "[python][socket]") {
  differ(
      "a descriptor that arrives is inherited",
      "a, b = pair(); send_fds(a, [b'x'], [a.fileno()]); fd = recv_fds(b, 9, 1)[1][0]; "
      "i = os.get_inheritable(fd); close(fd); return i",
      "1",
      [] {
        auto [a, b] = unix_pair();
        thinsock::send_fds(a, {"x"}, {a.fileno()});
        const auto message = thinsock::recv_fds(b, 9, 1);
        return !(::fcntl(message.fds.at(0).fileno(), F_GETFD) & FD_CLOEXEC);
      },
      "0");
  differ(
      "sendfile moves the file's position",
      "a, b = pair(); f = file(b'0123'); a.sendfile(f); return f.tell()", "4",
      [&] {
        auto [a, b] = unix_pair();
        const thinsock::Descriptor f = four_bytes();
        a.sendfile(f.fileno());
        return ::lseek(f.fileno(), 0, SEEK_CUR);
      },
      "0");
  differ(
      "sendfile of a pipe",
      "a, b = pair(); r, w = os.pipe(); os.write(w, b'0123'); close(w); "
      "return a.sendfile(os.fdopen(r, 'rb'))",
      "0",
      [] {
        auto [a, b] = unix_pair();
        int ends[2];
        REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
        const thinsock::Descriptor r(ends[0]), w(ends[1]);
        REQUIRE(::write(w.fileno(), "0123", 4) == 4);
        return a.sendfile(r.fileno(), 0, 4);
      },
      "4");
  differ(
      "sendfile of no bytes", "a, b = pair(); a.sendfile(file(b'0123'), 0, 0)", "mistake",
      [&] {
        auto [a, b] = unix_pair();
        return a.sendfile(four_bytes().fileno(), 0, 0);
      },
      "0");
  differ(
      "a descriptor below zero", "socket(fileno=-1)", "mistake", [] { (void)Socket::adopt(-1); },
      "errno 9");
  differ(
      "the protocol of a new socket", "return socket().proto", "0", [] { return Socket().proto(); },
      "6");
}

TEST_CASE("errors have a code where Python's have none", "[python][error]") {
  differ(
      "a timeout's",
      "a, b = pair(); a.settimeout(0.01); e = error_of(lambda: a.recv(1)); return e.errno", "None",
      [] {
        auto [a, b] = unix_pair();
        a.settimeout(10ms);
        std::error_code error;
        char byte[1];
        a.recv_into(byte, error);
        return error;
      },
      "110");
  differ(
      "inet_aton", "inet_aton('x')", "errno None", [] { thinsock::inet_aton("x"); }, "errno 22");
  differ(
      "inet_pton", "inet_pton(AF_INET, 'x')", "errno None",
      [] { thinsock::inet_pton(AF_INET, "x"); }, "errno 22");
  differ(
      "inet_ntoa of the wrong size", "inet_ntoa(b'123')", "errno None",
      [] { thinsock::inet_ntoa("123"); }, "mistake");
  differ(
      "inet_ntop of no family", "inet_ntop(99, b'1234')", "mistake",
      [] { thinsock::inet_ntop(99, "1234"); }, "errno 97");
  differ(
      "no such interface", "if_nametoindex('no-such')", "errno None",
      [] { thinsock::if_nametoindex("no-such"); }, "errno 19");
  differ(
      "no such service", "getservbyname('no-such')", "errno None",
      [] { thinsock::getservbyname("no-such"); }, "gaierror -8");
  differ(
      "no service on a port", "getservbyport(65000)", "errno None",
      [] { thinsock::getservbyport(65000); }, "gaierror -8");
  differ(
      "no such protocol", "getprotobyname('no-such')", "errno None",
      [] { thinsock::getprotobyname("no-such"); }, "gaierror -2");
  differ(
      "broadcast over IPv6", "bound(('<broadcast>', 0), AF_INET6)", "errno None",
      [] {
        Socket(AF_INET6).bind({"<broadcast>", 0});
      },
      "mistake");
  differ(
      "create_server of another family", "create_server(('::1', 0))", "errno -9",
      [] {
        (void)thinsock::create_server({"::1", 0});
      },
      "None");
}
