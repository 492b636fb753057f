// Messages: many buffers in one call, ancillary data, and descriptors that are passed on.
#include "thinsock/message.hpp"

#include <fcntl.h>
#include <netinet/in.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <future>
#include <optional>
#include <string_view>

#include "support.hpp"

using namespace test;
using namespace std::string_literals;
using std::errc;
using thinsock::Address;
using thinsock::Ancillary;
using thinsock::ConstBuffer;
using thinsock::Descriptor;
using thinsock::Error;
using thinsock::Message;
using thinsock::MutableBuffer;
using thinsock::TimeoutError;

namespace {

// The read end of a pipe that holds the text.
Descriptor readable(std::string_view text) {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const Descriptor write_end(ends[1]);
  REQUIRE(::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  return Descriptor(ends[0]);
}

std::string text_of(const Descriptor& fd) {
  char text[64];
  const ssize_t size = ::read(fd.fileno(), text, sizeof text);
  return size < 0 ? std::strerror(errno) : std::string(text, static_cast<std::size_t>(size));
}

// Sends until the receiver's queue is full.
void fill(Socket& sk, const thinsock::AddressLike& address) {
  const auto send_on = [&] {
    while (true) sk.sendmsg({"full"}, {}, MSG_DONTWAIT, address);
  };
  REQUIRE_THROWS_MATCHES(send_on(), Error, Code(errc::operation_would_block));
}

// Runs the script in Python, where `s` is this end of a pair, and returns what it prints.
std::string python(Socket& end, const std::string& script) {
  end.set_inheritable(true);
  const std::string command =
      "python3 -c 'import os, socket\ns = socket.socket(fileno=" + std::to_string(end.fileno()) +
      ")\ns.settimeout(5)\n" + script + "'";
  FILE* pipe = ::popen(command.c_str(), "re");
  REQUIRE(pipe != nullptr);
  std::string printed(256, '\0');
  printed.resize(std::fread(printed.data(), 1, printed.size(), pipe));
  REQUIRE(::pclose(pipe) == 0);
  return printed;
}

}  // namespace

TEST_CASE("a Descriptor closes what it owns", "[message][descriptor]") {
  Descriptor owner = readable("x");
  const int fd = owner.fileno();
  SECTION("at its end") { const Descriptor last = std::move(owner); }
  SECTION("when closed") { owner.close(); }
  SECTION("when another is moved into it") { owner = Descriptor(); }
  REQUIRE(owner.fileno() == -1);
  REQUIRE_FALSE(is_open(fd));
}

TEST_CASE("a detached descriptor is the caller's", "[message][descriptor]") {
  Descriptor owner = readable("x");
  const int fd = owner.detach();
  REQUIRE(owner.fileno() == -1);
  owner.close();
  REQUIRE(is_open(fd));
  ::close(fd);
}

TEST_CASE("Ancillary::as refuses bytes that are fewer than the struct's", "[message][ancillary]") {
  const int value = 7;
  const Ancillary item(IPPROTO_IP, IP_TTL, {&value, sizeof value});
  REQUIRE_THROWS_AS(item.as<ucred>(), std::invalid_argument);
  REQUIRE(item.as<int>() == 7);
}

TEST_CASE("Message::get gives the first such item that came whole", "[message][ancillary]") {
  const int values[] = {7, 8};
  Message message;
  message.ancdata.emplace_back(IPPROTO_IP, IP_TTL, ConstBuffer(values, 3));
  REQUIRE_FALSE(message.get<int>(IPPROTO_IP, IP_TTL));
  for (const int& value : values) {
    message.ancdata.emplace_back(IPPROTO_IP, IP_TTL, ConstBuffer(&value, sizeof value));
  }
  REQUIRE(message.get<int>(IPPROTO_IP, IP_TTL) == 7);
  REQUIRE_FALSE(message.get<int>(IPPROTO_IP, IP_TOS));
  REQUIRE_FALSE(message.get<int>(IPPROTO_IPV6, IP_TTL));
}

TEST_CASE("sendmsg sends many buffers as one, in their order", "[message][sendmsg]") {
  Pair pair = any_pair();
  REQUIRE(pair.client.sendmsg({"He", "", "l\0lo"s, std::string("!")}) == 7);
  REQUIRE(pair.server.recv(1024) == "Hel\0lo!"s);
}

TEST_CASE("sendmsg of no buffers sends an empty message", "[message][sendmsg]") {
  Pair pair = message_pair();
  REQUIRE(pair.client.sendmsg({}) == 0);
  REQUIRE(pair.client.send("next") == 4);
  REQUIRE(pair.server.recvmsg(16).data.empty());
  REQUIRE(pair.server.recvmsg(16).data == "next");
}

TEST_CASE("sendmsg of no buffers sends nothing on a stream", "[message][sendmsg]") {
  Pair pair = stream_pair();
  REQUIRE(pair.client.sendmsg({}) == 0);
  REQUIRE_THROWS_MATCHES(pair.server.recvmsg(1, 0, MSG_DONTWAIT), Error,
                         Code(errc::operation_would_block));
}

TEST_CASE("1024 buffers go and come in one message", "[message][sendmsg][recvmsg]") {
  Pair pair = unix_pair(SOCK_DGRAM);
  const std::string data = pattern(1024);
  std::string received(1024, '\0');
  const auto singly = [](auto& from, auto kind) {
    std::vector<decltype(kind)> parts;
    for (auto& c : from) parts.emplace_back(&c, 1);
    return parts;
  };
  REQUIRE(pair.client.sendmsg(singly(data, ConstBuffer(nullptr, 0))) == 1024);
  REQUIRE(pair.server.recvmsg_into(singly(received, MutableBuffer(nullptr, 0))).size == 1024);
  REQUIRE(received == data);
}

TEST_CASE("more than 1024 buffers are refused before any call", "[message][sendmsg][recvmsg]") {
  const auto size = GENERATE(std::size_t(1025), std::size_t(2000));
  Pair pair = unix_pair();
  Socket closed = patient(Socket());
  closed.close();
  char byte = 'x';
  const std::vector<ConstBuffer> out(size, {&byte, 1});
  const std::vector<MutableBuffer> in(size, {&byte, 1});
  REQUIRE_THROWS_AS(closed.sendmsg(out), std::invalid_argument);
  REQUIRE_THROWS_AS(closed.sendall(out), std::invalid_argument);
  REQUIRE_THROWS_AS(closed.recvmsg_into(in), std::invalid_argument);
  REQUIRE_THROWS_AS(pair.client.sendmsg(out), std::invalid_argument);
  REQUIRE(pair.client.sendmsg({"only this"}) == 9);
  REQUIRE_THROWS_AS(pair.server.recvmsg_into(in), std::invalid_argument);
  REQUIRE(pair.server.recvmsg(64).data == "only this");
}

TEST_CASE("sendmsg reaches the address, and recvmsg names the sender", "[message][sendmsg]") {
  const int family = GENERATE(AF_INET, AF_INET6, AF_UNIX);
  Socket sender = named_socket(family), receiver = named_socket(family);
  REQUIRE(sender.sendmsg({"to ", "you"}, {}, 0, receiver.getsockname()) == 6);
  const Message message = receiver.recvmsg(64);
  REQUIRE(message.data == "to you");
  REQUIRE(message.address == sender.getsockname());
  REQUIRE(receiver.sendmsg({"back"}, {}, 0, message.address) == 4);
  REQUIRE(sender.recvmsg(64).address == receiver.getsockname());
}

TEST_CASE("sendmsg takes a path and a host as an address", "[message][sendmsg]") {
  SECTION("path") {
    const TempDir dir;
    Socket receiver = patient(Socket(AF_UNIX, SOCK_DGRAM));
    receiver.bind(dir / "sk");
    patient(Socket(AF_UNIX, SOCK_DGRAM)).sendmsg({"x"}, {}, 0, dir / "sk");
    const Message message = receiver.recvmsg(1);
    REQUIRE(message.data == "x");
    REQUIRE(message.address.size() == 0);
  }
  SECTION("host") {
    Socket receiver = named_socket();
    named_socket().sendmsg({"x"}, {}, 0, {"127.0.0.1", receiver.getsockname().port()});
    REQUIRE(receiver.recvmsg(1).data == "x");
  }
}

TEST_CASE("an empty Address leaves sendmsg the connected peer", "[message][sendmsg]") {
  Pair pair = unix_pair(SOCK_DGRAM);
  REQUIRE(pair.client.sendmsg({"x"}, {}, 0, Address()) == 1);
  REQUIRE(pair.server.recv(1) == "x");
}

TEST_CASE("sendmsg refuses another family's address", "[message][sendmsg]") {
  Socket sk = named_socket();
  REQUIRE_THROWS_AS(sk.sendmsg({"x"}, {}, 0, "/tmp/sk"), std::invalid_argument);
  REQUIRE_THROWS_AS(sk.sendmsg({"x"}, {}, 0, {"127.0.0.1", 65536}), std::out_of_range);
  REQUIRE(sk.sendmsg({"x"}, {}, 0, sk.getsockname()) == 1);
}

TEST_CASE("sendmsg to a closed peer is an error, not a signal", "[message][sendmsg]") {
  Pair pair = unix_pair();
  pair.server.close();
  REQUIRE_THROWS_MATCHES(pair.client.sendmsg({"x"}), Error, Code(errc::broken_pipe));
}

TEST_CASE("sendmsg to a receiver without room waits until the timeout, idly",
          "[message][sendmsg][timeout]") {
  Socket receiver = named_socket(AF_UNIX);
  Socket sender = patient(Socket(AF_UNIX, SOCK_DGRAM));
  Address address = receiver.getsockname();
  SECTION("named in the call") {}
  SECTION("connected") {
    sender.connect(address);
    address = Address();
  }
  fill(sender, address);
  sender.settimeout(300ms);
  const Milliseconds cpu = cpu_time();
  const Stopwatch watch;
  REQUIRE_THROWS_AS(sender.sendmsg({"x"}, {}, 0, address), TimeoutError);
  CHECK(watch.elapsed() >= 300ms);
  CHECK(watch.elapsed() < 1300ms);
  CHECK(cpu_time() - cpu < 100ms);
  REQUIRE(receiver.recv(16) == "full");
  REQUIRE(sender.sendmsg({"x"}, {}, 0, address) == 1);
}

TEST_CASE("a non-blocking sendmsg fails at once where there is no room", "[message][sendmsg]") {
  Socket receiver = named_socket(AF_UNIX);
  Socket sender = Socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK);
  fill(sender, receiver.getsockname());
  REQUIRE_THROWS_MATCHES(sender.sendmsg({"x"}, {}, 0, receiver.getsockname()), Error,
                         Code(errc::operation_would_block));
}

TEST_CASE("sendmsg passes ancillary data on to the protocol", "[message][sendmsg][ancillary]") {
  SECTION("IP_TTL") {
    Socket sender = named_socket(), receiver = named_socket();
    receiver.setsockopt(IPPROTO_IP, IP_RECVTTL, 1);
    const int ttl = 42;
    sender.sendmsg({"x"}, {{IPPROTO_IP, IP_TTL, {&ttl, sizeof ttl}}}, 0, receiver.getsockname());
    REQUIRE(receiver.recvmsg(1, 64).get<int>(IPPROTO_IP, IP_TTL) == 42);
  }
  SECTION("IPV6_HOPLIMIT") {
    Pair pair = udp_pair(AF_INET6);
    pair.server.setsockopt(IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
    const int hops = 17;
    pair.client.sendmsg({"x"}, {{IPPROTO_IPV6, IPV6_HOPLIMIT, {&hops, sizeof hops}}});
    REQUIRE(pair.server.recvmsg(1, 64).get<int>(IPPROTO_IPV6, IPV6_HOPLIMIT) == 17);
  }
  SECTION("IP_PKTINFO beside IP_TTL") {
    Socket sender = patient(Socket(AF_INET, SOCK_DGRAM)), receiver = named_socket();
    receiver.setsockopt(IPPROTO_IP, IP_RECVTTL, 1);
    in_pktinfo from{};
    from.ipi_spec_dst.s_addr = htonl(INADDR_LOOPBACK + 1);
    const int ttl = 43;
    sender.sendmsg(
        {"x"},
        {{IPPROTO_IP, IP_PKTINFO, {&from, sizeof from}}, {IPPROTO_IP, IP_TTL, {&ttl, sizeof ttl}}},
        0, receiver.getsockname());
    const Message message = receiver.recvmsg(1, 64);
    REQUIRE(message.address.host() == "127.0.0.2");
    REQUIRE(message.get<int>(IPPROTO_IP, IP_TTL) == 43);
  }
}

TEST_CASE("sendmsg reports ancillary data the kernel refuses", "[message][sendmsg][ancillary]") {
  Socket sk = named_socket();
  REQUIRE_THROWS_MATCHES(
      sk.sendmsg({"x"}, {{IPPROTO_IP, IP_PKTINFO, {"short"}}}, 0, sk.getsockname()), Error,
      Code(errc::invalid_argument));
  REQUIRE(sk.sendmsg({"x"}, {}, 0, sk.getsockname()) == 1);
}

TEST_CASE("recvmsg gives the bytes and nothing beside them where nothing is",
          "[message][recvmsg]") {
  Pair pair = any_pair();
  pair.client.send("Hel\0lo!"s);
  const auto [data, ancdata, fds, flags, address, size, pidfd] = pair.server.recvmsg(64, 64);
  REQUIRE(data == "Hel\0lo!"s);
  REQUIRE((ancdata.empty() && fds.empty()));
  REQUIRE((flags & (MSG_TRUNC | MSG_CTRUNC)) == 0);
  REQUIRE(size == 7);
}

TEST_CASE("recvmsg is empty once the peer has closed", "[message][recvmsg]") {
  Pair pair = stream_pair();
  pair.client.close();
  REQUIRE(pair.server.recvmsg(64, 64).size == 0);
  REQUIRE(pair.server.recvmsg(100'000).data.empty());
}

TEST_CASE("recvmsg tells a cut message's true length", "[message][recvmsg]") {
  Pair pair = message_pair();
  pair.client.send("0123456789");
  pair.client.send("next");
  const auto room = GENERATE(std::size_t(0), std::size_t(4), std::size_t(9));
  const Message message = pair.server.recvmsg(room);
  REQUIRE(message.truncated());
  REQUIRE(message.size == 10);
  REQUIRE(message.data == "0123456789"s.substr(0, room));
  REQUIRE_FALSE(message.control_truncated());
  const Message next = pair.server.recvmsg(4);
  REQUIRE(next.data == "next");
  REQUIRE_FALSE(next.truncated());
}

TEST_CASE("recvmsg cuts nothing off a stream", "[message][recvmsg]") {
  Pair pair = stream_pair();
  pair.client.sendall("0123456789");
  const Message first = pair.server.recvmsg(4, 64);
  REQUIRE(first.data == "0123");
  REQUIRE(first.size == 4);
  REQUIRE_FALSE(first.truncated());
  std::string rest(6, '\0');
  REQUIRE(pair.server.recvmsg_into({rest}).size == 6);
  REQUIRE(rest == "456789");
}

TEST_CASE("recvmsg under MSG_PEEK leaves the message", "[message][recvmsg]") {
  Pair pair = any_pair();
  pair.client.send("stays");
  REQUIRE(pair.server.recvmsg(64, 0, MSG_PEEK).data == "stays");
  REQUIRE(pair.server.recvmsg(64).data == "stays");
}

TEST_CASE("recvmsg takes an out-of-band byte and its flag", "[message][recvmsg]") {
  Pair pair = tcp_pair();
  pair.client.send("!", MSG_OOB);
  const Message message = pair.server.recvmsg(1, 0, MSG_OOB);
  REQUIRE(message.data == "!");
  REQUIRE((message.flags & MSG_OOB) != 0);
}

TEST_CASE("recvmsg takes a Unix message beyond 64 KiB whole", "[message][recvmsg]") {
  const int type = GENERATE(SOCK_DGRAM, SOCK_SEQPACKET);
  Pair pair = unix_pair(type);
  const std::string data = pattern(150'000);
  pair.client.set_sendbuf(1 << 20);
  REQUIRE(pair.client.sendmsg({data}) == data.size());
  const Message message = pair.server.recvmsg(1 << 20, 64);
  REQUIRE(message.data == data);
  REQUIRE(message.size == data.size());
  REQUIRE_FALSE(message.truncated());
}

TEST_CASE("recvmsg with much room reports the socket's error", "[message][recvmsg]") {
  // Linux reports the error only once: a recvmsg that first looked at the length would lose it.
  const auto room = GENERATE(std::size_t(64), std::size_t(1 << 20));
  Pair pair = unix_pair(SOCK_SEQPACKET);
  pair.client.send("never read");
  pair.server.close();
  REQUIRE_THROWS_MATCHES(pair.client.recvmsg(room), Error, Code(errc::connection_reset));
}

TEST_CASE("recvmsg_into fills one buffer after the other", "[message][recvmsg_into]") {
  Pair pair = any_pair();
  pair.client.send("0123456789");
  char head[3];
  std::array<char, 2> middle;
  std::string tail(20, '.');
  const Message message = pair.server.recvmsg_into({head, middle, tail});
  REQUIRE(message.size == 10);
  REQUIRE(message.data.empty());
  REQUIRE(std::string(head, 3) + std::string(middle.data(), 2) == "01234");
  REQUIRE(tail == "56789...............");
}

TEST_CASE("recvmsg_into tells a cut message's true length", "[message][recvmsg_into]") {
  Pair pair = message_pair();
  pair.client.send("0123456789");
  char head[3], tail[1];
  SECTION("buffers") {
    const Message message = pair.server.recvmsg_into({head, tail});
    REQUIRE((message.truncated() && message.size == 10));
    REQUIRE(std::string(head, 3) + tail[0] == "0123");
  }
  SECTION("no buffers") {
    const Message message = pair.server.recvmsg_into({});
    REQUIRE((message.truncated() && message.size == 10));
  }
}

TEST_CASE("recvmsg waits until the timeout", "[message][recvmsg][timeout]") {
  Pair pair = GENERATE(true, false) ? tcp_pair() : unix_pair(SOCK_DGRAM);
  pair.server.settimeout(300ms);
  const Stopwatch watch;
  REQUIRE_THROWS_AS(pair.server.recvmsg(64, 64), TimeoutError);
  CHECK(watch.elapsed() >= 300ms);
  CHECK(watch.elapsed() < 1300ms);
  pair.client.send("later");
  REQUIRE(pair.server.recvmsg(64).data == "later");
}

TEST_CASE("recvmsg with much room waits no longer", "[message][recvmsg][timeout]") {
  // A recvmsg that first looked at the length must not wait for the timeout twice.
  Pair pair = unix_pair(SOCK_DGRAM);
  pair.server.settimeout(600ms);
  const Stopwatch watch;
  REQUIRE_THROWS_AS(pair.server.recvmsg(1 << 20), TimeoutError);
  CHECK(watch.elapsed() >= 600ms);
  CHECK(watch.elapsed() < 1150ms);
}

TEST_CASE("signals neither end nor shorten a recvmsg", "[message][recvmsg][timeout]") {
  Pair pair = unix_pair(SOCK_DGRAM);
  const Interrupter interrupter;
  pair.server.settimeout(200ms);
  const Stopwatch watch;
  REQUIRE_THROWS_AS(pair.server.recvmsg(64), TimeoutError);
  CHECK(watch.elapsed() >= 200ms);
  CHECK(watch.elapsed() < 1200ms);
}

TEST_CASE("a blocking recvmsg ends when another thread sends", "[message][recvmsg]") {
  Pair pair = any_pair();
  pair.server.settimeout(std::nullopt);
  const auto sent = std::async(std::launch::async, [&] { pair.client.sendmsg({"now"}); });
  REQUIRE(pair.server.recvmsg(64).data == "now");
}

TEST_CASE("a non-blocking recvmsg fails at once", "[message][recvmsg]") {
  Pair pair = any_pair();
  int flags = 0;
  SECTION("timeout of zero") { pair.server.settimeout(0s); }
  SECTION("MSG_DONTWAIT") { flags = MSG_DONTWAIT; }
  REQUIRE_THROWS_MATCHES(pair.server.recvmsg(64, 0, flags), Error,
                         Code(errc::operation_would_block));
  pair.client.send("x");
  REQUIRE(pair.server.recvmsg(64).data == "x");
}

TEST_CASE("recvmsg_into gives the error beside an empty message", "[message][recvmsg_into]") {
  Pair pair = any_pair();
  std::error_code error;
  char byte;
  const MutableBuffer room(&byte, 1);
  const Message none = pair.server.recvmsg_into({room}, 0, MSG_DONTWAIT, error);
  REQUIRE(error == errc::operation_would_block);
  REQUIRE(none.size == 0);
  REQUIRE(none.address == Address());
  pair.client.sendall("x");
  REQUIRE(pair.server.recvmsg_into({room}, 0, MSG_DONTWAIT, error).size == 1);
  REQUIRE(!error);
  REQUIRE(byte == 'x');
}

TEST_CASE("messages of a closed socket fail with EBADF", "[message][sendmsg][recvmsg]") {
  Socket sk = unix_pair().client;
  sk.close();
  char byte[1];
  const int fd = 0;
  REQUIRE_THROWS_MATCHES(sk.sendmsg({"x"}), Error, Code(errc::bad_file_descriptor));
  REQUIRE_THROWS_MATCHES(sk.recvmsg(1), Error, Code(errc::bad_file_descriptor));
  REQUIRE_THROWS_MATCHES(sk.recvmsg_into({byte}), Error, Code(errc::bad_file_descriptor));
  REQUIRE_THROWS_MATCHES(send_fds(sk, {"x"}, {fd}), Error, Code(errc::bad_file_descriptor));
  REQUIRE_THROWS_MATCHES(recv_fds(sk, 1, 1), Error, Code(errc::bad_file_descriptor));
}

TEST_CASE("recvmsg brings what the internet protocols tell", "[message][recvmsg][ancillary]") {
  SECTION("IPv4") {
    Socket sk = named_socket();
    sk.setsockopt(IPPROTO_IP, IP_PKTINFO, 1);
    sk.setsockopt(IPPROTO_IP, IP_RECVTTL, 1);
    sk.setsockopt(IPPROTO_IP, IP_TTL, 33);
    sk.sendto("x", sk.getsockname());
    const Message message = sk.recvmsg(1, 256);
    const auto info = message.get<in_pktinfo>(IPPROTO_IP, IP_PKTINFO);
    REQUIRE(info);
    REQUIRE(info->ipi_addr.s_addr == htonl(INADDR_LOOPBACK));
    REQUIRE(info->ipi_ifindex > 0);
    REQUIRE(message.get<int>(IPPROTO_IP, IP_TTL) == 33);
  }
  SECTION("IPv6") {
    Socket sk = named_socket(AF_INET6);
    sk.setsockopt(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    sk.setsockopt(IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
    sk.setsockopt(IPPROTO_IPV6, IPV6_UNICAST_HOPS, 34);
    sk.sendto("x", sk.getsockname());
    const Message message = sk.recvmsg(1, 256);
    const auto info = message.get<in6_pktinfo>(IPPROTO_IPV6, IPV6_PKTINFO);
    REQUIRE(info);
    REQUIRE(std::memcmp(&info->ipi6_addr, &in6addr_loopback, sizeof in6addr_loopback) == 0);
    REQUIRE(info->ipi6_ifindex > 0);
    REQUIRE(message.get<int>(IPPROTO_IPV6, IPV6_HOPLIMIT) == 34);
  }
}

TEST_CASE("recvmsg brings the sender's credentials", "[message][recvmsg][ancillary]") {
  const int type = GENERATE(SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET);
  Pair pair = unix_pair(type);
  pair.server.setsockopt(SOL_SOCKET, SO_PASSCRED, 1);
  const ucred own{::getpid(), ::getuid(), ::getgid()};
  SECTION("the kernel's") { pair.client.send("x"); }
  SECTION("given ones") {
    pair.client.sendmsg({"x"}, {{SOL_SOCKET, SCM_CREDENTIALS, {&own, sizeof own}}});
  }
  const auto got = pair.server.recvmsg(1, 64).get<ucred>(SOL_SOCKET, SCM_CREDENTIALS);
  REQUIRE(got);
  REQUIRE((got->pid == own.pid && got->uid == own.uid && got->gid == own.gid));
}

TEST_CASE("descriptors arrive open, in their order and close-on-exec", "[message][send_fds]") {
  const int type = GENERATE(SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET);
  Pair pair = unix_pair(type);
  Descriptor first = readable("first"), second = readable("second");
  REQUIRE(send_fds(pair.client, {"he", "re"}, {first.fileno(), second.fileno()}) == 4);
  REQUIRE(is_open(first.fileno()));
  first.close();
  second.close();
  const Message message = recv_fds(pair.server, 16, 4);
  REQUIRE(message.data == "here");
  REQUIRE(message.ancdata.empty());
  REQUIRE_FALSE(message.control_truncated());
  REQUIRE(message.fds.size() == 2);
  for (const Descriptor& fd : message.fds) CHECK(::fcntl(fd.fileno(), F_GETFD) == FD_CLOEXEC);
  CHECK(text_of(message.fds[0]) == "first");
  CHECK(text_of(message.fds[1]) == "second");
}

TEST_CASE("received descriptors are closed with their Message", "[message][recv_fds]") {
  Pair pair = unix_pair();
  const std::size_t before = open_descriptors();
  send_fds(pair.client, {"x"}, {pair.client.fileno(), 0, 1});
  {
    const Message message = pair.server.recvmsg(1, 64);
    REQUIRE(open_descriptors() == before + 3);
  }
  REQUIRE(open_descriptors() == before);
}

TEST_CASE("the sender's process comes apart from its descriptors", "[message][recv_fds]") {
  constexpr int kPassPidfd = 76;  // SO_PASSPIDFD of Linux 6.5.
  Pair pair = unix_pair();
  const int on = 1;
  if (::setsockopt(pair.server.fileno(), SOL_SOCKET, kPassPidfd, &on, sizeof on) == -1) return;
  const std::size_t before = open_descriptors();
  {
    thinsock::send_fds(pair.client, {{"x"}}, {0, 1});
    const Message message = pair.server.recvmsg(1, 256);
    REQUIRE(message.fds.size() == 2);
    REQUIRE(is_open(message.pidfd.fileno()));
    std::ifstream info("/proc/self/fdinfo/" + std::to_string(message.pidfd.fileno()));
    const std::string text((std::istreambuf_iterator<char>(info)), {});
    REQUIRE_THAT(text, Catch::Contains("Pid:\t" + std::to_string(::getpid()) + '\n'));
  }
  REQUIRE(open_descriptors() == before);
  thinsock::send_fds(pair.client, {{"x"}}, {0});
  REQUIRE(pair.server.recvmsg(1, CMSG_SPACE(sizeof(int))).pidfd.fileno() == -1);
}

TEST_CASE("send_fds of no descriptors sends the bytes", "[message][send_fds]") {
  Pair pair = unix_pair();
  REQUIRE(send_fds(pair.client, {"plain"}, std::vector<int>()) == 5);
  const Message message = recv_fds(pair.server, 16, 1);
  REQUIRE(message.data == "plain");
  REQUIRE(message.fds.empty());
}

TEST_CASE("send_fds heeds address and flags", "[message][send_fds]") {
  Socket sender = named_socket(AF_UNIX), receiver = named_socket(AF_UNIX);
  const Address address = receiver.getsockname();
  send_fds(sender, {"x"}, {0}, 0, address);
  const Message message = recv_fds(receiver, 1, 1);
  REQUIRE(message.fds.size() == 1);
  REQUIRE(message.address == sender.getsockname());
  fill(sender, address);
  REQUIRE_THROWS_MATCHES(send_fds(sender, {"x"}, {0}, MSG_DONTWAIT, address), Error,
                         Code(errc::operation_would_block));
}

TEST_CASE("recv_fds heeds its flags", "[message][recv_fds]") {
  const int type = GENERATE(SOCK_STREAM, SOCK_DGRAM);
  Pair pair = unix_pair(type);
  REQUIRE_THROWS_MATCHES(recv_fds(pair.server, 1, 1, MSG_DONTWAIT), Error,
                         Code(errc::operation_would_block));
  send_fds(pair.client, {"x"}, {readable("peeked").fileno()});
  const std::size_t before = open_descriptors();
  REQUIRE(recv_fds(pair.server, 1, 1, MSG_PEEK).fds.size() == 1);
  REQUIRE(open_descriptors() == before);
  REQUIRE(text_of(recv_fds(pair.server, 1, 1).fds.at(0)) == "peeked");
}

TEST_CASE("a closed descriptor cannot be sent", "[message][send_fds]") {
  Pair pair = unix_pair();
  REQUIRE_THROWS_MATCHES(send_fds(pair.client, {"x"}, {-1}), Error,
                         Code(errc::bad_file_descriptor));
  REQUIRE(pair.client.send("y") == 1);
  REQUIRE(pair.server.recv(16) == "y");
}

TEST_CASE("253 descriptors arrive, 300 are refused", "[message][send_fds]") {
  Pair pair = unix_pair();
  const std::size_t before = open_descriptors();
  REQUIRE_THROWS_MATCHES(send_fds(pair.client, {"x"}, std::vector<int>(300, 0)), Error,
                         Code(errc::invalid_argument));
  REQUIRE(send_fds(pair.client, {"x"}, std::vector<int>(253, 0)) == 1);
  REQUIRE(recv_fds(pair.server, 1, 300).fds.size() == 253);
  REQUIRE(open_descriptors() == before);
}

TEST_CASE("descriptors beyond maxfds are closed, and told", "[message][recv_fds]") {
  const auto room = GENERATE(std::size_t(0), std::size_t(1), std::size_t(2));
  Pair pair = unix_pair();
  const std::size_t before = open_descriptors();
  send_fds(pair.client, {"x"}, {0, 0, 0});
  {
    const Message message = recv_fds(pair.server, 1, room);
    REQUIRE(message.data == "x");
    REQUIRE(message.fds.size() == room);
    REQUIRE(message.control_truncated());
    REQUIRE(open_descriptors() == before + room);
  }
  REQUIRE(open_descriptors() == before);
}

TEST_CASE("descriptors for which the process has no room are told as lost",
          "[message][recv_fds][native]") {
  const auto room = GENERATE(std::size_t(0), std::size_t(2));
  Pair pair = unix_pair();
  REQUIRE_THROWS_AS(pair.server.recvmsg(1, 0, MSG_DONTWAIT), Error);
  const std::size_t before = open_descriptors();
  send_fds(pair.client, {"x"}, {0, 0, 0});
  Message message;
  {
    const DescriptorLimit limit(room);
    message = recv_fds(pair.server, 1, 3);
  }
  REQUIRE(message.data == "x");
  REQUIRE(message.fds.size() == room);
  REQUIRE(message.control_truncated());
  REQUIRE(open_descriptors() == before + room);
  message.fds.clear();
  REQUIRE(open_descriptors() == before);
}

TEST_CASE("ancillary data cut at any byte gives what is whole and leaks nothing",
          "[message][recvmsg][ancillary]") {
  const auto count = GENERATE(std::size_t(1), std::size_t(2), std::size_t(3));
  const bool credentials = GENERATE(false, true);
  const std::size_t head = CMSG_LEN(0), space = credentials ? CMSG_SPACE(sizeof(ucred)) : 0;
  Pair pair = unix_pair();
  pair.server.setsockopt(SOL_SOCKET, SO_PASSCRED, credentials);
  const std::size_t before = open_descriptors();
  for (std::size_t size = 0; size <= space + CMSG_SPACE(4 * count) + 8; ++size) {
    CAPTURE(count, credentials, size);
    send_fds(pair.client, {"x"}, std::vector<int>(count, pair.client.fileno()));
    {
      const Message message = pair.server.recvmsg(1, size);
      const std::size_t left = size < space ? 0 : size - space;
      const std::size_t whole = left < head ? 0 : std::min(count, (left - head) / sizeof(int));
      REQUIRE(message.data == "x");
      REQUIRE(message.fds.size() == whole);
      REQUIRE(message.control_truncated() == (whole < count));
      REQUIRE(open_descriptors() == before + whole);
      for (const Descriptor& fd : message.fds) REQUIRE(is_open(fd.fileno()));
      REQUIRE(message.ancdata.size() == (credentials && size >= head ? 1 : 0));
      for (const Ancillary& item : message.ancdata) {
        REQUIRE((item.level == SOL_SOCKET && item.type == SCM_CREDENTIALS));
        REQUIRE(item.data.size() == std::min(sizeof(ucred), size - head));
      }
      REQUIRE(message.get<ucred>(SOL_SOCKET, SCM_CREDENTIALS).has_value() ==
              (credentials && size >= CMSG_LEN(sizeof(ucred))));
    }
    REQUIRE(open_descriptors() == before);
  }
}

TEST_CASE("descriptors travel to Python and from it", "[message][send_fds][recv_fds]") {
  Pair pair = unix_pair();
  SECTION("to it") {
    send_fds(pair.client, {"two"}, {readable("a").fileno(), readable("b").fileno()});
    REQUIRE(python(pair.server,
                   "data, fds, flags, address = socket.recv_fds(s, 64, 4)\n"
                   "print(data, flags & socket.MSG_CTRUNC, *(os.read(fd, 64) for fd in fds))") ==
            "b'two' 0 b'a' b'b'\n");
  }
  SECTION("from it") {
    REQUIRE(python(pair.server,
                   "r, w = os.pipe()\n"
                   "os.write(w, b\"snake\")\n"
                   "print(socket.send_fds(s, [b\"on\", b\"e\"], [r]))") == "3\n");
    const Message message = recv_fds(pair.client, 64, 4);
    REQUIRE(message.data == "one");
    REQUIRE(message.fds.size() == 1);
    REQUIRE(text_of(message.fds[0]) == "snake");
  }
}
