// CancelScope: ending the blocked calls of one thread from another.
#include "thinsock/cancel.hpp"

#include "waiting.hpp"

using namespace test;
using std::errc;
using thinsock::Error;

namespace {

// A stop ends a call within this time even on a loaded machine. It is well below kPatience.
constexpr auto kSoon = 2500ms;

std::stop_token stopped() {
  std::stop_source source;
  source.request_stop();
  return source.get_token();
}

// Waits until another thread has received what is there.
void wait_until_taken(const Socket& sk) {
  pollfd entry{sk.fileno(), POLLIN, 0};
  REQUIRE(eventually([&] { return ::poll(&entry, 1, 0) == 0; }));
}

}  // namespace

TEST_CASE("a stop ends every call that would wait", "[cancel]") {
  const Timeout timeout = GENERATE(Timeout(), Timeout(kPatience));
  const bool before = GENERATE(true, false);
  std::stop_source source;
  if (before) source.request_stop();
  std::vector<Running> all = all_running({timeout, source.get_token()});
  if (!before) pause_for(50ms);
  const Stopwatch watch;
  source.request_stop();
  check_each(std::move(all), [&](const Outcome& one) {
    CHECK(one.error == errc::operation_canceled);
    CHECK(one.transferred == 0);
    CHECK(watch.elapsed() < kSoon);
  });
}

TEST_CASE("a call that was ended can be made again", "[cancel]") {
  std::stop_source source;
  std::vector<Running> all = all_running({.token = source.get_token()});
  pause_for(50ms);
  source.request_stop();
  check_each(std::move(all), [](const Outcome& one, Running& running) {
    REQUIRE(one.error == errc::operation_canceled);
    running.release();
    CHECK_NOTHROW(running.call_again());
  });
}

TEST_CASE("a call in a scope that is not stopped goes on when it can", "[cancel]") {
  const Timeout timeout = GENERATE(Timeout(), Timeout(kPatience));
  const bool interrupted = GENERATE(false, true);
  const std::stop_source source;
  const std::stop_token token = interrupted ? std::stop_token() : source.get_token();
  std::vector<Running> all = all_running({timeout, token, {}, interrupted});
  pause_for(50ms);
  for (Running& running : all) running.release();
  check_each(std::move(all), [](const Outcome& one) { CHECK(one.error == std::error_code()); });
}

TEST_CASE("a call in a scope that is not stopped waits for its timeout", "[cancel]") {
  const bool interrupted = GENERATE(false, true);
  const std::stop_source source;
  check_each(all_running({150ms, source.get_token(), {}, interrupted}),
             [](const Outcome& one) { check_timed_out(one, 150ms); });
}

TEST_CASE("a call that waits in a scope sleeps", "[cancel]") {
  std::stop_source source;
  std::vector<Running> all = all_running({.token = source.get_token()});
  pause_for(400ms);
  source.request_stop();
  check_each(std::move(all), [](const Outcome& one) { CHECK(one.cpu < 40ms); });
}

TEST_CASE("what has come stays to be received after a stop", "[cancel][recv]") {
  Pair pair = GENERATE(true, false) ? tcp_pair() : unix_pair();
  pair.client.send("abc");
  {
    const CancelScope scope(stopped());
    REQUIRE_THROWS_MATCHES(pair.server.recv(9), Error, Code(errc::operation_canceled));
  }
  REQUIRE(pair.server.recv(9) == "abc");
}

TEST_CASE("a recv_exactly that is stopped tells how much came", "[cancel][recv_exactly]") {
  Pair pair = unix_pair();
  std::stop_source source;
  pair.client.send("abc");
  auto outcome = std::async(std::launch::async, [&] {
    const CancelScope scope(source.get_token());
    return outcome_of([&] { (void)pair.server.recv_exactly(10); });
  });
  wait_until_taken(pair.server);
  source.request_stop();
  const Outcome ended = outcome.get();
  REQUIRE(ended.error == errc::operation_canceled);
  REQUIRE(ended.transferred == 3);
}

TEST_CASE("a sendall that is stopped tells how much has gone", "[cancel][sendall]") {
  Pair pair = unix_pair();
  const bool throws = GENERATE(true, false);
  const std::string data(16 << 20, 'x');
  std::stop_source source;
  auto outcome = std::async(std::launch::async, [&] {
    const CancelScope scope(source.get_token());
    if (throws) return outcome_of([&] { pair.server.sendall(data); });
    Outcome by_value;
    by_value.transferred = pair.server.sendall(data, by_value.error);
    return by_value;
  });
  wait_for(pair.client, POLLIN);
  source.request_stop();
  const Outcome ended = outcome.get();
  REQUIRE(ended.error == errc::operation_canceled);
  REQUIRE(ended.transferred > 0);
  REQUIRE(ended.transferred == drain(pair.client));
}

TEST_CASE("a line that a stop has cut is still to be read", "[cancel][stream]") {
  Pair pair = unix_pair();
  SocketStream in = pair.server.makefile("r");
  pair.client.send("hel");
  std::stop_source source;
  auto line = std::async(std::launch::async, [&] {
    const CancelScope scope(source.get_token());
    return in.readline();
  });
  wait_until_taken(pair.server);
  source.request_stop();
  REQUIRE(line.get().empty());
  REQUIRE(in.error() == errc::operation_canceled);
  in.clear();
  pair.client.send("lo\n");
  REQUIRE(in.readline() == "hello\n");
}

TEST_CASE("the error_code forms tell of the stop", "[cancel]") {
  Pair pair = unix_pair();
  Pair datagrams{named_socket(), named_socket()};
  Socket lst = listener();
  const Address to = datagrams.server.getsockname();
  std::error_code errors[7];
  {
    const CancelScope scope(stopped());
    REQUIRE(lst.accept(errors[0]).socket.fileno() == -1);
    REQUIRE(pair.server.recv_into(sink, errors[1]) == 0);
    REQUIRE(pair.server.recvfrom_into(sink, 0, errors[2]).size == 0);
    REQUIRE(pair.server.send("x", errors[3]) == 0);
    REQUIRE(pair.server.sendall("x", errors[4]) == 0);
    REQUIRE(datagrams.client.sendto("x", to, errors[5]) == 0);
    errors[6] = patient(Socket()).connect_ex(lst.getsockname());
  }
  for (const std::error_code& error : errors) CHECK(error == errc::operation_canceled);
  REQUIRE(drain(pair.client) == 0);
}

TEST_CASE("a stop leaves calls alone that do not wait", "[cancel][settimeout]") {
  Pair pair = unix_pair();
  Socket lst = listener(), client;
  for (Socket* sk : {&pair.client, &pair.server, &lst, &client}) sk->settimeout(0s);
  const CancelScope scope(stopped());
  const Code would_block(errc::operation_would_block);
  SECTION("recv") {
    REQUIRE_THROWS_MATCHES(pair.server.recv(9), Error, would_block);
    pair.client.sendall("abc");
    REQUIRE(pair.server.recv(9) == "abc");
  }
  SECTION("MSG_DONTWAIT") {
    pair.client.settimeout(kPatience);
    REQUIRE(pair.client.send("abc", MSG_DONTWAIT) == 3);
    pair.server.settimeout(kPatience);
    REQUIRE(pair.server.recv(9, MSG_DONTWAIT) == "abc");
    REQUIRE_THROWS_MATCHES(pair.server.recv(9, MSG_DONTWAIT), Error, would_block);
  }
  SECTION("connect") {
    const std::error_code error = client.connect_ex(lst.getsockname());
    REQUIRE((!error || error == errc::operation_in_progress));
  }
  SECTION("accept") { REQUIRE_THROWS_MATCHES(lst.accept(), Error, would_block); }
}

TEST_CASE("a stop that races with a call is not lost, nor is a byte", "[cancel][threads]") {
  Pair pair = unix_pair();
  const bool with_data = GENERATE(false, true);
  for (int i = 0; i < 1000; ++i) {
    std::stop_source source;
    std::error_code error;
    std::atomic<bool> ready = false;
    auto received = std::async(std::launch::async, [&] {
      const CancelScope scope(source.get_token());
      ready = true;
      return pair.server.recv_into(sink, error);
    });
    while (!ready) std::this_thread::yield();
    if (with_data && i % 2 == 0) pair.client.send("x");
    source.request_stop();
    if (with_data && i % 2 == 1) pair.client.send("x");
    const std::size_t size = received.get();
    if (size == 0) REQUIRE(error == errc::operation_canceled);
    REQUIRE(size + drain(pair.server) == with_data);
  }
}

TEST_CASE("a stopped accept leaves a blocking listener blocking", "[cancel][accept]") {
  Socket lst = listener();
  lst.settimeout(std::nullopt);
  {
    const CancelScope scope(stopped());
    REQUIRE_THROWS_MATCHES(lst.accept(), Error, Code(errc::operation_canceled));
  }
  REQUIRE_FALSE(nonblocking(lst));
}

TEST_CASE("a stop does not end calls of another thread", "[cancel][threads]") {
  Pair pair = unix_pair();
  Socket copy = pair.server.dup();
  auto other = std::async(std::launch::async, [&] { return copy.recv(9); });
  pause_for(30ms);
  {
    const CancelScope scope(stopped());
    REQUIRE_THROWS_MATCHES(pair.server.recv(9), Error, Code(errc::operation_canceled));
  }
  pair.client.send("abc");
  REQUIRE(other.get() == "abc");
}

TEST_CASE("in a scope within a scope either stop counts", "[cancel]") {
  Pair pair = unix_pair();
  const Code canceled(errc::operation_canceled);
  std::stop_source outer, inner;
  std::optional<CancelScope> outer_scope(outer.get_token());
  std::optional<CancelScope> inner_scope(inner.get_token());
  pair.server.settimeout(3ms);
  REQUIRE_THROWS_AS(pair.server.recv(9), thinsock::TimeoutError);
  SECTION("the inner one, until its scope ends") {
    inner.request_stop();
    REQUIRE_THROWS_MATCHES(pair.server.recv(9), Error, canceled);
    inner_scope.reset();
    REQUIRE_THROWS_AS(pair.server.recv(9), thinsock::TimeoutError);
  }
  SECTION("the outer one, in both") {
    outer.request_stop();
    REQUIRE_THROWS_MATCHES(pair.server.recv(9), Error, canceled);
    inner_scope.reset();
    REQUIRE_THROWS_MATCHES(pair.server.recv(9), Error, canceled);
  }
  SECTION("the outer one, in a third scope of a call that waits") {
    pair.server.settimeout(kPatience);
    const CancelScope third{std::stop_token()};
    auto stop = std::async(std::launch::async, [&] {
      pause_for(30ms);
      outer.request_stop();
    });
    REQUIRE_THROWS_MATCHES(pair.server.recv(9), Error, canceled);
  }
  SECTION("the outer one, after the inner scope") {
    inner_scope.reset();
    outer.request_stop();
    REQUIRE_THROWS_MATCHES(pair.server.recv(9), Error, canceled);
  }
  SECTION("the outer one, before the inner scope") {
    inner_scope.reset();
    outer.request_stop();
    inner_scope.emplace(inner.get_token());
    REQUIRE_THROWS_MATCHES(pair.server.recv(9), Error, canceled);
  }
  inner_scope.reset();
  outer_scope.reset();
  pair.client.send("abc");
  REQUIRE(pair.server.recv(9) == "abc");
}

TEST_CASE("a stopped scope ends create_connection though it would fail at once", "[cancel]") {
  const TempDir dir;
  const RefusingPort refusing;
  const Timeout delay = GENERATE(Timeout(), Timeout(250ms));
  const Address nowhere(dir / "none");
  const CancelScope scope(stopped());
  const Code canceled(errc::operation_canceled);
  CHECK_THROWS_MATCHES(create_connection(refusing.address, 5s, {}, delay), Error, canceled);
  CHECK_THROWS_MATCHES(create_connection(nowhere, 5s, {}, delay), Error, canceled);
}

TEST_CASE("scopes and the calls they ended leave no descriptor behind", "[cancel]") {
  const FullListener full(Address("127.0.0.1", 0));
  const std::size_t before = open_descriptors();
  for (int i = 0; i < 1000; ++i) {
    const CancelScope outer(i % 2 == 0 ? stopped() : std::stop_token());
    const CancelScope inner(stopped());
    REQUIRE_THROWS_AS(create_connection(full.name, kPatience, {}, 250ms), Error);
    REQUIRE_THROWS_AS(create_connection(full.name, kPatience), Error);
  }
  REQUIRE(open_descriptors() == before);
}

TEST_CASE("a scope's descriptor does not survive an exec", "[cancel]") {
  int flags = 0;
  std::thread([&] {  // A new thread has no descriptor for its scopes yet.
    const CancelScope scope{std::stop_source().get_token()};
    Pair pair = unix_pair();
    pair.server.settimeout(1ms);
    const int next = ::dup(0);
    ::close(next);
    CHECK_THROWS_AS(pair.server.recv(1), thinsock::TimeoutError);
    flags = ::fcntl(next, F_GETFD);
  })
      .join();
  REQUIRE(flags == FD_CLOEXEC);
}

TEST_CASE("the scopes of a thread cost one descriptor once a call waits", "[cancel]") {
  std::size_t before = 0, idle = 0, waited = 0;
  std::thread([&] {
    Pair pair = unix_pair();
    pair.server.settimeout(1ms);
    before = open_descriptors();
    for (int i = 0; i < 3; ++i) {
      const CancelScope outer{std::stop_source().get_token()};
      const CancelScope inner{std::stop_source().get_token()};
      if (i == 0) idle = open_descriptors();
      CHECK_THROWS_AS(pair.server.recv(1), thinsock::TimeoutError);
      waited = open_descriptors();
    }
  }).join();
  REQUIRE(idle == before);
  REQUIRE(waited == before + 1);
}

TEST_CASE("scopes may end in any order", "[cancel]") {
  Pair pair = unix_pair();
  std::stop_source first, second;
  std::optional<CancelScope> outer(first.get_token()), inner(second.get_token());
  outer.reset();
  first.request_stop();
  pair.client.send("a");
  REQUIRE(pair.server.recv(1) == "a");
  second.request_stop();
  REQUIRE_THROWS_MATCHES(pair.server.recv(1), Error, Code(errc::operation_canceled));
  inner.reset();
  pair.client.send("b");
  REQUIRE(pair.server.recv(1) == "b");
}

TEST_CASE("a scope ends calls also without a descriptor to spare", "[cancel]") {
  Pair pair = unix_pair();
  std::stop_source source;
  std::promise<void> ready;
  Outcome outcome;
  const DescriptorLimit none(0);
  std::thread reader([&] {  // A new thread has no descriptor for its scopes yet.
    const CancelScope scope(source.get_token());
    ready.set_value();
    outcome = outcome_of([&] { pair.server.recv(1); });
  });
  ready.get_future().get();
  pause_for(30ms);  // Nothing tells that a thread has begun to wait.
  source.request_stop();
  reader.join();
  REQUIRE(outcome.error == errc::operation_canceled);
  REQUIRE(outcome.cpu < outcome.time * 0.5);
}
