// What the text of an Error says: the operation, the peer or the name that was asked for, and why.
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <future>

#include "support.hpp"

#include "thinsock/cancel.hpp"
#include "thinsock/message.hpp"
#include "thinsock/stream.hpp"

using namespace test;
using namespace std::string_literals;
using Catch::Contains;
using Catch::Equals;
using std::errc;
using thinsock::Error;
using thinsock::Timeout;
using thinsock::TimeoutError;

namespace {

// The text of the Error that a call throws.
template <class Call>
std::string what_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST_CASE("after a reset every call names the peer, not the listener", "[error][peer]") {
  const int family = GENERATE(AF_INET, AF_INET6);
  Pair pair = tcp_pair(family);
  const std::string peer = pair.client.getsockname().str();
  reset(std::move(pair.client));
  char byte;
  SECTION("recv") {
    REQUIRE(what_of([&] { pair.server.recv(1); }) == "recv " + peer + ": Connection reset by peer");
    REQUIRE(what_of([&] { pair.server.send("x"); }) == "send " + peer + ": Broken pipe");
    REQUIRE(what_of([&] { pair.server.shutdown(SHUT_RDWR); }) ==
            "shutdown " + peer + ": Transport endpoint is not connected");
  }
  SECTION("recv_into") {
    REQUIRE(what_of([&] {
              pair.server.recv_into({&byte, 1});
            }) == "recv_into " + peer + ": Connection reset by peer");
  }
  SECTION("recvmsg") {
    REQUIRE(what_of([&] { pair.server.recvmsg(1); }) ==
            "recvmsg " + peer + ": Connection reset by peer");
  }
  SECTION("a stream") {
    auto file = pair.server.makefile();
    file.exceptions(std::ios::badbit);
    REQUIRE(what_of([&] { file.readline(); }) == "read " + peer + ": Connection reset by peer");
  }
  REQUIRE(code_of([&] { pair.server.getpeername(); }) == errc::not_connected);  // As in Python.
}

TEST_CASE("a stream that never had a peer names nobody", "[error][peer]") {
  Socket sk;
  sk.bind({"127.0.0.1", 0});
  const bool refused = GENERATE(false, true);
  if (refused) CHECK(sk.connect_ex(RefusingPort().address) == errc::connection_refused);
  REQUIRE(what_of([&] { sk.recv(1); }) == "recv: Transport endpoint is not connected");
}

TEST_CASE("a listener and a datagram socket without a peer name themselves", "[error][peer]") {
  Socket sk = GENERATE(0, 1) ? listener() : named_socket();
  sk.setblocking(false);
  const std::string text =
      what_of([&] { sk.type() == SOCK_STREAM ? void(sk.accept()) : void(sk.recv(1)); });
  REQUIRE_THAT(text, Contains(' ' + sk.getsockname().str() + ": "));
}

TEST_CASE("a call that times out tells after how long", "[error][timeout]") {
  Pair pair = unix_pair();
  Pair tcp = tcp_pair();
  Socket lst = listener();
  const std::string peer = tcp.client.getsockname().str();
  char byte;
  tcp.server.settimeout(20ms);
  lst.settimeout(0.05s);
  REQUIRE(what_of([&] { tcp.server.recv(1); }) == "recv " + peer + ", after 0.02s: timed out");
  REQUIRE(what_of([&] {
            tcp.server.recv_into({&byte, 1});
          }) == "recv_into " + peer + ", after 0.02s: timed out");
  REQUIRE(what_of([&] { tcp.server.recvmsg(1); }) ==
          "recvmsg " + peer + ", after 0.02s: timed out");
  REQUIRE(what_of([&] { (void)lst.accept(); }) ==
          "accept " + lst.getsockname().str() + ", after 0.05s: timed out");
  REQUIRE(what_of([&] {
            tcp.server.recvmsg_into({{&byte, 1}});
          }) == "recvmsg_into " + peer + ", after 0.02s: timed out");
  auto file = tcp.server.makefile();
  file.exceptions(std::ios::badbit);
  REQUIRE(what_of([&] { file.readline(); }) == "read " + peer + ", after 0.02s: timed out");
  REQUIRE(file.error().message() == "timed out");
  pair.client.settimeout(20ms);
  REQUIRE(what_of([&] { pair.client.sendall(std::string(1 << 24, 'x')); }) ==
          "sendall, after 0.02s: timed out");
}

TEST_CASE("a connect that times out tells after how long", "[error][timeout]") {
  const FullListener full(thinsock::Address("127.0.0.1", 0));
  Socket sk;
  sk.settimeout(20ms);
  REQUIRE(what_of([&] { sk.connect(full.name); }) ==
          "connect " + full.name.str() + ", after 0.02s: timed out");
  REQUIRE(what_of([&] { (void)thinsock::create_connection(full.name, 20ms); }) ==
          "connect " + full.name.str() + ", after 0.02s: timed out");
}

TEST_CASE("at the end of a scope the text names the scope", "[error][timeout][cancel]") {
  Pair pair = tcp_pair();
  const std::string peer = pair.client.getsockname().str();
  const thinsock::CancelScope scope(20ms);
  const std::string reason = ", at the end of a CancelScope or request_timeout: timed out";
  pair.server.settimeout(GENERATE(Timeout(), Timeout(5s)));
  REQUIRE(what_of([&] { pair.server.recv(1); }) == "recv " + peer + reason);
  REQUIRE(what_of([&] {
            (void)thinsock::create_connection({"localhost", 9}, 5s);
          }) == "connect localhost:9" + reason);
}

TEST_CASE("the code tells the caller's own timeout from the kernel's", "[error][timeout]") {
  Pair pair = tcp_pair();
  const std::string peer = pair.client.getpeername().str();
  const Timeout timeout = GENERATE(Timeout(), Timeout(5s));
  pair.client.settimeout(timeout);
  SECTION("the kernel's") {
    // The peer is silent, because its window is full: the kernel gives up after a millisecond.
    pair.client.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, 1);
    pair.client.set_sendbuf(1);
    pair.server.set_recvbuf(1);
    std::error_code error;
    while (!error) pair.client.send(std::string(100'000, 'x'), MSG_DONTWAIT, error);
    REQUIRE(error == errc::operation_would_block);
    try {
      pair.client.recv(1);
      FAIL("the kernel did not give up");
    } catch (const TimeoutError& timed_out) {
      REQUIRE(timed_out.what() == "recv " + peer + ": Connection timed out");
      REQUIRE(timed_out.code() == errc::timed_out);
      REQUIRE(timed_out.code() == std::error_code(ETIMEDOUT, std::system_category()));
    }
  }
  SECTION("the caller's own") {
    const thinsock::CancelScope scope(20ms);
    std::error_code error;
    char byte;
    pair.client.recv_into({&byte, 1}, error);
    REQUIRE(error == errc::timed_out);
    REQUIRE(error.value() == ETIMEDOUT);
    REQUIRE(error.category() == thinsock::timeout_category());
    REQUIRE(thinsock::timeout_category().name() == "timeout"s);
    REQUIRE(Socket().connect_ex({"127.0.0.1", 9}).category() == thinsock::timeout_category());
  }
}

TEST_CASE("recv_exactly tells how much came before it failed", "[error][recv_exactly]") {
  Pair pair = tcp_pair();
  const std::string peer = pair.client.getsockname().str();
  char buffer[10];
  const bool into = GENERATE(false, true);
  const auto what = [&] {
    return what_of(
        [&] { into ? pair.server.recv_exactly_into(buffer) : void(pair.server.recv_exactly(10)); });
  };
  const std::string start =
      (into ? "recv_exactly_into " : "recv_exactly ") + peer + " after 3 of 10 bytes";
  pair.client.sendall("abc");
  SECTION("it times out") {
    pair.server.settimeout(20ms);
    REQUIRE(what() == start + ", after 0.02s: timed out");
  }
  SECTION("the peer closes") {
    pair.client.close();
    REQUIRE(what() == start + ": closed by the peer: No data available");
  }
  SECTION("the peer resets the connection") {
    REQUIRE(pair.server.recv(3, MSG_PEEK | MSG_WAITALL) == "abc");
    auto received = std::async(std::launch::async, what);
    REQUIRE(eventually(
        [&] { return pair.server.getsockopt(SOL_SOCKET, SO_MEMINFO, 4) == std::string(4, '\0'); }));
    reset(std::move(pair.client));
    REQUIRE(received.get() == start + ": Connection reset by peer");
  }
}

TEST_CASE("an address is named as it was written, and as what it stands for", "[error][address]") {
  const RefusingPort nobody;
  const int port = nobody.address.port();
  const std::string end = ':' + std::to_string(port), numeric = "127.0.0.1" + end;
  const std::string refused = ": Connection refused";
  Socket sk, other(AF_INET, SOCK_DGRAM);
  REQUIRE(what_of([&] { sk.connect({"127.0.0.1", port}); }) == "connect " + numeric + refused);
  REQUIRE(what_of([&] {
            sk.connect({"localhost", port});
          }) == "connect localhost" + end + " (" + numeric + ')' + refused);
  REQUIRE(what_of([&] {
            (void)thinsock::create_connection({"127.0.0.1", port});
          }) == "connect " + numeric + refused);
  REQUIRE_THAT(what_of([&] {
                 (void)thinsock::create_connection({"localhost", port});
               }),
               Catch::StartsWith("connect localhost" + end + " (") && Contains(numeric));
  REQUIRE(what_of([&] {
            sk.bind({"localhost", port});
          }) == "bind localhost" + end + " (" + numeric + "): Address already in use");
  REQUIRE_THAT(what_of([&] {
                 other.sendto("x", {"<broadcast>", 9});
               }),
               Catch::StartsWith("sendto <broadcast>:9 (255.255.255.255:9): "));
}

TEST_CASE("an empty host is quoted", "[error][address]") {
  const RefusingPort nobody;
  const std::string end = ':' + std::to_string(nobody.address.port());
  REQUIRE(what_of([&] {
            Socket().connect({"", nobody.address.port()});
          }) == "connect \"\"" + end + " (0.0.0.0" + end + "): Connection refused");
  REQUIRE(what_of([] {
            (void)thinsock::create_connection({"", 80});
          }) == "getaddrinfo \"\" port 80: Name or service not known");
}

TEST_CASE("an Address of a name says that a numeric host is wanted", "[error][address]") {
  REQUIRE(what_of([] { thinsock::Address("localhost", 80); }) ==
          "getaddrinfo localhost (a numeric host is wanted): Name or service not known");
}

TEST_CASE("host:port in one text is said to be a Unix path", "[error][address]") {
  REQUIRE(what_of([] { (void)thinsock::create_connection("127.0.0.1:80"); }) ==
          "connect 127.0.0.1:80 (a Unix path; TCP is {host, port}): No such file or directory");
  REQUIRE(what_of([] { (void)thinsock::create_connection("/nosuch:80"); }) ==
          "connect /nosuch:80: No such file or directory");
  REQUIRE_THROWS_WITH(Socket().connect("127.0.0.1:80"),
                      "the Unix path 127.0.0.1:80 is not an address of AF_INET");
}

TEST_CASE("makefile on a closed socket names itself", "[error][makefile]") {
  Socket sk;
  sk.close();
  REQUIRE(what_of([&] { sk.makefile(); }) == "makefile on a closed socket: Bad file descriptor");
  REQUIRE(what_of([&] {
            sk.connect({"127.0.0.1", 9});
          }) == "connect 127.0.0.1:9 on a closed socket: Bad file descriptor");
  REQUIRE(what_of([] { (void)Socket::fromfd(-1); }) == "fromfd: Bad file descriptor");
}
