// create_connection to a host with several addresses, one by one and side by side.
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>

#include <functional>
#include <future>
#include <stop_token>
#include <string_view>

#include "support.hpp"
#include "thinsock/cancel.hpp"

using namespace test;
using Catch::Contains;
using std::errc;
using thinsock::Address;
using thinsock::CancelScope;
using thinsock::create_connection;
using thinsock::Error;
using thinsock::Timeout;
using thinsock::TimeoutError;

// The addresses of the name "host", in the resolver's order, until the end of the scope.
struct Host {
  explicit Host(std::vector<std::string> given) { addresses = std::move(given); }
  ~Host() { addresses.clear(); }
  static inline std::vector<std::string> addresses;
};

// Replaces libc's getaddrinfo: it answers for "host", and asks libc's about all other names.
extern "C" int getaddrinfo(const char* name, const char* service, const addrinfo* hints,
                           addrinfo** list) {
  static const auto libc =
      reinterpret_cast<decltype(&::getaddrinfo)>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  if (name != nullptr && name == std::string_view("broken")) {
    errno = 0;  // As a faulty module of the resolver leaves it.
    return EAI_SYSTEM;
  }
  if (name == nullptr || name != std::string_view("host")) return libc(name, service, hints, list);
  int error = EAI_NONAME;
  addrinfo** end = list;
  *end = nullptr;
  for (const std::string& address : Host::addresses) {
    error = libc(address.c_str(), service, hints, end);
    if (error == 0) end = &(*end)->ai_next;
  }
  return *list ? 0 : error;
}

static bool next_connect_is_interrupted = false;

// Takes the place of libc's, to do what an AF_VSOCK connect does when a signal comes: nothing.
extern "C" int connect(int fd, const sockaddr* address, socklen_t size) {
  static const auto libc = reinterpret_cast<decltype(&::connect)>(::dlsym(RTLD_NEXT, "connect"));
  if (!std::exchange(next_connect_is_interrupted, false)) return libc(fd, address, size);
  errno = EINTR;
  return -1;
}

namespace {

// Checks that the call throws an Error of this code, which is a TimeoutError if the code is
// timed_out. Returns its what().
template <class Call>
std::string error_of(errc code, const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    INFO(error.what());
    CHECK(error.code() == code);
    CHECK((dynamic_cast<const TimeoutError*>(&error) != nullptr) == (code == errc::timed_out));
    return error.what();
  }
  FAIL("nothing was thrown");
  return "";
}

const std::vector<std::string> kTwo = {"127.0.0.2", "127.0.0.3"};
const std::vector<std::string> kThree = {"127.0.0.2", "127.0.0.3", "127.0.0.4"};
const std::vector<std::string> kMixed = {"::1", "::ffff:127.0.0.5", "127.0.0.2", "127.0.0.3"};

int family_of(const char* host) { return Address(host, 0).family(); }

// A listener with a full backlog, which answers no connect.
Socket black_hole(const char* host, int port = 0) {
  FullListener full(Address(host, port), family_of(host));
  return patient(std::move(full.lst));
}

Socket live(const char* host, int port = 0) {
  return patient(thinsock::create_server(Address(host, port), {.family = family_of(host)}));
}

int port_of(const Socket& sk) { return sk.getsockname().port(); }

// A socket whose port refuses connections at every address of this machine.
Socket bound_to_all() {
  Socket sk(AF_INET6);
  sk.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 0);
  sk.bind({"", 0});
  return sk;
}

std::string peer_of(const Socket& sk) { return sk.getpeername().host(); }

// Whether no client has connected to the listener.
bool untouched(Socket& lst) {
  std::error_code error;
  lst.settimeout(0s);
  (void)lst.accept(error);
  return error == errc::operation_would_block;
}

}  // namespace

TEST_CASE("one by one, a dead address costs its share of the budget", "[create_connection]") {
  const Host host(kTwo);
  const Socket dead = black_hole("127.0.0.2"), lst = live("127.0.0.3", port_of(dead));
  const Stopwatch watch;
  const Socket sk = create_connection({"host", port_of(dead)}, 600ms);
  REQUIRE(peer_of(sk) == "127.0.0.3");
  REQUIRE(watch.elapsed() >= 300ms);
  REQUIRE(watch.elapsed() < 1600ms);
}

TEST_CASE("side by side, a dead address costs the delay", "[create_connection]") {
  const Host host(kTwo);
  const Socket dead = black_hole("127.0.0.2"), lst = live("127.0.0.3", port_of(dead));
  const Stopwatch watch;
  const Socket sk = create_connection({"host", port_of(dead)}, 10s, {}, 250ms);
  REQUIRE(peer_of(sk) == "127.0.0.3");
  REQUIRE(watch.elapsed() >= 250ms);
  REQUIRE(watch.elapsed() < 1000ms);
}

TEST_CASE("side by side, without a budget a dead address costs the delay", "[create_connection]") {
  const Host host({"::1", "127.0.0.2"});
  const Socket dead = black_hole("::1"), lst = live("127.0.0.2", port_of(dead));
  const Stopwatch watch;
  const Socket sk = create_connection({"host", port_of(dead)}, std::nullopt, {}, 250ms);
  REQUIRE(peer_of(sk) == "127.0.0.2");
  REQUIRE(watch.elapsed() >= 250ms);
  REQUIRE(watch.elapsed() < 1000ms);
}

TEST_CASE("an address that refuses costs nothing", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(5s));
  const Host host(kTwo);
  const Socket lst = live("127.0.0.3");
  const Stopwatch watch;
  const Socket sk = create_connection({"host", port_of(lst)}, 10s, {}, delay);
  REQUIRE(peer_of(sk) == "127.0.0.3");
  REQUIRE(watch.elapsed() < 1000ms);
}

TEST_CASE("a delay of zero tries all addresses at once", "[create_connection]") {
  const Host host(kThree);
  const Socket dead = black_hole("127.0.0.2"), dead_too = black_hole("127.0.0.3", port_of(dead));
  const Socket lst = live("127.0.0.4", port_of(dead));
  const Stopwatch watch;
  const Socket sk = create_connection({"host", port_of(dead)}, 10s, {}, 0s);
  REQUIRE(peer_of(sk) == "127.0.0.4");
  REQUIRE(watch.elapsed() < 1000ms);
}

TEST_CASE("the first address that is connected wins", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(0s), Timeout(250ms));
  const Host host(kTwo);
  const Socket lst = live("127.0.0.2"), other = live("127.0.0.3", port_of(lst));
  const Socket sk = create_connection({"host", port_of(lst)}, 10s, {}, delay);
  REQUIRE(peer_of(sk) == "127.0.0.2");
}

TEST_CASE("an address that answers within the delay leaves the next untried",
          "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(5s));
  const Host host(kTwo);
  const Socket lst = live("127.0.0.2");
  Socket other = live("127.0.0.3", port_of(lst));
  (void)create_connection({"host", port_of(lst)}, 10s, {}, delay);
  REQUIRE(untouched(other));
}

TEST_CASE("an attempt that others were started beside can still win", "[create_connection]") {
  const Host host(kTwo);
  Socket late = black_hole("127.0.0.2");
  const Socket dead = black_hole("127.0.0.3", port_of(late));
  auto admitted = std::async(std::launch::async, [&] {
    pause_for(200ms);
    (void)late.accept();
  });
  const Socket sk = create_connection({"host", port_of(dead)}, 10s, {}, 20ms);
  REQUIRE(peer_of(sk) == "127.0.0.2");
  admitted.get();
}

TEST_CASE("side by side, IPv6 and IPv4 are tried by turns", "[create_connection]") {
  const Host host(kMixed);
  const auto check_order = [&](const std::string& what, int port) {
    INFO(what);
    std::size_t last = 0;
    for (const char* name : {"[::1]", "127.0.0.2", "[::ffff:127.0.0.5]", "127.0.0.3"}) {
      const std::size_t at = what.find(name + (':' + std::to_string(port)));
      CHECK(at != what.npos);
      CHECK(at > last);
      last = at;
    }
  };
  SECTION("if they refuse") {
    const Socket nobody = bound_to_all();
    const int port = port_of(nobody);
    check_order(error_of(errc::connection_refused,
                         [&] {
                           (void)create_connection({"host", port}, 10s, {}, 5s);
                         }),
                port);
  }
  SECTION("if they are dead") {
    const Socket dead = black_hole("127.0.0.5");
    const int port = port_of(dead);
    const Socket others[] = {black_hole("::1", port), black_hole("127.0.0.2", port),
                             black_hole("127.0.0.3", port)};
    check_order(error_of(errc::timed_out,
                         [&] {
                           (void)create_connection({"host", port}, 200ms, {}, 10ms);
                         }),
                port);
  }
}

TEST_CASE("one by one, addresses are tried in the resolver's order", "[create_connection]") {
  const Host host(kMixed);
  const Socket nobody = bound_to_all();
  const std::string what = error_of(errc::connection_refused, [&] {
    (void)create_connection({"host", port_of(nobody)}, 10s);
  });
  REQUIRE_THAT(what, Catch::Matches(".*::1.*::ffff:127.0.0.5.*127.0.0.2.*127.0.0.3.*"));
}

TEST_CASE("if all addresses fail the Error lists each with its reason", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(10ms));
  const Host host(kTwo);
  const Socket dead = black_hole("127.0.0.3");
  const std::string end = ':' + std::to_string(port_of(dead));
  const std::size_t before = open_descriptors();
  const std::string what = error_of(errc::timed_out, [&] {
    (void)create_connection({"host", port_of(dead)}, 200ms, {}, delay);
  });
  REQUIRE_THAT(what, Contains("host" + end));
  REQUIRE_THAT(what, Contains("127.0.0.2" + end + ": Connection refused"));
  REQUIRE_THAT(what, Contains("127.0.0.3" + end + ": timed out"));
  REQUIRE(open_descriptors() == before);
}

TEST_CASE("the Errors of all addresses are nested, the last one outermost", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(10ms));
  const Host host(kTwo);
  const Socket dead = black_hole("127.0.0.3");
  const std::string end = ':' + std::to_string(port_of(dead));
  std::vector<std::string> errors;
  const std::function<void(const Error&)> collect = [&](const Error& error) {
    errors.push_back(error.what());
    try {
      std::rethrow_if_nested(error);
    } catch (const Error& before) {
      CHECK(before.code() == (errors.size() == 1 ? errc::timed_out : errc::connection_refused));
      collect(before);
    }
  };
  try {
    (void)create_connection({"host", port_of(dead)}, 200ms, {}, delay);
  } catch (const TimeoutError& error) {
    collect(error);
  }
  REQUIRE(errors.size() == 3);
  REQUIRE(errors[0] == "connect host" + end + " (127.0.0.2" + end +
                           ": Connection refused; 127.0.0.3" + end +
                           ": timed out), after 0.2s: timed out");
  REQUIRE(errors[1] == "connect 127.0.0.3" + end + ": timed out");
  REQUIRE(errors[2] == "connect 127.0.0.2" + end + ": Connection refused");
}

TEST_CASE("the Error of a single address names it and the host", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(250ms));
  const Host host({"127.0.0.2"});
  const Socket nobody = bound_to_all();
  const std::string end = ':' + std::to_string(port_of(nobody));
  REQUIRE(error_of(errc::connection_refused, [&] {
            (void)create_connection({"host", port_of(nobody)}, 10s, {}, delay);
          }) == "connect host" + end + " (127.0.0.2" + end + "): Connection refused");
}

TEST_CASE("all addresses together have one budget", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(0s), Timeout(50ms), Timeout(5s));
  const Host host(kThree);
  std::vector<Socket> dead;
  dead.push_back(black_hole("127.0.0.2"));
  const int port = port_of(dead[0]);
  dead.push_back(black_hole("127.0.0.3", port));
  dead.push_back(black_hole("127.0.0.4", port));
  const std::size_t before = open_descriptors();
  const Stopwatch watch;
  error_of(errc::timed_out, [&] { (void)create_connection({"host", port}, 300ms, {}, delay); });
  REQUIRE(watch.elapsed() >= 300ms);
  REQUIRE(watch.elapsed() < 1300ms);
  REQUIRE(open_descriptors() == before);
}

TEST_CASE("the attempts that lose are closed", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(0s), Timeout(20ms));
  const Host host(kThree);
  const Socket dead = black_hole("127.0.0.2"), lst = live("127.0.0.4", port_of(dead));
  const std::size_t before = open_descriptors();
  const Socket sk = create_connection({"host", port_of(dead)}, 10s, {}, delay);
  REQUIRE(open_descriptors() == before + 1);
}

TEST_CASE("the winner has the timeout, and is blocking in the kernel", "[create_connection]") {
  const Timeout timeout = GENERATE(Timeout(), Timeout(10s));
  const Timeout delay = GENERATE(Timeout(), Timeout(20ms));
  const Host host(kTwo);
  const Socket lst = live("127.0.0.3");
  const Socket sk = create_connection({"host", port_of(lst)}, timeout, {}, delay);
  REQUIRE(sk.gettimeout() == timeout);
  REQUIRE_FALSE(nonblocking(sk));
}

TEST_CASE("a budget of zero does not wait, with a delay or without", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(5s));
  const Host host(kTwo);
  const Socket dead = black_hole("127.0.0.2"), dead_too = black_hole("127.0.0.3", port_of(dead));
  const Stopwatch watch;
  error_of(errc::operation_in_progress, [&] {
    (void)create_connection({"host", port_of(dead)}, 0s, {}, delay);
  });
  REQUIRE(watch.elapsed() < 1000ms);
}

TEST_CASE("every attempt is made from the source address", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(20ms));
  const Host host(kTwo);
  const Socket lst = live("127.0.0.3");
  const Socket sk = create_connection({"host", port_of(lst)}, 10s, {"127.0.0.9", 0}, delay);
  REQUIRE(sk.getsockname().host() == "127.0.0.9");
}

TEST_CASE("addresses of another family than the source are passed over", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(5s));
  const Host host({"::1", "127.0.0.2"});
  Socket lst = live("127.0.0.2"), other = live("::1", port_of(lst));
  const Socket by_name = create_connection({"host", port_of(lst)}, 10s, {"127.0.0.9", 0}, delay);
  REQUIRE(by_name.getsockname().host() == "127.0.0.9");
  const Address source("127.0.0.9", 0);
  const Socket by_address = create_connection({"host", port_of(lst)}, 10s, source, delay);
  REQUIRE(by_address.getsockname().host() == "127.0.0.9");
  REQUIRE(untouched(other));
}

TEST_CASE("a source that fits no address is an Error", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(5s));
  const Host host(kTwo);
  const Socket lst = live("127.0.0.2");
  const std::size_t before = open_descriptors();
  error_of(errc::address_family_not_supported, [&] {
    (void)create_connection({"host", port_of(lst)}, 10s, Address("::1", 0), delay);
  });
  REQUIRE_THROWS_AS(create_connection({"host", port_of(lst)}, 10s, {"::1", 0}, delay), Error);
  REQUIRE(open_descriptors() == before);
}

TEST_CASE("side by side, an attempt without a descriptor left does not end the others",
          "[create_connection]") {
  const Host host(kTwo);
  const Socket dead = black_hole("127.0.0.2"), lst = live("127.0.0.3", port_of(dead));
  // UBSan opens descriptors at the first exception of each class: that comes before the count.
  REQUIRE_THROWS_AS(Socket(AF_INET, 99), Error);
  const std::size_t before = open_descriptors();
  const std::string what = error_of(errc::timed_out, [&] {
    const DescriptorLimit one(1);
    (void)create_connection({"host", port_of(dead)}, 300ms, {}, 20ms);
  });
  REQUIRE_THAT(what, Contains("Too many open files"));
  REQUIRE(open_descriptors() == before);
  REQUIRE(peer_of(create_connection({"host", port_of(dead)}, 10s, {}, 20ms)) == "127.0.0.3");
}

TEST_CASE("one by one, no address can be tried without a free descriptor", "[create_connection]") {
  const Host host(kTwo);
  const Socket lst = live("127.0.0.3");
  DescriptorLimit limit(0);
  REQUIRE_THROWS_MATCHES(create_connection({"host", port_of(lst)}, 5s), Error,
                         Code(errc::too_many_files_open));
  limit.free_one();
  REQUIRE(peer_of(create_connection({"host", port_of(lst)}, 5s)) == "127.0.0.3");
}

TEST_CASE("a stop ends all attempts", "[create_connection][cancel]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(20ms));
  const Host host(kTwo);
  const Socket dead = black_hole("127.0.0.2"), dead_too = black_hole("127.0.0.3", port_of(dead));
  std::stop_source source;
  {  // The thread's scopes share a descriptor, which the first call that waits opens.
    const CancelScope first(source.get_token());
    Pair pair = unix_pair();
    pair.server.settimeout(1ms);
    CHECK_THROWS_AS(pair.server.recv(1), TimeoutError);
  }
  const std::size_t before = open_descriptors();
  const Stopwatch watch;
  auto stopped = std::async(std::launch::async, [&] {
    pause_for(100ms);
    source.request_stop();
  });
  {
    const CancelScope scope(source.get_token());
    error_of(errc::operation_canceled, [&] {
      (void)create_connection({"host", port_of(dead)}, 20s, {}, delay);
    });
  }
  REQUIRE(watch.elapsed() >= 100ms);
  REQUIRE(watch.elapsed() < 2500ms);
  stopped.get();
  REQUIRE(open_descriptors() == before);
}

TEST_CASE("a Unix path with a full backlog is waited for, with a delay or without",
          "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(20ms));
  const FullListener full("", AF_UNIX);
  const Stopwatch watch;
  REQUIRE_THROWS_AS(create_connection(full.name, 150ms, {}, delay), TimeoutError);
  REQUIRE(watch.elapsed() >= 150ms);
  REQUIRE(watch.elapsed() < 1150ms);
}

TEST_CASE("a resolver that fails without an errno is a ResolveError", "[create_connection]") {
  const std::error_code failure(EAI_FAIL, thinsock::resolve_category());
  REQUIRE(code_of([] { (void)create_connection({"broken", 80}); }) == failure);
  REQUIRE(code_of([] { Socket().connect({"broken", 80}); }) == failure);
}

TEST_CASE("a connect that a signal has ended is made again", "[connect]") {
  Socket lst = listener(), sk;
  next_connect_is_interrupted = true;
  sk.connect(lst.getsockname());
  REQUIRE_FALSE(next_connect_is_interrupted);
  REQUIRE(sk.getpeername() == lst.getsockname());
}
