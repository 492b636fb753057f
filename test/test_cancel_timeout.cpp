// CancelScope with a timeout: one budget for all that a thread waits for.
#include <functional>
#include <future>
#include <optional>

#include "waiting.hpp"

using namespace test;
using std::errc;
using thinsock::Error;
using thinsock::TimeoutError;

namespace {

constexpr auto kBudget = 150ms;
constexpr auto kHuge = std::chrono::hours(24 * 365 * 291);

// Pairs of sockets on whose server's end a call does not have to wait.
Pair pending() {
  Pair pair = listening();
  pair.client.connect(pair.server.getsockname());
  return pair;
}
Pair with_data(Pair pair) {
  pair.client.send("xxx\n");
  return pair;
}
void nothing(Pair&) {}

void create_as_given(Pair& p) {
  const Timeout timeout = p.server.gettimeout();
  const Socket sk = create_connection(p.server.getsockname(), timeout);
  if (sk.gettimeout() != timeout || nonblocking(sk)) throw std::logic_error("its timeout");
}

const Kinds kReady = {
    {"accept", pending, [](Pair& p) { (void)p.server.accept(); }, nothing},
    {"recv", [] { return with_data(tcp()); }, [](Pair& p) { p.server.recv(9); }, nothing},
    {"recvmsg", [] { return with_data(stream()); }, [](Pair& p) { p.server.recvmsg(9); }, nothing},
    {"recvfrom", [] { return with_data(udp()); }, [](Pair& p) { p.server.recvfrom(9); }, nothing},
    {"send", stream, [](Pair& p) { p.server.send("x"); }, nothing},
    {"sendall", tcp, [](Pair& p) { p.server.sendall("x"); }, nothing},
    {"sendmsg", stream, [](Pair& p) { p.server.sendmsg(kTwo); }, nothing},
    {"flush", stream, flush, nothing},
    {"sendfile", tcp, sendfile, nothing},
    {"sendto", udp, sendto, nothing},
    {"sendto on Unix", queue, sendto, nothing},
    {"sendmsg to a path", queue, sendmsg_to, nothing},
    {"connect on TCP", listening, connect, nothing},
    {"create_connection", listening, create_as_given, nothing},
};

// Sends a byte every few milliseconds, until the end of the scope or until kPatience is over.
class Drip {
 public:
  explicit Drip(Socket& sk) : sk_(sk) {}
  ~Drip() {
    ended_ = true;
    thread_.join();
  }

 private:
  Socket& sk_;
  std::atomic<bool> ended_ = false;
  std::thread thread_{[this] {
    for (const Stopwatch watch; !ended_ && watch.elapsed() < kPatience; pause_for(3ms)) {
      sk_.sendall("x");
    }
  }};
};

// The outcome of a recv to which nobody sends anything.
Outcome silence(Timeout own = kPatience) {
  Pair pair = unix_pair();
  pair.server.settimeout(own);
  return outcome_of([&] { pair.server.recv(1); });
}

}  // namespace

TEST_CASE("the end of the scope ends every call that waits", "[cancel][timeout]") {
  const Timeout own = GENERATE(Timeout(), Timeout(kPatience), Timeout(kHuge));
  const bool interrupted = GENERATE(false, true);
  check_each(all_running({own, {}, kBudget, interrupted}), [](const Outcome& one) {
    check_timed_out(one, kBudget);
    CHECK(one.transferred == 0);
  });
}

TEST_CASE("a socket's own shorter timeout counts in a scope", "[cancel][timeout]") {
  const Timeout budget = GENERATE(Timeout(kPatience), Timeout(kHuge), Timeout());
  check_each(all_running({kBudget, std::stop_token(), budget}),
             [](const Outcome& one) { check_timed_out(one, kBudget); });
}

TEST_CASE("a call goes on when it can before the scope's end", "[cancel][timeout]") {
  const Timeout budget = GENERATE(Timeout(kPatience), Timeout(kHuge), Timeout());
  std::vector<Running> all = all_running({{}, std::stop_token(), budget});
  pause_for(50ms);
  for (Running& running : all) running.release();
  check_each(std::move(all), [](const Outcome& one) { CHECK(one.error == std::error_code()); });
}

TEST_CASE("a call that waits for the scope's end sleeps", "[cancel][timeout]") {
  check_each(all_running({.budget = 400ms}), [](const Outcome& one) { CHECK(one.cpu < 40ms); });
}

TEST_CASE("a scope that has ended leaves nothing behind", "[cancel][timeout]") {
  check_each(all_running({.budget = 20ms}), [](const Outcome& one, Running& running) {
    CHECK(one.error == errc::timed_out);
    const Socket& sk = running.ends().server;
    CHECK_FALSE(nonblocking(sk));
    CHECK_FALSE(has_timer(sk, SO_RCVTIMEO));
    CHECK_FALSE(has_timer(sk, SO_SNDTIMEO));
    running.release();
    CHECK_NOTHROW(running.call_again());
  });
}

TEST_CASE("in a scope that is over a call fails though it could be done at once",
          "[cancel][timeout]") {
  const Timeout own = GENERATE(Timeout(), Timeout(kPatience));
  check_each(all_running({.timeout = own, .budget = 0s}, kReady),
             [](const Outcome& one, Running& running) {
               check_timed_out(one, 0ms);
               CHECK(drain(running.ends().client) == 0);
               CHECK_NOTHROW(running.call_again());
             });
}

TEST_CASE("a scope of no time is over", "[cancel][timeout]") {
  const Timeout own = GENERATE(Timeout(), Timeout(kPatience));
  check_each(all_running({.timeout = own, .budget = 0s}),
             [](const Outcome& one) { check_timed_out(one, 0ms); });
}

TEST_CASE("a scope does not end early, however short it is", "[cancel][timeout]") {
  const Timeout budget = GENERATE(Timeout(1ns), Timeout(1us), Timeout(1ms), Timeout(7ms));
  for (int i = 0; i < 20; ++i) {
    const Stopwatch watch;
    const CancelScope scope(budget);
    REQUIRE(silence().is_timeout);
    REQUIRE(watch.elapsed() >= *std::optional<std::chrono::nanoseconds>(budget));
  }
}

TEST_CASE("the calls in a scope share its time", "[cancel][timeout]") {
  const Stopwatch watch;
  const CancelScope scope(kBudget);
  for (int i = 0; i < 100; ++i) REQUIRE(silence(20ms).is_timeout);
  REQUIRE(watch.elapsed() >= kBudget);
  REQUIRE(watch.elapsed() < kBudget + kLate);
}

TEST_CASE("a peer that drips is ended all the same", "[cancel][timeout]") {
  Pair pair = GENERATE(true, false) ? tcp_pair() : unix_pair();
  SocketStream in(pair.server);
  in.exceptions(std::ios::badbit);
  const Drip drip(pair.client);
  const auto endless = [&]() -> std::function<void()> {
    switch (GENERATE(0, 1, 2, 3)) {
      case 0:
        return [&] {
          for (;;) pair.server.recv(9);
        };
      case 1:
        return [&] { (void)pair.server.recv_exactly(1 << 20); };
      case 2:
        return [&] { in.readline(); };
      default:
        return [&, line = std::string()]() mutable { std::getline(in, line); };
    }
  }();
  check_timed_out(outcome_of([&] {
                    const CancelScope scope(kBudget);
                    endless();
                  }),
                  kBudget);
}

TEST_CASE("a peer that takes little by little is ended too", "[cancel][timeout]") {
  Pair pair = unix_pair();
  const std::string data(64 << 20, 'x');
  std::atomic<bool> ended = false;
  auto taken = std::async(std::launch::async, [&] {
    char buffer[4096];
    std::size_t all = 0;
    const Stopwatch watch;
    for (; !ended && watch.elapsed() < kPatience; pause_for(3ms)) {
      std::error_code none;
      all += pair.client.recv_into({buffer, sizeof buffer}, MSG_DONTWAIT, none);
    }
    return all;
  });
  const Outcome outcome = outcome_of([&] {
    const CancelScope scope(kBudget);
    pair.server.sendall(data);
  });
  ended = true;
  check_timed_out(outcome, kBudget);
  REQUIRE(outcome.transferred == taken.get() + drain(pair.client));
}

TEST_CASE("a recv_exactly that a scope ends tells how much came", "[cancel][timeout]") {
  Pair pair = unix_pair();
  pair.client.send("abc");
  const CancelScope scope(kLate);  // Long enough for the call to begin before the scope ends.
  const Outcome outcome = outcome_of([&] { (void)pair.server.recv_exactly(10); });
  REQUIRE(outcome.is_timeout);
  REQUIRE(outcome.transferred == 3);
}

TEST_CASE("no byte is lost that comes when a scope ends", "[cancel][timeout][threads]") {
  Pair pair = unix_pair();
  auto sender = std::async(std::launch::async, [&] {
    for (int i = 0; i < 2000; ++i) pair.client.sendall("x");
    pair.client.shutdown(SHUT_WR);
  });
  std::size_t received = 0;
  std::error_code error;
  for (std::size_t size = 1; size > 0 || error;) {
    const CancelScope scope(20us);
    size = pair.server.recv_into({sink, 1}, error);
    received += size;
    if (error) REQUIRE(error == errc::timed_out);
  }
  sender.get();
  REQUIRE(received == 2000);
}

TEST_CASE("of scopes within each other the earliest end counts", "[cancel][timeout]") {
  const Timeout never;
  const Timeout outer = GENERATE_COPY(Timeout(kBudget), Timeout(kPatience), never);
  const Timeout middle = GENERATE_COPY(Timeout(kBudget), Timeout(kPatience), never);
  const Timeout inner = outer == kBudget || middle == kBudget ? Timeout(kPatience) : kBudget;
  check_timed_out(outcome_of([&] {
                    const CancelScope first(outer), second(middle), third(inner);
                    stream().server.recv(1);
                  }),
                  kBudget);
}

TEST_CASE("what an inner scope has used up is gone from the outer one", "[cancel][timeout]") {
  const Stopwatch watch;
  const CancelScope outer(kBudget);
  for (int i = 0; i < 100; ++i) {
    const CancelScope inner(20ms);
    REQUIRE(silence().is_timeout);
  }
  REQUIRE(watch.elapsed() >= kBudget);
  REQUIRE(watch.elapsed() < kBudget + kLate);
}

TEST_CASE("after an inner scope the outer one's time is left", "[cancel][timeout]") {
  Pair pair = with_data(stream());
  const CancelScope outer(GENERATE(Timeout(kPatience), Timeout()));
  {
    const CancelScope inner(0s);
    REQUIRE_THROWS_AS(pair.server.recv(9), TimeoutError);
  }
  REQUIRE(pair.server.recv(9) == "xxx\n");
}

TEST_CASE("a stop counts beside the time, in whichever scope it is", "[cancel][timeout]") {
  std::stop_source source;
  const std::stop_token token = source.get_token();
  std::optional<CancelScope> first, second, third;
  SECTION("in the same") { first.emplace(token, kPatience); }
  SECTION("in the outer one") { first.emplace(token), second.emplace(kPatience); }
  SECTION("in the inner one") { first.emplace(kPatience), second.emplace(token); }
  SECTION("in the middle") { first.emplace(kPatience), second.emplace(token), third.emplace(1h); }
  SECTION("in the outermost") { first.emplace(token), second.emplace(1h), third.emplace(1h); }
  auto stop = std::async(std::launch::async, [&] {
    pause_for(30ms);
    source.request_stop();
  });
  const Outcome outcome = silence(std::nullopt);
  CHECK(outcome.error == errc::operation_canceled);
  CHECK(outcome.time < kLate);
  third.reset(), second.reset(), first.reset();
}

TEST_CASE("the time ends a scope that could be stopped", "[cancel][timeout]") {
  const std::stop_source source;
  const std::stop_token token = source.get_token();
  std::optional<CancelScope> first, second;
  const Stopwatch watch;
  SECTION("its own") { first.emplace(token, kBudget); }
  SECTION("the outer one's") { first.emplace(kBudget), second.emplace(token); }
  SECTION("the inner one's") { first.emplace(token), second.emplace(kBudget); }
  const Outcome outcome = silence(std::nullopt);
  CHECK(outcome.is_timeout);
  CHECK(watch.elapsed() >= kBudget);
  CHECK(watch.elapsed() < kBudget + kLate);
  second.reset(), first.reset();
}

TEST_CASE("a stop that came first is what a call in a scope that is over tells",
          "[cancel][timeout]") {
  std::stop_source source;
  source.request_stop();
  const CancelScope scope(source.get_token(), 0s);
  REQUIRE(silence().error == errc::operation_canceled);
}

TEST_CASE("the end of a scope leaves calls alone that do not wait", "[cancel][timeout]") {
  Pair pair = unix_pair();
  Socket lst = listener(), client;
  for (Socket* sk : {&pair.client, &pair.server, &lst, &client}) sk->settimeout(0s);
  const CancelScope scope(0s);
  const Code would_block(errc::operation_would_block);
  SECTION("recv") {
    REQUIRE_THROWS_MATCHES(pair.server.recv(9), Error, would_block);
    pair.client.sendall("abc");
    REQUIRE(pair.server.recv(9) == "abc");
  }
  SECTION("MSG_DONTWAIT") {
    for (Socket* sk : {&pair.client, &pair.server}) sk->settimeout(kPatience);
    REQUIRE(pair.client.send("abc", MSG_DONTWAIT) == 3);
    REQUIRE(pair.server.recv(9, MSG_DONTWAIT) == "abc");
    REQUIRE_THROWS_MATCHES(pair.server.recv(9, MSG_DONTWAIT), Error, would_block);
  }
  SECTION("connect and accept") {
    const std::error_code error = client.connect_ex(lst.getsockname());
    REQUIRE((!error || error == errc::operation_in_progress));
    REQUIRE(lst.accept().socket.fileno() != -1);
    REQUIRE_THROWS_MATCHES(lst.accept(), Error, would_block);
  }
}

TEST_CASE("a scope's time is that of its own thread", "[cancel][timeout][threads]") {
  Pair pair = unix_pair();
  pair.server.settimeout(std::nullopt);
  auto other = std::async(std::launch::async, [&] { return pair.server.recv(9); });
  const CancelScope scope(0s);
  REQUIRE(silence().is_timeout);
  pair.client.send("abc", MSG_DONTWAIT);
  REQUIRE(other.get() == "abc");
}

TEST_CASE("a scope that has but a timeout opens no descriptor", "[cancel][timeout]") {
  Pair pair = unix_pair();
  const std::size_t before = open_descriptors();
  const CancelScope outer(20ms);
  CHECK(open_descriptors() == before);
  const CancelScope inner(std::stop_token(), kPatience);
  CHECK(open_descriptors() == before);
  REQUIRE_THROWS_AS(pair.server.recv(1), TimeoutError);
  CHECK(open_descriptors() == before);
}
