// What the text of an Error says: the operation, the peer or the name that was asked for, and why.
#include "support.hpp"

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
