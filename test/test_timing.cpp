// How long calls wait: timeouts, deadlines, signals, and descriptors that others have changed.
#include <algorithm>
#include <future>
#include <optional>

#include "waiting.hpp"

using namespace test;
using namespace std::string_literals;
using Catch::Contains;
using std::errc;
using std::chrono::milliseconds;
using thinsock::Error;
using thinsock::TimeoutError;

namespace {

// Each call has to be good in one of the tries, as a loaded machine may wake a thread late. Only
// the calls that were not good are tried again, so that fewer run side by side in each try.
template <class Meanwhile, class Good>
void check_some_try(Kinds kinds, Timeout timeout, const Meanwhile& meanwhile, const Good& good) {
  for (int tries = 0; tries < 20 && !kinds.empty(); ++tries) {
    std::vector<Running> all = all_running({timeout}, kinds);
    meanwhile(all);
    Kinds bad;
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (!good(all[i].outcome())) bad.push_back(kinds[i]);
    }
    all.clear();  // The calls refer to elements of `kinds`.
    kinds = std::move(bad);
  }
  for (const Kind& kind : kinds) FAIL_CHECK(kind.name);
}

}  // namespace

TEST_CASE("a call waits for its timeout and not less", "[socket][settimeout]") {
  const auto timeout = GENERATE(3ms, 50ms, 99ms, 100ms, 101ms, 300ms, 600ms);
  const bool interrupted = GENERATE(false, true);
  CAPTURE(interrupted);
  check_each(all_running({.timeout = timeout, .interrupted = interrupted}),
             [&](const Outcome& one) {
               check_timed_out(one, timeout);
               CHECK(one.transferred == 0);
             });
}

TEST_CASE("a call that timed out can be made again", "[socket][settimeout]") {
  check_each(all_running({GENERATE(3ms, 150ms)}), [](const Outcome& one, Running& running) {
    CHECK(one.is_timeout);
    running.release();
    CHECK_NOTHROW(running.call_again());
  });
}

TEST_CASE("a call ends at most 5 ms after its timeout", "[socket][settimeout][native]") {
  const auto timeout = GENERATE(3ms, 50ms, 99ms, 100ms, 101ms, 300ms, 600ms);
  check_some_try(
      kKinds, timeout, [](auto&) {}, [&](const Outcome& one) { return one.time <= timeout + 5ms; });
}

TEST_CASE("code that uses the descriptor itself may wait after timed calls",
          "[socket][fileno][native]") {
  const FullListener full(Address("127.0.0.1", 0));
  Pair pair = tcp_pair();
  Socket sk;
  sk.settimeout(1ms);
  REQUIRE_THROWS_AS(sk.connect(full.name), TimeoutError);
  pair.server.settimeout(1ms);
  REQUIRE_THROWS_AS(pair.server.recv(1), TimeoutError);
  pair.server.sendall("x");
  const int fd = pair.server.fileno();
  auto foreign = std::async(std::launch::async, [fd] {
    char byte;
    return ::recv(fd, &byte, 1, 0);
  });
  pause_for(20ms);  // Nothing tells that a thread has begun to wait.
  pair.client.sendall("x");
  REQUIRE(foreign.get() == 1);
  REQUIRE_FALSE(nonblocking(sk));
}

TEST_CASE("a call that waits sleeps", "[socket][settimeout]") {
  const bool timed = GENERATE(true, false);
  std::vector<Running> all = all_running({timed ? Timeout(300ms) : Timeout()});
  if (!timed) {
    pause_for(300ms);
    for (Running& running : all) running.release();
  }
  check_each(std::move(all), [](const Outcome& one) { CHECK(one.cpu < one.time * 0.3); });
}

TEST_CASE("a call that waits goes on when it can", "[socket][settimeout]") {
  const Timeout for_ages = std::chrono::hours(24 * 365 * 290);
  const Timeout timeout = GENERATE_COPY(Timeout(), Timeout(5s), for_ages);
  const bool interrupted = GENERATE(false, true);
  CAPTURE(interrupted);
  std::vector<Running> all =
      all_running({.timeout = timeout, .interrupted = interrupted}, kTransfers);
  pause_for(50ms);
  for (Running& running : all) running.release();
  check_each(std::move(all), [](const Outcome& one) {
    CHECK(one.error == std::error_code());
    CHECK(one.time < 1050ms);
  });
}

TEST_CASE("a connect goes on when a full backlog has room", "[socket][settimeout][connect]") {
  // Unlike other calls it may be late: the kernel repeats a TCP connect only after a second.
  const Timeout timeout = GENERATE(Timeout(), Timeout(5s));
  const bool interrupted = GENERATE(false, true);
  CAPTURE(interrupted);
  std::vector<Running> all =
      all_running({.timeout = timeout, .interrupted = interrupted}, kConnects);
  pause_for(50ms);
  for (Running& running : all) running.release();
  check_each(std::move(all), [](const Outcome& one) { CHECK(one.error == std::error_code()); });
}

TEST_CASE("a call goes on at once also late in its timeout", "[socket][settimeout][native]") {
  const auto release_late = [](std::vector<Running>& all) {
    pause_for(900ms);
    for (Running& running : all) running.release();
  };
  check_some_try(kTransfers, 1000ms, release_late, [](const Outcome& one) { return !one.error; });
}

TEST_CASE("a non-blocking call does not wait", "[socket][settimeout]") {
  const bool cleared = GENERATE(false, true);
  INFO((cleared ? "O_NONBLOCK cleared by another owner" : ""));
  Kinds kinds = kTransfers;
  // sendfile refuses a non-blocking socket, and accept has no MSG_DONTWAIT.
  std::erase_if(kinds, [&](const Kind& kind) {
    return kind.name == "sendfile"s || kind.name == "sendfile of a pipe"s ||
           (cleared && kind.name == "accept"s);
  });
  const auto prepare = [](const Socket& sk) { REQUIRE(nonblocking(sk)); };
  const auto clear = [](const Socket& sk) { ::fcntl(sk.fileno(), F_SETFL, O_RDWR); };
  const Manner manner{.timeout = 0s, .prepare = cleared ? +clear : +prepare};
  check_each(all_running(manner, kinds), [](const Outcome& one) {
    CHECK(one.error == errc::operation_would_block);
    CHECK_FALSE(one.is_timeout);
    CHECK(one.transferred == 0);
    CHECK(one.time < 1000ms);
  });
}

TEST_CASE("a blocking call waits in spite of another owner's O_NONBLOCK", "[socket][settimeout]") {
  const auto set = [](const Socket& sk) { ::fcntl(sk.fileno(), F_SETFL, O_RDWR | O_NONBLOCK); };
  std::vector<Running> all = all_running({.prepare = set}, kTransfers);
  pause_for(50ms);
  for (Running& running : all) running.release();
  check_each(std::move(all), [](const Outcome& one) {
    CHECK(one.error == std::error_code());
    CHECK(one.cpu < std::max<Milliseconds>(one.time * 0.3, 10ms));
  });
}

TEST_CASE("a TimeoutError names the call and the peer", "[socket][settimeout]") {
  Pair pair = tcp_pair();
  const std::string peer = pair.server.getsockname().str();
  char buf[1];
  pair.client.settimeout(3ms);
  REQUIRE_THROWS_WITH(pair.client.recv(1), Contains("recv " + peer + ", "));
  REQUIRE_THROWS_WITH(pair.client.recv_into(buf), Contains("recv_into " + peer + ", "));
  REQUIRE_THROWS_WITH(pair.client.recvfrom(1), Contains("recvfrom " + peer + ", "));
  REQUIRE_THROWS_WITH(pair.client.recv_exactly(1), Contains("recv_exactly " + peer + " "));
  REQUIRE_THROWS_MATCHES(pair.client.recv(1), TimeoutError, Code(errc::timed_out));
}

TEST_CASE("a changed timeout holds for the next call", "[socket][settimeout]") {
  Pair pair = tcp_pair();
  for (const milliseconds timeout : {150ms, 20ms, 400ms, 150ms}) {
    pair.server.settimeout(timeout);
    check_timed_out(outcome_of([&] { pair.server.recv(1); }), timeout);
  }
  pair.server.settimeout(std::nullopt);
  REQUIRE_FALSE(has_timer(pair.server, SO_RCVTIMEO));
  auto received = std::async(std::launch::async, [&] { return pair.server.recv(1024); });
  pause_for(600ms);
  pair.client.send("x");
  REQUIRE(received.get() == "x");
}

TEST_CASE("the error_code forms tell of the timeout", "[socket][settimeout]") {
  Pair receiving = stream(), sending = full_stream(), named = full_queue();
  const Address to = named.client.getsockname();
  std::error_code errors[5];
  for (Socket* sk : {&receiving.server, &sending.server, &named.server}) sk->settimeout(3ms);
  receiving.server.recv_into(sink, errors[0]);
  receiving.server.recvfrom_into(sink, 0, errors[1]);
  REQUIRE(sending.server.send("x", errors[2]) == 0);
  REQUIRE(sending.server.sendall("x", errors[3]) == 0);
  REQUIRE(named.server.sendto("x", to, errors[4]) == 0);
  for (const std::error_code& error : errors) REQUIRE(error == errc::timed_out);
}

TEST_CASE("MSG_DONTWAIT keeps a send from waiting", "[socket][send]") {
  Pair pair = full_stream();
  const Code would_block(errc::operation_would_block);
  const Stopwatch watch;
  REQUIRE_THROWS_MATCHES(pair.server.send("x", MSG_DONTWAIT), Error, would_block);
  REQUIRE_THROWS_MATCHES(pair.server.sendall("x", MSG_DONTWAIT), Error, would_block);
  REQUIRE(watch.elapsed() < 1000ms);
}

TEST_CASE("sendall has one deadline while a slow reader takes some", "[socket][sendall]") {
  Pair pair = GENERATE(true, false) ? unix_pair() : tcp_pair();
  const std::string data(64 << 20, 'x');
  auto received = std::async(std::launch::async, [&] {
    std::string buf(65536, '\0');
    std::size_t all = 0;
    for (std::size_t size; (size = pair.server.recv_into(buf)) != 0; all += size) {
      if (all < std::size_t(4 << 20)) pause_for(20ms);
    }
    return all;
  });
  pair.client.settimeout(300ms);
  const bool several = GENERATE(true, false);
  const Outcome outcome = outcome_of([&] {
    several ? pair.client.sendall({"header", data}) : pair.client.sendall(data);
  });
  pair.client.close();
  const std::size_t arrived = received.get();
  check_timed_out(outcome, 300ms);
  REQUIRE(outcome.transferred == arrived);
}

TEST_CASE("recv_exactly has one deadline while bytes trickle in", "[socket][recv_exactly]") {
  Pair pair = GENERATE(true, false) ? unix_pair() : tcp_pair();
  const milliseconds timeout = GENERATE(50ms, 300ms);
  std::atomic<bool> stop = false;
  auto sent = std::async(std::launch::async, [&] {
    std::size_t count = 0;
    for (; !stop; ++count, pause_for(20ms)) pair.client.send("x");
    pair.client.close();
    return count;
  });
  pair.server.settimeout(timeout);
  const Outcome outcome = outcome_of([&] { (void)pair.server.recv_exactly(1000); });
  stop = true;
  check_timed_out(outcome, timeout);
  pair.server.settimeout(kPatience);
  std::size_t rest = 0;
  while (!pair.server.recv(1).empty()) ++rest;
  REQUIRE(outcome.transferred + rest == sent.get());
  REQUIRE(outcome.transferred > 0);
}

TEST_CASE("a recv_exactly that times out tells how much came", "[socket][recv_exactly]") {
  Pair pair = unix_pair();
  pair.server.settimeout(GENERATE(0ms, 3ms, 150ms));
  const std::size_t sent = GENERATE(3, 70'000);
  pair.client.sendall(std::string(sent, 'x'));
  const Outcome outcome = outcome_of([&] { (void)pair.server.recv_exactly(100'000); });
  REQUIRE(outcome.transferred == sent);
  REQUIRE(outcome.is_timeout == (pair.server.gettimeout() != 0s));
}

TEST_CASE("the copies of a Socket keep their own timeouts", "[socket][dup]") {
  Pair pair = tcp_pair();
  Socket& original = pair.server;
  pair.client.send("x");
  REQUIRE(original.recv(1) == "x");  // The copy is made of a socket that has received.
  Socket copy = original.dup();
  const bool copy_is_brief = GENERATE(true, false);
  Socket& brief = copy_is_brief ? copy : original;
  Socket& lasting = copy_is_brief ? original : copy;
  brief.settimeout(150ms);
  lasting.settimeout(GENERATE(Timeout(5s), Timeout()));
  for (int i = 0; i < 2; ++i) {
    check_timed_out(outcome_of([&] { brief.recv(1); }), 150ms);
    auto received = std::async(std::launch::async, [&] { return lasting.recv(1024); });
    pause_for(300ms);
    pair.client.send("late");
    REQUIRE(received.get() == "late");
  }
}

TEST_CASE("the copies of a listener keep their own timeouts", "[socket][dup]") {
  Socket lst = listener();
  lst.settimeout(3ms);
  REQUIRE_THROWS_AS(lst.accept(), TimeoutError);
  Socket copy = lst.dup();
  copy.settimeout(std::nullopt);  // Clears O_NONBLOCK, which both share.
  auto outcome =
      std::async(std::launch::async, [&] { return outcome_of([&] { (void)lst.accept(); }); });
  const bool ended = outcome.wait_for(kPatience) == std::future_status::ready;
  if (!ended) lst.shutdown(SHUT_RDWR);
  REQUIRE(ended);
  check_timed_out(outcome.get(), 3ms);
}

// Poll reports the socket until its error queue is read, while recv finds no data.
TEST_CASE("a recv sleeps until its timeout on a socket whose errors nobody fetches",
          "[socket][recv][native]") {
  Socket sk = named_socket();
  leave_error_unread(sk);
  REQUIRE(code_of([&] { sk.recv(1); }) == errc::connection_refused);
  const bool in_scope = GENERATE(false, true);
  sk.settimeout(in_scope ? Timeout() : Timeout(300ms));
  auto outcome = std::async(std::launch::async, [&] {
    std::optional<CancelScope> scope;
    if (in_scope) scope.emplace(Timeout(300ms));
    return outcome_of([&] { sk.recv(1); });
  });
  const bool ended = outcome.wait_for(kPatience) == std::future_status::ready;
  if (!ended) sk.recv(1, MSG_ERRQUEUE);
  REQUIRE(ended);
  const Outcome waited = outcome.get();
  check_timed_out(waited, 300ms);
  REQUIRE(waited.cpu < waited.time * 0.3);
}

// After its shutdown poll always reports a datagram socket as readable, while recv finds no data.
TEST_CASE("a recv ends when another thread shuts its datagram socket down",
          "[socket][recv][threads][native]") {
  Pair pair = message_pair();
  const bool in_scope = GENERATE(false, true);
  pair.server.settimeout(in_scope ? Timeout() : Timeout(2 * kPatience));
  std::stop_source source;
  std::string data = "nothing received yet";
  auto outcome = std::async(std::launch::async, [&] {
    std::optional<CancelScope> scope;
    if (in_scope) scope.emplace(source.get_token());
    return outcome_of([&] { data = pair.server.recv(9); });
  });
  pause_for(30ms);
  pair.server.shutdown(SHUT_RD);
  const bool ended = outcome.wait_for(kPatience) == std::future_status::ready;
  source.request_stop();
  const Outcome waited = outcome.get();
  CHECK(ended);
  CHECK(waited.error == std::error_code());
  CHECK(waited.cpu < 50ms);
  REQUIRE(data.empty());
}

TEST_CASE("sends that wait in several threads leave their socket's state alone",
          "[socket][send][threads][native]") {
  Kinds kinds = kTransfers;
  // sendfile(2) has no MSG_DONTWAIT, so it makes the socket non-blocking meanwhile.
  std::erase_if(kinds, [](const Kind& kind) {
    return kind.release != take || kind.call == sendfile || kind.call == sendfile_of_a_pipe;
  });
  for (const Kind& kind : kinds) {
    INFO(kind.name);
    Pair ends = kind.ends();
    ends.server.settimeout(100ms);
    std::vector<std::future<Outcome>> sends;
    for (int i = 0; i < 4; ++i) {
      sends.push_back(
          std::async(std::launch::async, [&] { return outcome_of([&] { kind.call(ends); }); }));
    }
    const auto all_ended = [&] {
      return std::ranges::all_of(
          sends, [](auto& send) { return send.wait_for(0s) == std::future_status::ready; });
    };
    bool changed = false;
    for (const Stopwatch watch; !all_ended() && watch.elapsed() < kPatience; pause_for(1ms)) {
      changed = changed || nonblocking(ends.server) || has_timer(ends.server, SO_SNDTIMEO);
    }
    CHECK_FALSE(changed);
    CHECK(all_ended());
    take(ends);  // Ends the sends that still wait.
    for (auto& send : sends) check_timed_out(send.get(), 100ms);
  }
}

TEST_CASE("one thread receives while another sends", "[socket][threads]") {
  Pair pair = GENERATE(true, false) ? unix_pair() : tcp_pair();
  const std::string there(4 << 20, 'x'), back(4 << 20, 'y');
  const auto send = [](Socket& sk, const std::string& data) {
    for (std::size_t at = 0; at < data.size(); at += 1 << 16) sk.sendall({&data[at], 1 << 16});
  };
  auto sent = std::async(std::launch::async, send, std::ref(pair.client), std::cref(there));
  auto answered = std::async(std::launch::async, send, std::ref(pair.server), std::cref(back));
  auto received = std::async(std::launch::async, [&] { return pair.server.recv_exactly(4 << 20); });
  REQUIRE(pair.client.recv_exactly(4 << 20) == back);
  REQUIRE(received.get() == there);
  REQUIRE_NOTHROW(sent.get());
  REQUIRE_NOTHROW(answered.get());
}
