// select: waiting for several sockets at once.
#include "thinsock/select.hpp"

#include "python.hpp"
#include "waiting.hpp"

using namespace test;
using std::errc;
using std::tuple;
using thinsock::Error;
using thinsock::select;
using thinsock::Selectable;

namespace {

using Sockets = std::vector<Socket*>;

// In which of the three answers a socket is that is in all three lists.
auto found(Socket& sk) {
  const auto [r, w, x] = select({sk}, {sk}, {sk}, 0s);
  return tuple{r.size(), w.size(), x.size()};
}

}  // namespace

TEST_CASE("select names the sockets that are ready, in the order of the lists", "[select]") {
  Pair a = unix_pair(), b = tcp_pair(), c = filled(unix_pair());
  a.client.send("x");
  b.client.send("x");
  const auto [r, w, x] = select({c.server, b.server, a.server}, {a.server, c.server}, {b.server});
  REQUIRE(r == Sockets{&b.server, &a.server});
  REQUIRE(w == Sockets{&a.server});
  REQUIRE(x == Sockets{});
}

TEST_CASE("select takes lists that grow", "[select]") {
  Socket lst = listener();
  std::vector<Pair> pairs;
  for (int i = 0; i < 3; ++i) pairs.push_back(unix_pair());
  std::vector<Selectable> all{lst};
  for (Pair& pair : pairs) all.push_back(pair.server);
  pairs[2].client.send("x");
  REQUIRE(select(all, {}, {}, kPatience).readable == Sockets{&pairs[2].server});
}

TEST_CASE("select wakes up as soon as a socket is ready", "[select]") {
  Pair a = unix_pair(), b = unix_pair();
  auto sender = std::async(std::launch::async, [&] {
    pause_for(30ms);
    b.client.send("x");
  });
  REQUIRE(select({a.server, b.server}, {}, {}).readable == Sockets{&b.server});
}

TEST_CASE("select finds nothing after its timeout, and not before", "[select]") {
  Pair a = unix_pair();
  const bool any = GENERATE(true, false);
  const std::vector<Selectable> list(any ? 1 : 0, a.server);
  const bool interrupted = GENERATE(false, true);
  std::optional<Interrupter> signals;
  if (interrupted) signals.emplace();
  const Stopwatch watch;
  const auto [r, w, x] = select(list, {}, list, 60ms);
  REQUIRE((r.empty() && w.empty() && x.empty()));
  REQUIRE(watch.elapsed() >= 60ms);
  REQUIRE(watch.elapsed() < 60ms + kLate);
}

TEST_CASE("select counts no timeout of a socket", "[select]") {
  Pair a = unix_pair();
  a.server.settimeout(0s);
  const Stopwatch watch;
  REQUIRE(select({a.server}, {}, {}, 30ms).readable.empty());
  REQUIRE(watch.elapsed() >= 30ms);
}

TEST_CASE("a stream with unread bytes is readable", "[select][stream]") {
  Pair a = unix_pair(), b = unix_pair();
  thinsock::SocketStream file = a.server.makefile();
  REQUIRE(select({file}, {}, {}, 0s).readable.empty());
  a.client.send("one\ntwo\n");
  REQUIRE(select({file}).readable == Sockets{&file.socket()});
  REQUIRE(file.readline() == "one\n");
  REQUIRE(arrived(a.server).empty());
  b.client.send("x");
  REQUIRE(select({file, b.server}).readable == Sockets{&file.socket(), &b.server});
  REQUIRE(select({}, {}, {file}, 0s).exceptional.empty());
  REQUIRE(file.readline() == "two\n");
  REQUIRE(select({file}, {}, {}, 0s).readable.empty());
}

TEST_CASE("a stop ends select", "[select][cancel]") {
  Pair a = unix_pair();
  const bool before = GENERATE(true, false);
  std::stop_source source;
  if (before) source.request_stop();
  auto outcome = std::async(std::launch::async, [&] {
    const CancelScope scope(source.get_token());
    return outcome_of([&] { select({a.server}); });
  });
  if (!before) pause_for(30ms);
  source.request_stop();
  REQUIRE(outcome.get().error == errc::operation_canceled);
}

TEST_CASE("the end of a scope is no timeout of select", "[select][cancel]") {
  Pair a = unix_pair();
  const CancelScope scope(50ms);
  REQUIRE(select({a.server}, {}, {}, 1ms).readable.empty());
  const Timeout timeout = GENERATE(Timeout(), Timeout(kPatience));
  check_timed_out(outcome_of([&] { select({a.server}, {}, {}, timeout); }), 0ms);
}

TEST_CASE("select of a closed socket fails", "[select]") {
  Pair a = unix_pair();
  Socket closed = std::move(a.client);
  closed.close();
  REQUIRE_THROWS_MATCHES(select({a.server, closed}), Error, Code(errc::bad_file_descriptor));
  REQUIRE_THROWS_MATCHES(select({}, {closed}), Error, Code(errc::bad_file_descriptor));
  ::close(a.server.fileno());
  REQUIRE_THROWS_MATCHES(select({a.server}), Error, Code(errc::bad_file_descriptor));
  (void)a.server.detach();
}

TEST_CASE("a hang-up that is not asked for is waited past, asleep", "[select]") {
  Pair a = unix_pair();
  a.client.close();
  const Outcome outcome =
      outcome_of([&] { REQUIRE(select({}, {}, {a.server}, 200ms).exceptional.empty()); });
  REQUIRE(outcome.time >= 200ms);
  REQUIRE(outcome.cpu < 50ms);
}

TEST_CASE("select waits for descriptors above 1024", "[select]") {
  Pair a = unix_pair();
  rlimit old{}, limit{};
  ::getrlimit(RLIMIT_NOFILE, &old);
  limit = old;
  limit.rlim_cur = std::max<rlim_t>(old.rlim_cur, 2000);
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  Socket high = Socket::adopt(::fcntl(a.server.fileno(), F_DUPFD_CLOEXEC, 1500));
  a.client.send("x");
  REQUIRE(select({high}, {}, {}, kPatience).readable == Sockets{&high});
  high.close();
  ::setrlimit(RLIMIT_NOFILE, &old);
}

TEST_CASE("a socket in any state is as ready as in Python", "[select][python]") {
  const std::string ask =
      "; import select; return [len(l) for l in select.select([s], [s], [s], 0)]";
  const auto pairs = [&](const std::string& claim, const std::string& python, auto&& change) {
    same("Unix, " + claim, "s, c = pair(); " + python + ask, [&] {
      Pair pair = unix_pair();
      change(pair.server, pair.client);
      return found(pair.server);
    });
    same("TCP, " + claim, "s, c = tcp_pair(); " + python + ask, [&] {
      Pair pair = tcp_pair();
      change(pair.server, pair.client);
      return found(pair.server);
    });
  };
  pairs("idle", "pass", [](Socket&, Socket&) {});
  pairs("data", "c.send(b'x')", [](Socket&, Socket& c) { c.send("x"); });
  pairs("end of file", "c.shutdown(SHUT_WR)", [](Socket&, Socket& c) { c.shutdown(SHUT_WR); });
  pairs("closed by the peer", "c.close()", [](Socket&, Socket& c) { c.close(); });
  pairs("reset", "c.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0)); c.close()",
        [](Socket&, Socket& c) { reset(std::move(c)); });
  pairs("no more to send", "s.shutdown(SHUT_WR)", [](Socket& s, Socket&) { s.shutdown(SHUT_WR); });
  pairs("shut down", "s.shutdown(SHUT_RDWR)", [](Socket& s, Socket&) { s.shutdown(SHUT_RDWR); });
  same("urgent data", "s, c = tcp_pair(); c.send(b'x', MSG_OOB)" + ask, [] {
    Pair pair = tcp_pair();
    pair.client.send("x", MSG_OOB);
    return found(pair.server);
  });
  same("a new socket", "s = socket()" + ask, [] {
    Socket s;
    return found(s);
  });
  same("a new datagram socket", "s = socket(AF_INET, SOCK_DGRAM)" + ask, [] {
    Socket s(AF_INET, SOCK_DGRAM);
    return found(s);
  });
  same("a listener", "s = listener()" + ask, [] {
    Socket s = listener();
    return found(s);
  });
  same("a listener with a client", "s = listener(); c = socket(); c.connect(s.getsockname())" + ask,
       [] {
         Socket s = listener(), c;
         c.connect(s.getsockname());
         return found(s);
       });
  same("a refused connection",
       "r = refusing(); s = socket(); s.setblocking(False); s.connect_ex(r.getsockname())" + ask,
       [] {
         const RefusingPort port;
         Socket s;
         s.setblocking(false);
         (void)s.connect_ex(port.address);
         return found(s);
       });
}

TEST_CASE("mistakes are found as in Python", "[select][python]") {
  same("a negative timeout", "import select; select.select([], [], [], -1)",
       [] { select({}, {}, {}, -1s); });
  same("nothing to wait for", "import select; return select.select([], [], [], 0.01)", [] {
    const auto [r, w, x] = select({}, {}, {}, 10ms);
    return tuple{std::vector<int>(r.size()), std::vector<int>(w.size()),
                 std::vector<int>(x.size())};
  });
}
