// How long calls wait: timeouts, deadlines, signals, and descriptors that others have changed.
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/time.h>
#include <time.h>

#include <algorithm>
#include <future>
#include <memory>
#include <optional>

#include "support.hpp"

using namespace test;
using Catch::Contains;
using std::errc;
using std::chrono::milliseconds;
using thinsock::Address;
using thinsock::EOFError;
using thinsock::Error;
using thinsock::Timeout;
using thinsock::TimeoutError;

namespace {

// A clock that is a socket: nobody ever sends to it.
class Clock {
 public:
  void wait(milliseconds time) {
    char buf[1];
    std::error_code error;
    pair_.client.settimeout(time);
    pair_.client.recv_into(buf, error);
  }

 private:
  Pair pair_ = unix_pair();
};

// Sends as much as fits. By the kernel's own call: what is tested here should not be the tool. Not
// for TCP, whose buffers go on moving for a while.
void fill(const Socket& sk, const Address& to) {
  // Datagrams are short: the queue is to be full, not the sender's buffer, which poll would see.
  const std::string block(sk.type() == SOCK_DGRAM ? 1 : 4096, 'x');
  pollfd entry{sk.fileno(), POLLOUT, 0};
  const auto name = to.size() == 0 ? nullptr : to.data();
  do {
    for (const std::size_t size : {block.size(), std::size_t(1)}) {
      while (::sendto(sk.fileno(), block.data(), size, MSG_DONTWAIT, name, to.size()) > 0) continue;
    }
  } while (name == nullptr && ::poll(&entry, 1, 10) == 1);
}

void drain(Socket& sk) {
  std::string buf(65536, '\0');
  std::error_code error;
  while (!error) sk.recv_into(buf, MSG_DONTWAIT, error);
}

struct Ends {
  Ends(Pair pair) : subject(std::move(pair.server)), other(std::move(pair.client)) {}
  Socket subject;  // Makes the call.
  Socket other;    // Whose doing would end it.
  char buf[4] = {};
};

Ends filled(Pair pair, bool connected = true) {
  fill(pair.server, connected ? Address() : pair.client.getsockname());
  return Ends(std::move(pair));
}

// A queue, unlike a socketpair's, which has its own limit.
Pair unix_queue() {
  Pair pair{patient(Socket(AF_UNIX, SOCK_DGRAM)), patient(Socket(AF_UNIX, SOCK_DGRAM))};
  pair.client.bind("");
  return pair;
}

Pair connected_queue() {
  Pair pair = unix_queue();
  pair.server.connect(pair.client.getsockname());
  return pair;
}

Pair udp_pair() {
  Pair pair{named_socket(), named_socket()};
  pair.client.connect(pair.server.getsockname());
  return pair;
}

void give(Ends& e) { e.other.sendall("xxxx"); }
void take(Ends& e) { drain(e.other); }

// A call that has to wait: where nothing has come yet, or nothing more fits.
struct Waiting {
  const char* name;
  Ends (*ends)();
  void (*call)(Ends&);
  void (*release)(Ends&);
};

constexpr std::size_t kLong = 1 << 20;

const Waiting kWaiting[] = {
    {"recv on TCP", [] { return Ends(tcp_pair()); }, [](Ends& e) { e.subject.recv(9); }, give},
    {"recv on UDP", [] { return Ends(udp_pair()); }, [](Ends& e) { e.subject.recv(9); }, give},
    {"recv of a long message", [] { return Ends(unix_pair(SOCK_SEQPACKET)); },
     [](Ends& e) { e.subject.recv(kLong); }, give},
    {"recv_into", [] { return Ends(unix_pair()); }, [](Ends& e) { e.subject.recv_into(e.buf); },
     give},
    {"recv_exactly", [] { return Ends(tcp_pair(AF_INET6)); },
     [](Ends& e) { e.subject.recv_exactly(4); }, give},
    {"recv_exactly_into", [] { return Ends(unix_pair()); },
     [](Ends& e) { e.subject.recv_exactly_into(e.buf); }, give},
    {"recvfrom", [] { return Ends(udp_pair()); }, [](Ends& e) { e.subject.recvfrom(9); }, give},
    {"recvfrom_into", [] { return Ends(unix_pair(SOCK_DGRAM)); },
     [](Ends& e) { e.subject.recvfrom_into(e.buf); }, give},
    {"accept",
     [] {
       return Ends({patient(Socket()), listener()});
     },
     [](Ends& e) { e.subject.accept(); },
     [](Ends& e) { e.other.connect(e.subject.getsockname()); }},
    {"send on a Unix stream", [] { return filled(unix_pair()); },
     [](Ends& e) { e.subject.send("x"); }, take},
    {"send of a message", [] { return filled(unix_pair(SOCK_SEQPACKET)); },
     [](Ends& e) { e.subject.send("x"); }, take},
    {"send to a full queue", [] { return filled(connected_queue()); },
     [](Ends& e) { e.subject.send("x"); }, take},
    {"sendall", [] { return filled(unix_pair()); }, [](Ends& e) { e.subject.sendall("xxxx"); },
     take},
    {"sendto a full queue", [] { return filled(unix_queue(), false); },
     [](Ends& e) { e.subject.sendto("x", e.other.getsockname()); }, take},
};

// A call under way in a thread of its own, which is left behind if the call hangs.
class Running {
 public:
  Running(const Waiting& waiting, Timeout timeout, bool interrupted = false)
      : Running(waiting, std::make_shared<Ends>(waiting.ends()), timeout, interrupted) {}

  Running(const Waiting& waiting, std::shared_ptr<Ends> ends, Timeout timeout, bool interrupted)
      : waiting_(waiting), ends_(std::move(ends)) {
    ends_->subject.settimeout(timeout);
    std::packaged_task<Outcome()> task([&waiting, interrupted, ends = ends_] {
      std::optional<Interrupter> interrupter;
      if (interrupted) interrupter.emplace();
      return outcome_of([&] { waiting.call(*ends); });
    });
    outcome_ = task.get_future();
    thread_ = std::thread(std::move(task));
  }
  Running(Running&&) = default;
  ~Running() {
    if (thread_.joinable()) finish();
  }

  const char* name() const { return waiting_.name; }
  void release() { waiting_.release(*ends_); }
  Outcome outcome() {
    INFO(name());
    CHECK(finish());
    REQUIRE(ended());
    return outcome_.get();
  }

 private:
  bool ended() const { return outcome_.wait_for(kPatience) == std::future_status::ready; }
  // Whether the call has ended by itself. Otherwise it is helped out, or left behind.
  bool finish() {
    const bool by_itself = ended();
    if (!by_itself) release();
    by_itself || ended() ? thread_.join() : thread_.detach();
    return by_itself;
  }

  const Waiting& waiting_;
  std::shared_ptr<Ends> ends_;
  std::future<Outcome> outcome_;
  std::thread thread_;
};

std::vector<Running> all_running(Timeout timeout, bool interrupted = false) {
  std::vector<Running> all;
  for (const Waiting& waiting : kWaiting) all.emplace_back(waiting, timeout, interrupted);
  return all;
}

// Each of the calls has to be good once: how late a loaded machine wakes a thread is not ours to
// test, but it is not late time after time.
template <class Meanwhile, class Good>
void check_some_try(Timeout timeout, const Meanwhile& meanwhile, const Good& good) {
  std::vector<bool> has_been(std::size(kWaiting));
  for (int tries = 0; tries < 5; ++tries) {
    std::vector<Running> all = all_running(timeout);
    meanwhile(all);
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (good(all[i].outcome())) has_been[i] = true;
    }
    if (std::find(has_been.begin(), has_been.end(), false) == has_been.end()) break;
  }
  for (std::size_t i = 0; i < has_been.size(); ++i) {
    INFO(kWaiting[i].name);
    CHECK(has_been[i]);
  }
}

void check_timed_out(const Outcome& outcome, milliseconds timeout) {
  CAPTURE(outcome.error.message(), outcome.time.count(), timeout.count());
  CHECK(outcome.is_timeout);
  CHECK(outcome.error == errc::timed_out);
  CHECK(outcome.time >= timeout);
  CHECK(outcome.time < timeout + 1000ms);
}

}  // namespace

TEST_CASE("a call waits for its timeout and not less", "[socket][settimeout]") {
  const auto timeout = GENERATE(3ms, 50ms, 99ms, 100ms, 101ms, 300ms, 600ms);
  const bool interrupted = GENERATE(false, true);
  for (Running& running : all_running(timeout, interrupted)) {
    INFO(running.name() << (interrupted ? ", interrupted" : ""));
    const Outcome outcome = running.outcome();
    check_timed_out(outcome, timeout);
    CHECK(outcome.transferred == 0);
  }
}

TEST_CASE("a call ends at most 5 ms after its timeout", "[socket][settimeout][native]") {
  const auto timeout = GENERATE(3ms, 50ms, 99ms, 100ms, 101ms, 300ms, 600ms);
  check_some_try(
      timeout, [](auto&) {}, [&](const Outcome& outcome) { return outcome.time <= timeout + 5ms; });
}

TEST_CASE("a call that waits sleeps", "[socket][settimeout]") {
  const bool timed = GENERATE(true, false);
  std::vector<Running> all = all_running(timed ? Timeout(300ms) : Timeout());
  if (!timed) Clock().wait(300ms);
  for (Running& running : all) {
    INFO(running.name());
    if (!timed) running.release();
    const Outcome outcome = running.outcome();
    CHECK(outcome.cpu.count() < outcome.time.count() * 0.3);
  }
}

TEST_CASE("a call that waits goes on when it can", "[socket][settimeout]") {
  const Timeout for_ages = std::chrono::hours(24 * 365 * 290);
  const Timeout timeout = GENERATE_COPY(Timeout(), Timeout(5s), for_ages);
  const bool interrupted = GENERATE(false, true);
  std::vector<Running> all = all_running(timeout, interrupted);
  Clock().wait(50ms);
  for (Running& running : all) running.release();
  for (Running& running : all) {
    INFO(running.name() << (interrupted ? ", interrupted" : ""));
    const Outcome outcome = running.outcome();
    CHECK(outcome.error == std::error_code());
    CHECK(outcome.time < 1050ms);
  }
}

TEST_CASE("a call goes on at once also late in its timeout", "[socket][settimeout][native]") {
  const auto release_late = [](std::vector<Running>& all) {
    Clock().wait(900ms);
    for (Running& running : all) running.release();
  };
  check_some_try(1000ms, release_late, [](const Outcome& outcome) { return !outcome.error; });
}

TEST_CASE("a non-blocking call does not wait", "[socket][settimeout]") {
  const bool cleared = GENERATE(false, true);
  for (const Waiting& waiting : kWaiting) {
    // There is no MSG_DONTWAIT for accept: it goes by the descriptor's own mode.
    if (cleared && std::string(waiting.name) == "accept") continue;
    INFO(waiting.name << (cleared ? ", O_NONBLOCK cleared by another owner" : ""));
    auto ends = std::make_shared<Ends>(waiting.ends());
    ends->subject.settimeout(0s);
    REQUIRE(::fcntl(ends->subject.fileno(), F_GETFL) & O_NONBLOCK);
    if (cleared) ::fcntl(ends->subject.fileno(), F_SETFL, O_RDWR);
    Running running(waiting, ends, 0s, false);
    const Outcome outcome = running.outcome();
    CHECK(outcome.error == errc::operation_would_block);
    CHECK_FALSE(outcome.is_timeout);
    CHECK(outcome.transferred == 0);
    CHECK(outcome.time < 1000ms);
  }
}

TEST_CASE("a blocking call waits in spite of another owner's O_NONBLOCK", "[socket][settimeout]") {
  for (const Waiting& waiting : kWaiting) {
    INFO(waiting.name);
    auto ends = std::make_shared<Ends>(waiting.ends());
    ends->subject.settimeout(std::nullopt);
    ::fcntl(ends->subject.fileno(), F_SETFL, O_RDWR | O_NONBLOCK);
    Running running(waiting, ends, std::nullopt, false);
    Clock().wait(50ms);
    running.release();
    const Outcome outcome = running.outcome();
    CHECK(outcome.error == std::error_code());
    CHECK(outcome.cpu.count() < std::max(outcome.time.count() * 0.3, 10.0));
  }
}

TEST_CASE("a TimeoutError names the call and the peer", "[socket][settimeout]") {
  Pair pair = tcp_pair();
  const std::string peer = pair.server.getsockname().str();
  char buf[1];
  pair.client.settimeout(3ms);
  REQUIRE_THROWS_WITH(pair.client.recv(1), Contains("recv " + peer + ": "));
  REQUIRE_THROWS_WITH(pair.client.recv_into(buf), Contains("recv_into " + peer + ": "));
  REQUIRE_THROWS_WITH(pair.client.recvfrom(1), Contains("recvfrom " + peer + ": "));
  REQUIRE_THROWS_WITH(pair.client.recv_exactly(1), Contains("recv_exactly " + peer + ": "));
  REQUIRE_THROWS_MATCHES(pair.client.recv(1), TimeoutError, Code(errc::timed_out));
}

TEST_CASE("a call that timed out takes nothing away", "[socket][settimeout]") {
  Pair pair = unix_pair();
  pair.server.settimeout(GENERATE(3ms, 150ms));
  REQUIRE_THROWS_AS(pair.server.recv(1), TimeoutError);
  pair.client.send("abc");
  REQUIRE(pair.server.recv(1024) == "abc");
}

TEST_CASE("a changed timeout holds for the next call", "[socket][settimeout]") {
  Pair pair = tcp_pair();
  for (const milliseconds timeout : {150ms, 20ms, 400ms, 150ms}) {
    pair.server.settimeout(timeout);
    check_timed_out(outcome_of([&] { pair.server.recv(1); }), timeout);
  }
  pair.server.settimeout(std::nullopt);
  REQUIRE(pair.server.getsockopt(SOL_SOCKET, SO_RCVTIMEO, sizeof(timeval)) ==
          std::string(sizeof(timeval), '\0'));
  auto received = std::async(std::launch::async, [&] { return pair.server.recv(1024); });
  Clock().wait(600ms);
  pair.client.send("x");
  REQUIRE(received.get() == "x");
}

TEST_CASE("the error_code forms tell of the timeout", "[socket][settimeout]") {
  Ends receiving = unix_pair(), sending = filled(unix_pair()), queue = filled(unix_queue(), false);
  const Address to = queue.other.getsockname();
  char buf[1];
  std::error_code errors[5];
  for (Socket* sk : {&receiving.subject, &sending.subject, &queue.subject}) sk->settimeout(3ms);
  receiving.subject.recv_into(buf, errors[0]);
  receiving.subject.recvfrom_into(buf, 0, errors[1]);
  REQUIRE(sending.subject.send("x", errors[2]) == 0);
  REQUIRE(sending.subject.sendall("x", errors[3]) == 0);
  REQUIRE(queue.subject.sendto("x", to, errors[4]) == 0);
  for (const std::error_code& error : errors) REQUIRE(error == errc::timed_out);
}

TEST_CASE("MSG_DONTWAIT keeps a send from waiting", "[socket][send]") {
  Ends ends = filled(unix_pair());
  const Stopwatch watch;
  REQUIRE_THROWS_MATCHES(ends.subject.send("x", MSG_DONTWAIT), Error,
                         Code(errc::operation_would_block));
  REQUIRE_THROWS_MATCHES(ends.subject.sendall("x", MSG_DONTWAIT), Error,
                         Code(errc::operation_would_block));
  REQUIRE(watch.elapsed() < 1000ms);
}

TEST_CASE("sendall has one deadline while a slow reader takes some", "[socket][sendall]") {
  Pair pair = GENERATE(true, false) ? unix_pair() : tcp_pair();
  const std::string data(64 << 20, 'x');
  auto received = std::async(std::launch::async, [&] {
    std::string buf(65536, '\0');
    std::size_t all = 0;
    Clock clock;
    for (std::size_t size; (size = pair.server.recv_into(buf)) != 0; all += size) {
      if (all < std::size_t(4 << 20)) clock.wait(20ms);
    }
    return all;
  });
  pair.client.settimeout(300ms);
  const Outcome outcome = outcome_of([&] { pair.client.sendall(data); });
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
    Clock clock;
    std::size_t count = 0;
    for (; !stop; ++count, clock.wait(20ms)) pair.client.send("x");
    pair.client.close();
    return count;
  });
  pair.server.settimeout(timeout);
  const Outcome outcome = outcome_of([&] { pair.server.recv_exactly(1000); });
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
  const Outcome outcome = outcome_of([&] { pair.server.recv_exactly(100'000); });
  REQUIRE(outcome.transferred == sent);
  REQUIRE(outcome.is_timeout == (pair.server.gettimeout() != 0s));
}

TEST_CASE("the copies of a Socket keep their own timeouts", "[socket][dup]") {
  Pair pair = tcp_pair();
  Socket& original = pair.server;
  pair.client.send("x");
  REQUIRE(original.recv(1) == "x");  // Has set whatever timer it may use.
  Socket copy = original.dup();
  const bool copy_is_brief = GENERATE(true, false);
  Socket& brief = copy_is_brief ? copy : original;
  Socket& lasting = copy_is_brief ? original : copy;
  brief.settimeout(150ms);
  lasting.settimeout(GENERATE(Timeout(5s), Timeout()));
  for (int i = 0; i < 2; ++i) {
    check_timed_out(outcome_of([&] { brief.recv(1); }), 150ms);
    auto received = std::async(std::launch::async, [&] { return lasting.recv(1024); });
    Clock().wait(300ms);
    pair.client.send("late");
    REQUIRE(received.get() == "late");
  }
}

TEST_CASE("the copies of a listener keep their own timeouts", "[socket][dup]") {
  Socket lst = listener();
  lst.settimeout(3ms);
  REQUIRE_THROWS_AS(lst.accept(), TimeoutError);
  Socket copy = lst.dup();
  copy.settimeout(std::nullopt);  // One O_NONBLOCK for both.
  auto outcome = std::async(std::launch::async, [&] { return outcome_of([&] { lst.accept(); }); });
  const bool ended = outcome.wait_for(kPatience) == std::future_status::ready;
  if (!ended) lst.shutdown(SHUT_RDWR);
  REQUIRE(ended);
  check_timed_out(outcome.get(), 3ms);
}

// Poll tells of what lies in the error queue for ever, and recv makes nothing of it.
TEST_CASE("a recv ends in time on a socket whose errors nobody fetches", "[socket][recv]") {
  Socket sk(AF_INET, SOCK_DGRAM);
  sk.setsockopt(IPPROTO_IP, IP_RECVERR, 1);
  sk.settimeout(30ms);
  sk.connect(RefusingPort().address);
  sk.send("x");
  REQUIRE(code_of([&] { sk.recv(1); }) == errc::connection_refused);
  auto outcome = std::async(std::launch::async, [&] { return outcome_of([&] { sk.recv(1); }); });
  const bool ended = outcome.wait_for(kPatience) == std::future_status::ready;
  if (!ended) sk.recv(1, MSG_ERRQUEUE);
  REQUIRE(ended);
  check_timed_out(outcome.get(), 30ms);
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
