// create_connection to a host with several addresses, one after the other and side by side.
//
// The host is a name in an /etc/hosts of our own: each case runs in a child process with its own
// mounts and its own network, where there is nothing but loopback.
#include <fcntl.h>
#include <linux/ipv6.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <fstream>
#include <functional>
#include <future>
#include <stdexcept>
#include <stop_token>

#include "support.hpp"
#include "thinsock/cancel.hpp"

using namespace test;
using std::errc;
using thinsock::Address;
using thinsock::CancelScope;
using thinsock::create_connection;
using thinsock::Error;
using thinsock::Timeout;
using thinsock::TimeoutError;

namespace {

// The what() of an Error of this code, and a TimeoutError if it is a timeout's.
template <class Call>
std::string error_of(errc code, const Call& call, int line = __builtin_LINE()) {
  try {
    call();
  } catch (const Error& error) {
    const bool is_timeout = dynamic_cast<const TimeoutError*>(&error) != nullptr;
    expect(error.code() == code && is_timeout == (code == errc::timed_out), error.what(), line);
    return error.what();
  }
  expect(false, "without an Error", line);
  return "";
}

// False where the system refuses it. The loopback of it has ::1, ::2 and all of 127.0.0.0/8.
bool enter_own_network(const std::string& hosts_file) {
  if (::unshare(CLONE_NEWNS | CLONE_NEWNET) < 0) return false;
  if (::mount("none", "/", "none", MS_REC | MS_PRIVATE, nullptr) < 0) return false;
  if (::mount(hosts_file.c_str(), "/etc/hosts", "none", MS_BIND, nullptr) < 0) return false;
  ifreq up{};
  up.ifr_name[0] = 'l';
  up.ifr_name[1] = 'o';
  up.ifr_flags = IFF_UP | IFF_RUNNING;
  in6_ifreq second{};
  second.ifr6_addr.s6_addr[15] = 2;
  second.ifr6_prefixlen = 128;
  second.ifr6_ifindex = 1;
  return ::ioctl(Socket().fileno(), SIOCSIFFLAGS, &up) == 0 &&
         ::ioctl(Socket(AF_INET6).fileno(), SIOCSIFADDR, &second) == 0;
}

// By a socket nobody ever sends to.
void let_pass(std::chrono::milliseconds time) {
  Pair pair = unix_pair();
  pair.server.settimeout(time);
  error_of(errc::timed_out, [&] { pair.server.recv(1); });
}

// The kernel does not use a new IPv6 address at once.
void wait_for_second_address() {
  const Stopwatch watch;
  const Address second("::2", 0);
  const Socket sk(AF_INET6, SOCK_DGRAM);
  while (::bind(sk.fileno(), second.data(), second.size()) < 0 && watch.elapsed() < kPatience) {
    let_pass(1ms);
  }
}

// "ok", "refused" if there is no network of its own to be had, or what does not hold.
std::string report_of_child(const std::string& hosts_file, const std::function<void()>& body) {
  ::alarm(30);
  try {
    if (!enter_own_network(hosts_file)) return "refused";
    wait_for_second_address();
    body();
    return "ok";
  } catch (const std::exception& exception) {
    return exception.what();
  }
}

// Calls body where "host" has these addresses, in the resolver's order.
void with_host(const std::vector<std::string>& addresses, const std::function<void()>& body) {
  const TempDir dir;
  {
    std::ofstream hosts(dir / "hosts");
    for (const std::string& address : addresses) hosts << address << " host\n";
  }
  Pair pipe = unix_pair();
  pipe.client.settimeout(40s);
  const pid_t child = ::fork();
  REQUIRE(child != -1);
  if (child == 0) {
    pipe.client.close();
    pipe.server.sendall(report_of_child(dir / "hosts", body));
    ::_exit(0);
  }
  pipe.server.close();
  const std::string report = pipe.client.recv(4096);
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  if (report == "refused") {
    WARN("not tested: no mounts and network of one's own on this system");
  } else {
    REQUIRE(report == "ok");
  }
}

const std::vector<std::string> kTwo = {"127.0.0.2", "127.0.0.3"};
const std::vector<std::string> kThree = {"127.0.0.2", "127.0.0.3", "127.0.0.4"};
const std::vector<std::string> kMixed = {"::1", "::2", "127.0.0.2", "127.0.0.3"};

int family_of(const char* host) { return Address(host, 0).family(); }

// A listener that takes no more connections: who connects hears nothing of it.
Socket black_hole(const char* host, int port = 0) {
  FullListener full(Address(host, port), family_of(host));
  return patient(std::move(full.lst));
}

Socket live(const char* host, int port = 0) {
  return patient(thinsock::create_server(Address(host, port), {.family = family_of(host)}));
}

int port_of(const Socket& sk) { return sk.getsockname().port(); }

// A port on which nobody listens.
int refusing_port() { return port_of(live("127.0.0.1")); }

std::string peer_of(const Socket& sk) { return sk.getpeername().host(); }

// What nobody has tried to connect to.
bool untouched(Socket& lst) {
  std::error_code error;
  lst.settimeout(0s);
  lst.accept(error);
  return error == errc::operation_would_block;
}

}  // namespace

TEST_CASE("one by one, a dead address costs its share of the budget", "[create_connection]") {
  with_host(kTwo, [] {
    const Socket dead = black_hole("127.0.0.2"), lst = live("127.0.0.3", port_of(dead));
    const Stopwatch watch;
    const Socket sk = create_connection({"host", port_of(dead)}, 600ms);
    expect(peer_of(sk) == "127.0.0.3");
    expect(watch.elapsed() >= 300ms && watch.elapsed() < 1600ms);
  });
}

TEST_CASE("side by side, a dead address costs the delay", "[create_connection]") {
  with_host(kTwo, [] {
    const Socket dead = black_hole("127.0.0.2"), lst = live("127.0.0.3", port_of(dead));
    const Stopwatch watch;
    const Socket sk = create_connection({"host", port_of(dead)}, 10s, {}, 250ms);
    expect(peer_of(sk) == "127.0.0.3");
    expect(watch.elapsed() >= 250ms && watch.elapsed() < 1000ms);
  });
}

TEST_CASE("side by side, without a budget a dead address costs the delay", "[create_connection]") {
  with_host({"::1", "127.0.0.2"}, [] {
    const Socket dead = black_hole("::1"), lst = live("127.0.0.2", port_of(dead));
    const Stopwatch watch;
    const Socket sk = create_connection({"host", port_of(dead)}, std::nullopt, {}, 250ms);
    expect(peer_of(sk) == "127.0.0.2");
    expect(watch.elapsed() >= 250ms && watch.elapsed() < 1000ms);
  });
}

TEST_CASE("an address that refuses costs nothing", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(5s));
  with_host(kTwo, [=] {
    const Socket lst = live("127.0.0.3");
    const Stopwatch watch;
    const Socket sk = create_connection({"host", port_of(lst)}, 10s, {}, delay);
    expect(peer_of(sk) == "127.0.0.3");
    expect(watch.elapsed() < 1000ms);
  });
}

TEST_CASE("a delay of zero tries all addresses at once", "[create_connection]") {
  with_host(kThree, [] {
    const Socket dead = black_hole("127.0.0.2"), dead_too = black_hole("127.0.0.3", port_of(dead));
    const Socket lst = live("127.0.0.4", port_of(dead));
    const Stopwatch watch;
    const Socket sk = create_connection({"host", port_of(dead)}, 10s, {}, 0s);
    expect(peer_of(sk) == "127.0.0.4");
    expect(watch.elapsed() < 1000ms);
  });
}

TEST_CASE("the first address that is connected wins", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(0s), Timeout(250ms));
  with_host(kTwo, [=] {
    const Socket lst = live("127.0.0.2"), other = live("127.0.0.3", port_of(lst));
    const Socket sk = create_connection({"host", port_of(lst)}, 10s, {}, delay);
    expect(peer_of(sk) == "127.0.0.2");
  });
}

TEST_CASE("an address that answers within the delay leaves the next untried",
          "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(5s));
  with_host(kTwo, [=] {
    const Socket lst = live("127.0.0.2");
    Socket other = live("127.0.0.3", port_of(lst));
    create_connection({"host", port_of(lst)}, 10s, {}, delay);
    expect(untouched(other));
  });
}

TEST_CASE("an attempt that others were started beside can still win", "[create_connection]") {
  with_host(kTwo, [] {
    Socket late = black_hole("127.0.0.2");
    const Socket dead = black_hole("127.0.0.3", port_of(late));
    auto admitted = std::async(std::launch::async, [&] {
      let_pass(200ms);
      late.accept();
    });
    const Socket sk = create_connection({"host", port_of(dead)}, 10s, {}, 20ms);
    expect(peer_of(sk) == "127.0.0.2");
    admitted.get();
  });
}

TEST_CASE("side by side, IPv6 and IPv4 are tried by turns", "[create_connection]") {
  with_host(kMixed, [] {
    const int port = refusing_port();
    const std::string end = ':' + std::to_string(port);
    const auto order = [&](const std::string& what) {
      const std::size_t at[] = {what.find("[::1]" + end), what.find("127.0.0.2" + end),
                                what.find("[::2]" + end), what.find("127.0.0.3" + end)};
      expect(at[0] < at[1] && at[1] < at[2] && at[2] < at[3] && at[3] != what.npos, what);
    };
    order(error_of(errc::connection_refused, [&] {
      create_connection({"host", port}, 10s, {}, 5s);
    }));
    std::vector<Socket> dead;
    for (const std::string& host : kMixed) dead.push_back(black_hole(host.c_str(), port));
    order(error_of(errc::timed_out, [&] { create_connection({"host", port}, 200ms, {}, 10ms); }));
  });
}

TEST_CASE("one by one, addresses are tried in the resolver's order", "[create_connection]") {
  with_host(kMixed, [] {
    const int port = refusing_port();
    const std::string what = error_of(errc::connection_refused, [&] {
      create_connection({"host", port}, 10s);
    });
    expect(what.find("[::2]") < what.find("127.0.0.2"), what);
  });
}

TEST_CASE("if all addresses fail the Error lists each with its reason", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(10ms));
  with_host(kTwo, [=] {
    const Socket dead = black_hole("127.0.0.3");
    const std::string end = ':' + std::to_string(port_of(dead));
    const std::string what = error_of(errc::timed_out, [&] {
      create_connection({"host", port_of(dead)}, 200ms, {}, delay);
    });
    expect(what.find("host") != what.npos, what);
    expect(what.find("127.0.0.2" + end + ": Connection refused") != what.npos, what);
    expect(what.find("127.0.0.3" + end + ": Connection timed out") != what.npos, what);
  });
}

TEST_CASE("the Error of a single address names just that", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(250ms));
  with_host({"127.0.0.2"}, [=] {
    const int port = refusing_port();
    const std::string what = error_of(errc::connection_refused, [&] {
      create_connection({"host", port}, 10s, {}, delay);
    });
    expect(what == "connect 127.0.0.2:" + std::to_string(port) + ": Connection refused", what);
  });
}

TEST_CASE("all addresses together have one budget", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(0s), Timeout(50ms), Timeout(5s));
  with_host(kThree, [=] {
    std::vector<Socket> dead;
    dead.push_back(black_hole("127.0.0.2"));
    const int port = port_of(dead[0]);
    dead.push_back(black_hole("127.0.0.3", port));
    dead.push_back(black_hole("127.0.0.4", port));
    const std::size_t before = open_descriptors();
    const Stopwatch watch;
    error_of(errc::timed_out, [&] { create_connection({"host", port}, 300ms, {}, delay); });
    expect(watch.elapsed() >= 300ms && watch.elapsed() < 1300ms);
    expect(open_descriptors() == before);
  });
}

TEST_CASE("the attempts that lose are closed", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(0s), Timeout(20ms));
  with_host(kThree, [=] {
    const Socket dead = black_hole("127.0.0.2"), lst = live("127.0.0.4", port_of(dead));
    const std::size_t before = open_descriptors();
    const Socket sk = create_connection({"host", port_of(dead)}, 10s, {}, delay);
    expect(open_descriptors() == before + 1);
  });
}

TEST_CASE("the winner has the timeout, and is blocking in the kernel", "[create_connection]") {
  const Timeout timeout = GENERATE(Timeout(), Timeout(10s));
  const Timeout delay = GENERATE(Timeout(), Timeout(20ms));
  with_host(kTwo, [=] {
    const Socket lst = live("127.0.0.3");
    const Socket sk = create_connection({"host", port_of(lst)}, timeout, {}, delay);
    expect(sk.gettimeout() == timeout);
    expect(!(::fcntl(sk.fileno(), F_GETFL) & O_NONBLOCK));
  });
}

TEST_CASE("a budget of zero does not wait, with a delay or without", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(5s));
  with_host(kTwo, [=] {
    const Socket dead = black_hole("127.0.0.2"), dead_too = black_hole("127.0.0.3", port_of(dead));
    const Stopwatch watch;
    error_of(errc::operation_in_progress, [&] {
      create_connection({"host", port_of(dead)}, 0s, {}, delay);
    });
    expect(watch.elapsed() < 1000ms);
  });
}

TEST_CASE("every attempt is made from the source address", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(20ms));
  with_host(kTwo, [=] {
    const Socket lst = live("127.0.0.3");
    const Socket sk = create_connection({"host", port_of(lst)}, 10s, {"127.0.0.9", 0}, delay);
    expect(sk.getsockname().host() == "127.0.0.9");
  });
}

TEST_CASE("addresses of another family than the source are passed over", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(5s));
  with_host({"::1", "127.0.0.2"}, [=] {
    Socket lst = live("127.0.0.2"), other = live("::1", port_of(lst));
    const Socket by_name = create_connection({"host", port_of(lst)}, 10s, {"127.0.0.9", 0}, delay);
    expect(by_name.getsockname().host() == "127.0.0.9");
    const Address source("127.0.0.9", 0);
    const Socket by_address = create_connection({"host", port_of(lst)}, 10s, source, delay);
    expect(by_address.getsockname().host() == "127.0.0.9");
    expect(untouched(other));
  });
}

TEST_CASE("a source that fits no address is an Error", "[create_connection]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(5s));
  with_host(kTwo, [=] {
    const Socket lst = live("127.0.0.2");
    const std::size_t before = open_descriptors();
    error_of(errc::address_family_not_supported, [&] {
      create_connection({"host", port_of(lst)}, 10s, Address("::1", 0), delay);
    });
    expect(open_descriptors() == before);
  });
}

TEST_CASE("side by side, an attempt without a descriptor left does not end the others",
          "[create_connection]") {
  with_host(kTwo, [] {
    const Socket dead = black_hole("127.0.0.2"), lst = live("127.0.0.3", port_of(dead));
    // UBSan needs a descriptor for the first exception of each class.
    error_of(errc::invalid_argument, [] { Socket(AF_INET, 99); });
    let_pass(1ms);
    const std::size_t before = open_descriptors();
    const std::string what = error_of(errc::timed_out, [&] {
      const DescriptorLimit one(1);
      create_connection({"host", port_of(dead)}, 300ms, {}, 20ms);
    });
    expect(what.find("Too many open files") != what.npos, what);
    expect(open_descriptors() == before);
    expect(peer_of(create_connection({"host", port_of(dead)}, 10s, {}, 20ms)) == "127.0.0.3");
  });
}

TEST_CASE("a stop ends all attempts", "[create_connection][cancel]") {
  const Timeout delay = GENERATE(Timeout(), Timeout(20ms));
  with_host(kTwo, [=] {
    const Socket dead = black_hole("127.0.0.2"), dead_too = black_hole("127.0.0.3", port_of(dead));
    const std::size_t before = open_descriptors();
    std::stop_source source;
    auto stopped = std::async(std::launch::async, [&] {
      let_pass(100ms);
      source.request_stop();
    });
    const Stopwatch watch;
    {
      const CancelScope scope(source.get_token());
      error_of(errc::operation_canceled, [&] {
        create_connection({"host", port_of(dead)}, 20s, {}, delay);
      });
    }
    expect(watch.elapsed() >= 100ms && watch.elapsed() < 2500ms);
    stopped.get();
    expect(open_descriptors() == before);
  });
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
