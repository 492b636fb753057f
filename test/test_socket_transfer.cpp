// What the send and recv families move, and how they fail; test_timing.cpp has how long they wait.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <future>
#include <new>
#include <string_view>
#include <vector>

#include "support.hpp"
#include "thinsock/stream.hpp"

using namespace test;
using namespace std::string_literals;
using Catch::Contains;
using std::errc;
using thinsock::ConstBuffer;
using thinsock::EOFError;
using thinsock::Error;
using thinsock::Timeout;
using thinsock::TimeoutError;

// Every allocation of this program is counted, including those of the library.

static std::atomic<std::size_t> allocated = 0;
static thread_local bool out_of_memory = false;

[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  allocated += size;
  if (out_of_memory) return nullptr;
  return std::malloc(size == 0 ? 1 : size);
}
void* operator new(std::size_t size) {
  if (void* memory = operator new(size, std::nothrow)) return memory;
  throw std::bad_alloc();
}
void* operator new[](std::size_t size) { return operator new(size); }
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }
void operator delete[](void* memory) noexcept { operator delete(memory); }
void operator delete[](void* memory, std::size_t) noexcept { operator delete(memory); }

namespace {

// The most that a receive may allocate in addition to the data.
constexpr std::size_t kLittle = 256 * 1024;

// Makes both ends of the pair non-blocking.
Pair nonblocking(Pair pair) {
  pair.client.settimeout(0s);
  pair.server.settimeout(0s);
  return pair;
}

}  // namespace

TEST_CASE("send moves bytes unchanged and returns their number", "[socket][send]") {
  Pair pair = any_pair();
  REQUIRE(pair.client.send("Hel\0lo!"s) == 7);
  REQUIRE(pair.server.recv(1024) == "Hel\0lo!"s);
}

TEST_CASE("send of no bytes sends nothing on a stream", "[socket][send]") {
  Pair pair = stream_pair();
  REQUIRE(pair.client.send("") == 0);
  REQUIRE_THROWS_MATCHES(pair.server.recv(1, MSG_DONTWAIT), Error,
                         Code(errc::operation_would_block));
}

TEST_CASE("send of no bytes sends an empty message", "[socket][send]") {
  Pair pair = message_pair();
  REQUIRE(pair.client.send("") == 0);
  REQUIRE(pair.client.send("next") == 4);
  REQUIRE(pair.server.recv(1024).empty());
  REQUIRE(pair.server.recv(1024) == "next");
}

TEST_CASE("send takes a part of what has no room", "[socket][send]") {
  Pair pair = stream_pair();
  const std::string data = pattern(32 << 20);
  const std::size_t sent = pair.client.send(data, MSG_DONTWAIT);
  REQUIRE(sent > 0);
  REQUIRE(sent < data.size());
  pair.client.close();
  REQUIRE(rest_of(pair.server) == data.substr(0, sent));
}

TEST_CASE("send to a peer that has gone fails and the process lives", "[socket][send]") {
  Pair pair = stream_pair();
  SECTION("closed") { pair.server.close(); }
  SECTION("reset") { reset(std::move(pair.server)); }
  std::error_code error;
  for (int i = 0; i < 100 && !error; ++i) pair.client.send("x", error);
  REQUIRE((error == errc::broken_pipe || error == errc::connection_reset));
  REQUIRE_THROWS_MATCHES(pair.client.send("x"), Error, Code(errc::broken_pipe));
  REQUIRE_THROWS_MATCHES(pair.client.sendall("x"), Error, Code(errc::broken_pipe));
}

TEST_CASE("send on an unconnected Socket leaves it usable", "[socket][send]") {
  Socket lst = listener(), stream = patient(Socket()), udp = patient(Socket(AF_INET, SOCK_DGRAM));
  REQUIRE_THROWS_MATCHES(stream.send("x"), Error, Code(errc::broken_pipe));
  REQUIRE_THROWS_MATCHES(udp.send("x"), Error, Code(errc::destination_address_required));
  stream.connect(lst.getsockname());
  udp.connect(lst.getsockname());
  REQUIRE(stream.send("x") == 1);
  REQUIRE(udp.send("x") == 1);
}

TEST_CASE("a failed send names the peer", "[socket][send]") {
  Pair pair = udp_pair();
  const std::string peer = pair.server.getsockname().str();
  REQUIRE_THROWS_WITH(pair.client.send(std::string(65508, 'x')), Contains("send " + peer + ": "));
  REQUIRE_THROWS_WITH(pair.client.sendall(std::string(65508, 'x')),
                      Contains("sendall " + peer + ": "));
}

TEST_CASE("send with an error_code clears the code of the call before", "[socket][send]") {
  Pair pair = nonblocking(unix_pair());
  std::error_code error = std::make_error_code(errc::broken_pipe);
  REQUIRE(pair.client.send("abc", error) == 3);
  REQUIRE_FALSE(error);
  while (!error) pair.client.send(pattern(4096), 0, error);
  REQUIRE(error == errc::operation_would_block);
}

TEST_CASE("sendall transfers 8 MiB unchanged", "[socket][sendall]") {
  Pair pair = stream_pair();
  pair.client.settimeout(GENERATE(Timeout(), Timeout(5s)));
  const std::string data = pattern(8 << 20);
  auto received = std::async(std::launch::async, [&] { return rest_of(pair.server); });
  std::error_code error;
  SECTION("throwing") { pair.client.sendall(data); }
  SECTION("with an error_code") { REQUIRE(pair.client.sendall(data, error) == data.size()); }
  pair.client.close();
  REQUIRE(received.get() == data);
  REQUIRE_FALSE(error);
}

TEST_CASE("sendall of no bytes still asks the kernel", "[socket][sendall]") {
  Pair pair = any_pair();
  REQUIRE_NOTHROW(pair.client.sendall(""));
  REQUIRE_THROWS_MATCHES(Socket().sendall(""), Error, Code(errc::broken_pipe));
}

TEST_CASE("a non-blocking sendall tells how much has gone", "[socket][sendall]") {
  Pair pair = nonblocking(stream_pair());
  const std::string data = pattern(32 << 20);
  std::size_t sent = 0;
  SECTION("throwing") {
    try {
      pair.client.sendall(data);
      FAIL("all of it has gone");
    } catch (const Error& error) {
      REQUIRE(error.code() == errc::operation_would_block);
      sent = error.transferred();
    }
  }
  SECTION("with an error_code") {
    std::error_code error;
    sent = pair.client.sendall(data, error);
    REQUIRE(error == errc::operation_would_block);
  }
  REQUIRE(sent > 0);
  pair.client.close();
  pair.server.settimeout(kPatience);
  REQUIRE(rest_of(pair.server) == data.substr(0, sent));
}

TEST_CASE("sendall sends several buffers as one message", "[socket][sendall]") {
  Pair pair = message_pair();
  pair.client.sendall({"He", "", "l\0lo"s, std::string("!")});
  REQUIRE(pair.server.recv(1024) == "Hel\0lo!"s);
}

TEST_CASE("sendall takes several buffers in every form", "[socket][sendall]") {
  Pair pair = unix_pair();
  std::string header = "head", body = "body";
  const ConstBuffer array[] = {header, body};
  const std::vector<ConstBuffer> vector{header, {body.data(), 2}};
  pair.client.sendall({header, body});
  pair.client.sendall(array);
  pair.client.sendall(vector);
  pair.client.sendall({});
  REQUIRE(arrived(pair.server) == "headbodyheadbodyheadbo");
}

TEST_CASE("sendall transfers several buffers unchanged", "[socket][sendall]") {
  Pair pair = stream_pair();
  pair.client.settimeout(GENERATE(Timeout(), Timeout(5s)));
  const std::string data = pattern(8 << 20);
  std::vector<ConstBuffer> parts;
  for (std::size_t at = 0, size = 1; at < data.size(); at += size, size = 2 * size + 1) {
    parts.emplace_back(&data[at], std::min(size, data.size() - at));
    parts.emplace_back(nullptr, 0);
  }
  auto received = std::async(std::launch::async, [&] { return rest_of(pair.server); });
  pair.client.sendall(parts);
  pair.client.close();
  REQUIRE(received.get() == data);
}

TEST_CASE("sendall of several buffers tells how much has gone", "[socket][sendall]") {
  Pair pair = nonblocking(stream_pair());
  const std::string first = pattern(1000), second = pattern(32 << 20);
  std::size_t sent = 0;
  try {
    pair.client.sendall({first, second});
    FAIL("all of it has gone");
  } catch (const Error& error) {
    REQUIRE(error.code() == errc::operation_would_block);
    sent = error.transferred();
  }
  REQUIRE(sent > first.size());
  pair.client.close();
  pair.server.settimeout(kPatience);
  REQUIRE(rest_of(pair.server) == (first + second).substr(0, sent));
}

TEST_CASE("sendall passes its flags on", "[socket][sendall]") {
  Pair pair = tcp_pair();
  pair.client.sendall("urgent", MSG_OOB);
  wait_for(pair.server, POLLPRI);
  REQUIRE(pair.server.recv(1, MSG_OOB) == "t");
}

TEST_CASE("sendto reaches the address and shows the sender's", "[socket][sendto]") {
  const int family = GENERATE(AF_INET, AF_INET6, AF_UNIX);
  Socket from = named_socket(family), to = named_socket(family);
  std::error_code error = std::make_error_code(errc::broken_pipe);
  REQUIRE(from.sendto("one", to.getsockname()) == 3);
  REQUIRE(from.sendto("four", MSG_DONTWAIT, to.getsockname()) == 4);
  REQUIRE(from.sendto("sixsix", to.getsockname(), error) == 6);
  REQUIRE_FALSE(error);
  for (const char* expected : {"one", "four", "sixsix"}) {
    auto [data, addr] = to.recvfrom(1024);
    REQUIRE(data == expected);
    REQUIRE(addr == from.getsockname());
  }
}

TEST_CASE("sendto sends no bytes as an empty datagram", "[socket][sendto]") {
  Socket from = named_socket(), to = named_socket();
  REQUIRE(from.sendto("", to.getsockname()) == 0);
  auto [data, addr] = to.recvfrom(1024);
  REQUIRE(data.empty());
  REQUIRE(addr == from.getsockname());
}

TEST_CASE("sendto refuses what no datagram can hold", "[socket][sendto]") {
  Socket from = named_socket(), to = named_socket();
  const std::string largest = pattern(65507);
  REQUIRE_THROWS_MATCHES(from.sendto(largest + 'x', to.getsockname()), Error,
                         Code(errc::message_size));
  REQUIRE_THROWS_WITH(from.sendto(largest + 'x', to.getsockname()),
                      Contains("sendto " + to.getsockname().str() + ": "));
  REQUIRE(from.sendto(largest, to.getsockname()) == 65507);
  REQUIRE(to.recv(1 << 20) == largest);
}

TEST_CASE("sendto to a path that is not there leaves the Socket usable", "[socket][sendto]") {
  const TempDir dir;
  Socket from = patient(Socket(AF_UNIX, SOCK_DGRAM)), to = named_socket(AF_UNIX);
  std::error_code error;
  REQUIRE_THROWS_WITH(from.sendto("x", dir / "none"), Contains("sendto " + dir / "none" + ": "));
  REQUIRE(from.sendto("x", dir / "none", error) == 0);
  REQUIRE(error == errc::no_such_file_or_directory);
  REQUIRE(from.sendto("x", to.getsockname()) == 1);
}

TEST_CASE("sendto with an error_code tells that a host does not resolve", "[socket][sendto]") {
  Socket sk = named_socket();
  std::error_code error;
  REQUIRE(sk.sendto("x", {"::1", 9}, error) == 0);
  REQUIRE(error.category() == thinsock::resolve_category());
  REQUIRE_THROWS_AS(sk.sendto("x", {"::1", 9}), thinsock::ResolveError);
  REQUIRE_THROWS_AS(sk.sendto("x", {"127.0.0.1", 65536}, error), std::out_of_range);
}

TEST_CASE("sendto to a full Unix queue fails at once if it may not wait", "[socket][sendto]") {
  Socket from = patient(Socket(AF_UNIX, SOCK_DGRAM)), to = named_socket(AF_UNIX);
  from.connect(to.getsockname());
  while (::send(from.fileno(), "x", 1, MSG_DONTWAIT) == 1) continue;
  std::error_code error;
  const Stopwatch watch;
  SECTION("by its timeout") {
    from.settimeout(0s);
    from.sendto("x", to.getsockname(), error);
    REQUIRE(nonblocking(from));
  }
  SECTION("by MSG_DONTWAIT") { from.sendto("x", MSG_DONTWAIT, to.getsockname(), error); }
  REQUIRE(error == errc::operation_would_block);
  REQUIRE(watch.elapsed() < 1000ms);
}

TEST_CASE("UDP tells of a closed port on the next call and stays usable", "[socket][recv]") {
  Pair pair = udp_pair();
  const std::string peer = pair.server.getsockname().str();
  pair.server.close();
  REQUIRE(pair.client.send("x") == 1);
  SECTION("recv") {
    REQUIRE_THROWS_WITH(pair.client.recv(1), Contains("recv " + peer + ": "));
    pair.client.send("x");
    REQUIRE_THROWS_MATCHES(pair.client.recv(1), Error, Code(errc::connection_refused));
  }
  SECTION("send") {
    REQUIRE_THROWS_MATCHES(pair.client.send("x"), Error, Code(errc::connection_refused));
  }
  Socket other = named_socket();
  REQUIRE(pair.client.sendto("x", other.getsockname()) == 1);
  REQUIRE(other.recv(1) == "x");
}

TEST_CASE("recv leaves on a stream what is beyond bufsize", "[socket][recv]") {
  Pair pair = stream_pair();
  pair.client.sendall("abcde");
  REQUIRE(pair.server.recv(2) == "ab");
  REQUIRE(pair.server.recv(1024) == "cde");
}

TEST_CASE("recv cuts a message to bufsize", "[socket][recv]") {
  Pair pair = message_pair();
  pair.client.send("abcde");
  pair.client.send("next");
  REQUIRE(pair.server.recv(2) == "ab");
  REQUIRE(pair.server.recv(1024) == "next");
}

TEST_CASE("recv gives at most 64 KiB of a stream at a time", "[socket][recv]") {
  Pair pair = unix_pair();
  const std::string data = pattern(100'000);
  pair.client.sendall(data);
  REQUIRE(pair.server.recv(1 << 20) == data.substr(0, 65536));
  REQUIRE(pair.server.recv(1 << 20) == data.substr(65536));
}

TEST_CASE("the recv family is empty once the peer has closed", "[socket][recv]") {
  Pair pair = GENERATE(true, false) ? stream_pair() : unix_pair(SOCK_SEQPACKET);
  char buf[8];
  pair.client.send("last");
  pair.client.close();
  REQUIRE(pair.server.recv(1024) == "last");
  REQUIRE(pair.server.recv(1024).empty());
  REQUIRE(pair.server.recv(1 << 20).empty());
  REQUIRE(pair.server.recv_into(buf) == 0);
  REQUIRE(pair.server.recvfrom(1024).data.empty());
  REQUIRE(pair.server.recvfrom_into(buf).size == 0);
}

TEST_CASE("receiving nothing asks the kernel nothing", "[socket][recv]") {
  std::error_code error = std::make_error_code(errc::broken_pipe);
  char buf[1];
  Socket sk;
  SECTION("open") {}
  SECTION("closed") { sk.close(); }
  REQUIRE(sk.recv(0).empty());
  REQUIRE(sk.recv_into({buf, 0}) == 0);
  REQUIRE(sk.recv_into({buf, 0}, error) == 0);
  REQUIRE_FALSE(error);
  REQUIRE(sk.recv_exactly(0).empty());
  REQUIRE_NOTHROW(sk.recv_exactly_into({buf, 0}));
}

TEST_CASE("recv on a listener fails and names it", "[socket][recv]") {
  Socket lst = listener();
  lst.settimeout(GENERATE(Timeout(), Timeout(0s), Timeout(5s)));
  REQUIRE_THROWS_MATCHES(lst.recv(1), Error, Code(errc::not_connected));
  REQUIRE_THROWS_WITH(lst.recv(1), Contains("recv " + lst.getsockname().str() + ": "));
}

TEST_CASE("recv from a peer that has reset the connection fails once", "[socket][recv]") {
  Pair pair = tcp_pair(GENERATE(AF_INET, AF_INET6));
  pair.client.settimeout(GENERATE(Timeout(), Timeout(5s)));
  reset(std::move(pair.server));
  REQUIRE_THROWS_MATCHES(pair.client.recv(1), Error, Code(errc::connection_reset));
  REQUIRE(pair.client.recv(1).empty());
}

TEST_CASE("every transfer on a closed Socket fails with EBADF", "[socket][close]") {
  const thinsock::Address name("127.0.0.1", 9);
  char buf[1];
  Socket sk;
  sk.settimeout(GENERATE(Timeout(), Timeout(0s), Timeout(50ms), Timeout(5s)));
  sk.close();
  const std::function<void()> calls[] = {
      [&] { sk.send("x"); },
      [&] { sk.sendall("x"); },
      [&] { sk.sendto("x", name); },
      [&] { sk.recv(1); },
      [&] { sk.recv_into(buf); },
      [&] { (void)sk.recv_exactly(1); },
      [&] { sk.recv_exactly_into(buf); },
      [&] { sk.recvfrom(1); },
      [&] { sk.recvfrom_into(buf); },
  };
  for (const auto& call : calls) {
    REQUIRE_THROWS_MATCHES(call(), Error, Code(errc::bad_file_descriptor));
  }
}

TEST_CASE("MSG_PEEK leaves the data", "[socket][recv]") {
  Pair pair = any_pair();
  char buf[4] = {};
  pair.client.send("abcd");
  REQUIRE(pair.server.recv(3, MSG_PEEK) == "abc");
  REQUIRE(pair.server.recv_into(buf, MSG_PEEK) == 4);
  REQUIRE(pair.server.recvfrom(1 << 20, MSG_PEEK).data == "abcd");
  REQUIRE(pair.server.recv(1024) == "abcd");
}

TEST_CASE("MSG_DONTWAIT does not wait for the timeout", "[socket][recv]") {
  Pair pair = any_pair();
  std::error_code error;
  char buf[1];
  const Stopwatch watch;
  REQUIRE_THROWS_MATCHES(pair.server.recv(1 << 20, MSG_DONTWAIT), Error,
                         Code(errc::operation_would_block));
  REQUIRE(pair.server.recv_into(buf, MSG_DONTWAIT, error) == 0);
  REQUIRE(error == errc::operation_would_block);
  REQUIRE(watch.elapsed() < 1000ms);
}

TEST_CASE("MSG_WAITALL gives all bytes on a blocking Socket", "[socket][recv]") {
  Pair pair = stream_pair();
  const std::string data = pattern(200'000);
  pair.server.settimeout(std::nullopt);
  auto sender = std::async(std::launch::async, [&] {
    for (std::size_t at = 0; at < data.size(); at += 1000) pair.client.sendall({&data[at], 1000});
    pair.client.close();
  });
  REQUIRE(pair.server.recv(data.size(), MSG_WAITALL) == data);
}

TEST_CASE("MSG_OOB gives the urgent byte", "[socket][recv]") {
  Pair pair = tcp_pair();
  pair.server.settimeout(GENERATE(Timeout(), Timeout(0s), Timeout(5s)));
  pair.client.send("ab!", MSG_OOB);
  wait_for(pair.server, POLLPRI);
  REQUIRE(pair.server.recv(1, MSG_OOB) == "!");
  REQUIRE(pair.server.recv(1024) == "ab");
  REQUIRE_THROWS_MATCHES(pair.server.recv(1, MSG_OOB), Error, Code(errc::invalid_argument));
}

TEST_CASE("MSG_TRUNC gives a message's true length without its bytes", "[socket][recv]") {
  Pair pair = message_pair();
  for (int i = 0; i < 4; ++i) pair.client.send("0123456789");
  char buf[3] = {'a', 'b', 'c'};
  REQUIRE(pair.server.recv(2, MSG_TRUNC) == "01");
  REQUIRE(pair.server.recvfrom(2, MSG_TRUNC).data == "01");
  REQUIRE(pair.server.recv_into({buf, 2}, MSG_TRUNC) == 10);
  REQUIRE(pair.server.recvfrom_into({buf, 2}, MSG_TRUNC).size == 10);
  REQUIRE(std::string(buf, 3) == "01c");
}

TEST_CASE("MSG_TRUNC on TCP shows only zero bytes", "[socket][recv]") {
  Pair pair = tcp_pair();
  const std::size_t size = GENERATE(10, 40'000);
  pair.client.sendall(std::string(size, 'x'));
  for (std::size_t left = size; left > 0;) {
    const std::string data = pair.server.recv(1 << 20, MSG_TRUNC);
    REQUIRE(data == std::string(data.size(), '\0'));
    left -= data.size();
  }
}

TEST_CASE("recv allocates for what comes, not for bufsize", "[socket][recv]") {
  // Unix messages are left out: what does not fit of them is lost, so recv allocates bufsize bytes.
  Pair pair = GENERATE(true, false) ? stream_pair() : udp_pair();
  const std::size_t before = allocated;
  pair.client.send("0123456789");
  REQUIRE(pair.server.recv(100 << 20) == "0123456789");
  pair.client.send("0123456789");
  REQUIRE(pair.server.recvfrom(100 << 20).data == "0123456789");
  REQUIRE(allocated - before < kLittle);
}

TEST_CASE("recv gives a Unix message of any length whole", "[socket][recv]") {
  Pair pair = unix_pair(GENERATE(SOCK_DGRAM, SOCK_SEQPACKET));
  pair.client.setsockopt(SOL_SOCKET, SO_SNDBUF, 1 << 20);
  pair.server.settimeout(GENERATE(Timeout(), Timeout(0s), Timeout(5s)));
  const std::string data = pattern(150'000);
  for (int i = 0; i < 3; ++i) pair.client.send(data);
  REQUIRE(pair.server.recv(1 << 20) == data);
  REQUIRE(pair.server.recv(100'000) == data.substr(0, 100'000));
  REQUIRE(pair.server.recvfrom(1 << 20).data == data);
}

// While one thread looks at the length of a message, the other thread may receive that message.
TEST_CASE("two threads that receive Unix messages get each one whole", "[socket][recv][threads]") {
  Pair pair = unix_pair(SOCK_DGRAM);
  pair.client.setsockopt(SOL_SOCKET, SO_SNDBUF, 1 << 20);
  const std::string data = pattern(200'000);
  std::vector<std::size_t> sent;
  for (std::size_t i = 1; i <= 4000; ++i) sent.push_back(i * 77'777 % data.size());
  const auto sizes_of = [&](const std::function<std::string()>& receive) {
    std::vector<std::size_t> sizes;
    for (std::string message; !(message = receive()).empty();) {
      sizes.push_back(data.starts_with(message) ? message.size() : 0);
    }
    return sizes;
  };
  auto one = std::async(std::launch::async, sizes_of, [&] { return pair.server.recv(1 << 20); });
  auto other =
      std::async(std::launch::async, sizes_of, [&] { return pair.server.recvfrom(1 << 20).data; });
  for (const std::size_t size : sent) pair.client.send({data.data(), size});
  for (int i = 0; i < 2; ++i) pair.client.send("");  // Each of them ends one thread.
  std::vector<std::size_t> received = one.get();
  for (const std::size_t size : other.get()) received.push_back(size);
  std::ranges::sort(received);
  std::ranges::sort(sent);
  REQUIRE((received == sent));
}

TEST_CASE("recv tells an empty message from none", "[socket][recv]") {
  Pair pair = nonblocking(unix_pair(SOCK_DGRAM));
  pair.client.send("");
  REQUIRE(pair.server.recv(1 << 20).empty());
  REQUIRE_THROWS_MATCHES(pair.server.recv(1 << 20), Error, Code(errc::operation_would_block));
}

TEST_CASE("recv_into writes what comes and nothing more", "[socket][recv_into]") {
  Pair pair = any_pair();
  pair.client.send("abc");
  std::string buf = "......";
  SECTION("throwing") { REQUIRE(pair.server.recv_into(buf) == 3); }
  SECTION("with an error_code") {
    std::error_code error = std::make_error_code(errc::broken_pipe);
    REQUIRE(pair.server.recv_into(buf, error) == 3);
    REQUIRE_FALSE(error);
  }
  REQUIRE(buf == "abc...");
}

TEST_CASE("recv_into a buffer without room leaves the message", "[socket][recv_into]") {
  Pair pair = any_pair();
  char buf[8];
  pair.client.send("abc");
  REQUIRE(pair.server.recv_into({buf, 0}) == 0);
  REQUIRE(pair.server.recv_into(buf) == 3);
}

TEST_CASE("recv_exactly puts pieces together", "[socket][recv_exactly]") {
  Pair pair = stream_pair();
  pair.server.settimeout(GENERATE(Timeout(), Timeout(5s)));
  const std::string data = pattern(300'000);
  auto sender = std::async(std::launch::async, [&] {
    for (std::size_t at = 0; at < data.size(); at += 1000) pair.client.sendall({&data[at], 1000});
  });
  std::string buf(100'000, '\0');
  REQUIRE(pair.server.recv_exactly(1) == data.substr(0, 1));
  REQUIRE(pair.server.recv_exactly(199'999) == data.substr(1, 199'999));
  pair.server.recv_exactly_into(buf);
  REQUIRE(buf == data.substr(200'000));
}

TEST_CASE("recv_exactly tells how much came before the end", "[socket][recv_exactly]") {
  Pair pair = stream_pair();
  const std::size_t sent = GENERATE(0, 10, 70'000);
  pair.server.settimeout(GENERATE(Timeout(), Timeout(5s)));
  pair.client.sendall(std::string(sent, 'x'));
  pair.client.close();
  std::string buf(100'000, '\0');
  const bool into = GENERATE(false, true);
  try {
    into ? pair.server.recv_exactly_into(buf) : void(pair.server.recv_exactly(100'000));
    FAIL("100,000 bytes came");
  } catch (const EOFError& error) {
    REQUIRE(error.transferred() == sent);
    REQUIRE(error.code() == errc::no_message_available);
    REQUIRE_THAT(error.what(), Contains("after " + std::to_string(sent) + " of 100000 bytes"));
  }
}

TEST_CASE("recv_exactly needs a stream, and takes no datagram", "[socket][recv_exactly]") {
  Pair pair = message_pair();
  char buf[2];
  pair.client.send("whole");
  REQUIRE_THROWS_AS(pair.server.recv_exactly(2), std::invalid_argument);
  REQUIRE_THROWS_AS(pair.server.recv_exactly_into(buf), std::invalid_argument);
  REQUIRE(pair.server.recv(1024) == "whole");
}

TEST_CASE("a non-blocking recv_exactly tells how much came", "[socket][recv_exactly]") {
  Pair pair = nonblocking(unix_pair());
  pair.client.sendall("abc");
  try {
    (void)pair.server.recv_exactly(10);
    FAIL("10 bytes came");
  } catch (const Error& error) {
    REQUIRE(error.code() == errc::operation_would_block);
    REQUIRE(error.transferred() == 3);
  }
}

TEST_CASE("recv_exactly allocates for what comes, not for size", "[socket][recv_exactly]") {
  Pair pair = stream_pair();
  pair.client.sendall("0123456789");
  pair.client.close();
  const std::size_t before = allocated;
  REQUIRE_THROWS_AS(pair.server.recv_exactly(SIZE_MAX / 8), EOFError);
  REQUIRE(allocated - before < kLittle);
}

TEST_CASE("recvfrom cuts a datagram to bufsize and names its sender", "[socket][recvfrom]") {
  const int family = GENERATE(AF_INET, AF_INET6, AF_UNIX);
  Socket from = named_socket(family), to = named_socket(family);
  for (int i = 0; i < 3; ++i) from.sendto("abcde", to.getsockname());
  char buf[2];
  std::error_code error;
  auto [data, addr] = to.recvfrom(2);
  REQUIRE(data == "ab");
  REQUIRE(addr == from.getsockname());
  REQUIRE(to.recvfrom_into(buf).address == from.getsockname());
  auto [size, again] = to.recvfrom_into(buf, error);
  REQUIRE(size == 2);
  REQUIRE(again == from.getsockname());
  REQUIRE_FALSE(error);
}

TEST_CASE("recvfrom names the sender of a message of any length", "[socket][recvfrom]") {
  Socket from = named_socket(AF_UNIX), to = named_socket(AF_UNIX);
  from.setsockopt(SOL_SOCKET, SO_SNDBUF, 1 << 20);
  const std::string sent = pattern(150'000);
  from.sendto(sent, to.getsockname());
  auto [data, addr] = to.recvfrom(1 << 20);
  REQUIRE(data == sent);
  REQUIRE(addr == from.getsockname());
}

TEST_CASE("recvfrom without room eats a datagram", "[socket][recvfrom]") {
  Pair pair = message_pair();
  for (const std::string& text : {"one"s, "two"s, "three"s}) pair.client.send(text);
  char buf[8];
  REQUIRE(pair.server.recvfrom(0).data.empty());
  REQUIRE(pair.server.recvfrom_into({buf, 0}).size == 0);
  REQUIRE(pair.server.recv(5) == "three");
}

TEST_CASE("recvfrom gives no address where the kernel names no sender", "[socket][recvfrom]") {
  Pair pair = GENERATE(true, false) ? stream_pair() : unix_pair(SOCK_DGRAM);
  char buf[3];
  pair.client.send("abc");
  REQUIRE(pair.server.recvfrom(3).address.size() == 0);
  pair.client.send("abc");
  REQUIRE(pair.server.recvfrom_into(buf).address.size() == 0);
}

TEST_CASE("a recvfrom that fails gives no address", "[socket][recvfrom]") {
  Socket sk = named_socket();
  sk.settimeout(GENERATE(Timeout(0s), Timeout(3ms)));
  char buf[1];
  std::error_code error;
  auto [size, addr] = sk.recvfrom_into(buf, error);
  REQUIRE(size == 0);
  REQUIRE(addr.size() == 0);
  REQUIRE((error == errc::operation_would_block || error == errc::timed_out));
}

TEST_CASE("a stream that has no memory for an error is destroyed", "[stream]") {
  Pair pair = tcp_pair();
  std::optional<thinsock::SocketStream> stream(std::in_place, pair.client);
  *stream << "text";
  reset(std::move(pair.server));
  wait_for(pair.client, 0);
  out_of_memory = true;
  stream.reset();
  out_of_memory = false;
  REQUIRE(pair.client.fileno() != -1);
}
