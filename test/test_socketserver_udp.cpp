// Datagram servers: what they receive, which address answers leave from, and many at once.
#include <linux/ipv6.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <condition_variable>
#include <ctime>
#include <future>
#include <mutex>
#include <optional>

#include "processes.hpp"
#include "thinsock/message.hpp"
#include "waiting.hpp"

using namespace test;
using std::errc;
using thinsock::DatagramRequestHandler;
using thinsock::handler;
using thinsock::RequestContext;
using thinsock::ThreadingUDPServer;
using thinsock::ThreadingUnixDatagramServer;
using thinsock::Timeout;
using thinsock::UDPServer;
using thinsock::UnixDatagramServer;

namespace {

// A server that keeps what its handlers threw, and counts its timeouts.
template <class Base>
struct Telling : Base {
  using Base::Base;
  ~Telling() override { this->server_close(); }
  void handle_error(Request&, const Address&) override { error = std::current_exception(); }
  void handle_timeout() override { ++timeouts; }

  std::exception_ptr error;
  int timeouts = 0;
};
using UdpServer = Telling<UDPServer>;
using UnixServer = Telling<UnixDatagramServer>;

ServerOptions with_packets_of(std::size_t size) {
  return {.max_packet_size = size, .timeout = kPatience};
}

// What a handler saw.
struct Seen {
  std::string packet;
  bool truncated = false;
  Address local_address, client_address;
  Socket* socket = nullptr;
  int requests = 0;

  RequestHandler handler() {
    return [this](RequestContext& context) {
      packet = context.packet;
      truncated = context.truncated;
      local_address = context.local_address;
      client_address = context.client_address;
      socket = &context.request;
      ++requests;
    };
  }
};

struct Upper : DatagramRequestHandler {
  void handle() override {
    for (std::string word; rfile >> word;) wfile << upper(word) << ' ';
  }
};

// Runs the test once for each of the two ways to answer.
RequestHandler echo() {
  return GENERATE(true, false) ? RequestHandler(handler<Upper>)
                               : [](RequestContext& context) { context.reply("REPLY "); };
}

// A client that receives only from the address it asks. It is bound to `from`, or to an address
// that the kernel chooses.
Socket asking(const Address& address, std::optional<Address> from = std::nullopt) {
  Socket sk = patient(Socket(address.family(), SOCK_DGRAM));
  if (from) sk.bind(*from);
  sk.connect(address);
  return sk;
}

// The address at this host of a server that is bound to all addresses.
Address at(const char* host, const UDPServer& server) {
  return Address(host, server.server_address.port());
}

std::string answer_of(UDPServer& server, Socket client) {
  client.send("reply");
  server.handle_request();
  return client.recv(100);
}

// Runs the test once for each kind of address that a server can be bound to, with a client.
struct Asked {
  std::unique_ptr<UDPServer> server;
  Socket client;
};
Asked any_server(const RequestHandler& run, const ServerOptions& options) {
  const std::string_view host = GENERATE("127.0.0.1", "", "::1", "::", "a Unix name");
  std::unique_ptr<UDPServer> server;
  if (host == "a Unix name") {
    server = std::make_unique<UnixServer>("", run, options);
  } else {
    server = std::make_unique<UdpServer>(AddressLike(host, 0), run, options);
  }
  const int family = server->address_family();
  Socket client = asking(family == AF_UNIX ? server->server_address
                                           : at(family == AF_INET6 ? "::1" : "127.0.0.1", *server));
  return {std::move(server), std::move(client)};
}

// Moves this process to a new network whose only interface is a loopback, which has ::1, ::2 and
// all of 127.0.0.0/8.
bool enter_own_network() {
  if (::unshare(CLONE_NEWNET) < 0) return false;
  ifreq up{};
  up.ifr_name[0] = 'l';
  up.ifr_name[1] = 'o';
  up.ifr_flags = IFF_UP | IFF_RUNNING;
  in6_ifreq second{};
  second.ifr6_addr.s6_addr[15] = 2;
  second.ifr6_prefixlen = 128;
  second.ifr6_ifindex = 1;
  if (::ioctl(Socket().fileno(), SIOCSIFFLAGS, &up) < 0) return false;
  if (::ioctl(Socket(AF_INET6).fileno(), SIOCSIFADDR, &second) < 0) return false;
  // For a moment the kernel refuses to bind a new IPv6 address.
  const Address name("::2", 0);
  const Socket sk(AF_INET6, SOCK_DGRAM);
  return eventually([&] { return ::bind(sk.fileno(), name.data(), name.size()) == 0; });
}

// Lets threads pass only once all of them have come.
class Gate {
 public:
  explicit Gate(int expected) : missing_(expected) {}
  bool pass() {
    std::unique_lock lock(mutex_);
    if (--missing_ == 0) complete_.notify_all();
    return complete_.wait_for(lock, kPatience, [&] { return missing_ <= 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable complete_;
  int missing_;
};

}  // namespace

TEST_CASE("a datagram of the greatest size there is comes whole", "[socketserver][udp]") {
  Seen seen;
  auto [server, client] = any_server(seen.handler(), kOptions);
  const std::string data = pattern(client.family() == AF_INET6 ? 65527 : 65507);
  REQUIRE(client.send(data) == data.size());
  server->handle_request();
  REQUIRE(seen.packet == data);
  REQUIRE_FALSE(seen.truncated);
}

TEST_CASE("a Unix datagram of any size comes whole if it is expected", "[socketserver][udp]") {
  Seen seen;
  UnixServer server("", seen.handler(), with_packets_of(150000));
  const std::string data = pattern(150000);
  REQUIRE(asking(server.server_address).send(data) == data.size());
  server.handle_request();
  REQUIRE(seen.packet == data);
  REQUIRE_FALSE(seen.truncated);
}

TEST_CASE("a datagram longer than max_packet_size is cut and said to be", "[socketserver][udp]") {
  Seen seen;
  const std::size_t most = GENERATE(0, 1, 100);
  auto [server, client] = any_server(seen.handler(), with_packets_of(most));
  const std::string data = pattern(most + 1);
  client.send(data);
  server->handle_request();
  REQUIRE(seen.requests == 1);
  REQUIRE(seen.packet == data.substr(0, most));
  REQUIRE(seen.truncated);
}

TEST_CASE("a datagram of just max_packet_size is not truncated", "[socketserver][udp]") {
  Seen seen;
  auto [server, client] = any_server(seen.handler(), with_packets_of(100));
  client.send(pattern(101));
  client.send(pattern(100));
  server->handle_request();
  server->handle_request();
  REQUIRE(seen.packet == pattern(100));
  REQUIRE_FALSE(seen.truncated);
}

TEMPLATE_TEST_CASE("nothing of a datagram is left in the next", "[socketserver][udp]", UDPServer,
                   ThreadingUDPServer) {
  const RequestHandler run = [](RequestContext& context) {
    context.reply(context.packet + (context.truncated ? "+" : "."));
  };
  TestType server(kLoopback, run, with_packets_of(100));
  const Serving serving(server);
  Socket client = asking(server.server_address);
  for (const std::size_t size : {101, 3, 100, 0, 99}) {
    client.send(pattern(size));
    REQUIRE(client.recv(200) == pattern(size).substr(0, 100) + (size > 100 ? "+" : "."));
  }
}

TEST_CASE("an empty datagram is a request", "[socketserver][udp]") {
  Seen seen;
  auto [server, client] = any_server(seen.handler(), kOptions);
  client.send("");
  server->handle_request();
  REQUIRE(seen.requests == 1);
  REQUIRE(seen.packet.empty());
  REQUIRE_FALSE(seen.truncated);
}

TEST_CASE("a handler of datagrams has the server's own socket", "[socketserver][udp]") {
  Seen seen;
  auto [server, client] = any_server(seen.handler(), kOptions);
  client.send("1");
  server->handle_request();
  REQUIRE(seen.socket == &server->socket);
  REQUIRE(seen.client_address == (client.family() == AF_UNIX ? Address() : client.getsockname()));
}

TEST_CASE("a Unix client with a name is answered", "[socketserver][udp][reply]") {
  UnixServer server("", echo(), kOptions);
  REQUIRE(answer_of(server, asking(server.server_address, Address(""))) == "REPLY ");
}

TEST_CASE("an answer leaves from the IPv4 address that was asked", "[socketserver][udp][reply]") {
  UdpServer server(AddressLike("", 0), echo(), kOptions);
  for (const char* host : {"127.0.0.1", "127.0.0.2", "127.0.0.3"}) {
    REQUIRE(answer_of(server, asking(at(host, server), Address("127.0.0.1", 0))) == "REPLY ");
  }
}

TEST_CASE("an answer leaves from the address that was asked of both families",
          "[socketserver][udp][reply]") {
  ServerOptions options = kOptions;
  options.dualstack_ipv6 = true;
  UdpServer server(AddressLike(GENERATE("", "::"), 0), echo(), options);
  for (const char* host : {"127.0.0.1", "127.0.0.2", "127.0.0.3"}) {
    REQUIRE(answer_of(server, asking(at(host, server), Address("127.0.0.1", 0))) == "REPLY ");
  }
  REQUIRE(answer_of(server, asking(at("::1", server))) == "REPLY ");
}

TEST_CASE("an answer leaves from the IPv6 address that was asked", "[socketserver][udp][reply]") {
  ServerOptions options = kOptions;
  options.dualstack_ipv6 = GENERATE(true, false);
  const RequestHandler run = echo();
  in_child_at("a network of one's own", enter_own_network, [&] {
    UdpServer server(AddressLike("::", 0), run, options);
    for (const char* host : {"::1", "::2"}) {
      // The client has the other address: the kernel would choose that one for the answer.
      const Address from(host == std::string("::1") ? "::2" : "::1", 0);
      expect(answer_of(server, asking(at(host, server), from)) == "REPLY ");
      if (server.error) std::rethrow_exception(server.error);
    }
  });
}

TEST_CASE("a server bound to one address answers from there", "[socketserver][udp][reply]") {
  UdpServer server(AddressLike("127.0.0.2", 0), echo(), kOptions);
  REQUIRE(answer_of(server, asking(server.server_address, Address("127.0.0.1", 0))) == "REPLY ");
}

TEST_CASE("local_address tells where a datagram was sent to", "[socketserver][udp]") {
  Seen seen;
  ServerOptions options = kOptions;
  options.dualstack_ipv6 = true;
  UdpServer ipv4(AddressLike("", 0), seen.handler(), kOptions);
  UdpServer both(AddressLike("", 0), seen.handler(), options);
  const auto seen_at = [&](UDPServer& server, const char* host) {
    asking(at(host, server)).send("x");
    server.handle_request();
    return seen.local_address;
  };
  REQUIRE(seen_at(ipv4, "127.0.0.3") == at("127.0.0.3", ipv4));
  REQUIRE(seen_at(both, "127.0.0.3") == at("::ffff:127.0.0.3", both));
  REQUIRE(seen_at(both, "::1") == at("::1", both));
}

TEST_CASE("local_address is empty if a server has but one address", "[socketserver][udp]") {
  Seen seen;
  seen.local_address = Address("127.0.0.1", 1);
  UdpServer server(AddressLike("127.0.0.1", 0), seen.handler(), kOptions);
  asking(server.server_address).send("x");
  server.handle_request();
  REQUIRE(seen.requests == 1);
  REQUIRE(seen.local_address.size() == 0);
}

TEST_CASE("a client that is gone does not disturb the others", "[socketserver][udp]") {
  UdpServer server(AddressLike(GENERATE("127.0.0.1", ""), 0), echo(), kOptions);
  const Address address = at("127.0.0.1", server);
  Socket others = asking(address);
  for (int i = 0; i < 20; ++i) {
    asking(address).send("reply");
    server.handle_request();
    others.send("reply");
    server.handle_request();
    REQUIRE(others.recv(100) == "REPLY ");
  }
  REQUIRE_FALSE(server.error);
  REQUIRE(server.timeouts == 0);
}

TEMPLATE_TEST_CASE("threads answer datagrams at the same time", "[socketserver][udp][threads]",
                   ThreadingUDPServer, ThreadingUnixDatagramServer) {
  constexpr int kMany = 24;
  Gate gate(kMany);
  const RequestHandler run = [&](RequestContext& context) {
    if (gate.pass()) context.reply(context.packet);
  };
  const Address local = std::is_same_v<TestType, ThreadingUDPServer> ? Address("", 0) : Address("");
  Telling<TestType> server(local, run, kOptions);
  const bool named = server.address_family() == AF_UNIX;
  const Address address = named ? server.server_address : at("127.0.0.2", server);
  const Serving serving(server);
  std::vector<Socket> clients;
  for (int i = 0; i < kMany; ++i) {
    clients.push_back(named ? asking(address, Address("")) : asking(address));
    clients.back().send(std::to_string(i));
  }
  for (int i = 0; i < kMany; ++i) REQUIRE(clients[i].recv(100) == std::to_string(i));
}

TEST_CASE("server_close waits for the threads that answer datagrams",
          "[socketserver][udp][threads]") {
  std::atomic<int> begun = 0, answered = 0;
  const RequestHandler run = [&](RequestContext& context) {
    ++begun;
    context.reply(context.packet);
    ++answered;
  };
  Telling<ThreadingUDPServer> server(AddressLike("", 0), run, kOptions);
  const Serving serving(server);
  std::atomic<bool> stop = false;
  const auto ask = [&] {
    Socket client = asking(at("127.0.0.1", server));
    client.settimeout(50ms);
    char byte[1];
    for (std::error_code error; !stop; client.recv_into(byte, error)) client.send("x", error);
  };
  std::thread one(ask), another(ask);
  CHECK(eventually([&] { return answered >= 100; }));
  server.server_close();
  const int all = begun;
  const bool done = all == answered && server.fileno() == -1;
  stop = true;
  one.join();
  another.join();
  REQUIRE(all >= 100);
  REQUIRE(done);
  REQUIRE(begun == all);
  REQUIRE_FALSE(server.error);
}

TEST_CASE("a datagram under way is answered though its server is being closed",
          "[socketserver][udp][threads]") {
  const RequestHandler run = [](RequestContext& context) {
    pause_for(100ms);  // A server_close that did not wait would close the socket meanwhile.
    context.reply("x");
  };
  Telling<ThreadingUDPServer> server(AddressLike("127.0.0.1", 0), run, kOptions);
  Socket client = asking(server.server_address);
  client.send("x");
  server.handle_request();
  server.server_close();
  REQUIRE_FALSE(server.error);
  REQUIRE(client.recv(9) == "x");
}

// All replies leave by the server's socket: no thread may change how another one's send waits.
TEST_CASE("replies to clients that do not read end with their request's time",
          "[socketserver][udp][threads][native]") {
  constexpr int kRequests = 64;
  std::atomic<int> begun = 0, answered = 0, timed_out = 0;
  const RequestHandler run = [&](RequestContext& context) {
    ++begun;
    const Outcome outcome = outcome_of([&] { context.reply(context.packet); });
    if (!outcome.error) ++answered;
    if (outcome.is_timeout) ++timed_out;
  };
  ServerOptions options = kOptions;
  options.request_timeout = 40ms;
  Telling<ThreadingUnixDatagramServer> server("", run, options);
  const Serving serving(server);
  std::future<void> closed;
  // A reply ends when the client that it waits for is closed, so that a failed test ends too.
  std::vector<Socket> silent;
  for (int i = 0; i < 8; ++i) silent.push_back(full_queue().client);
  const auto ask = [&] {
    for (int i = 0; i < kRequests; ++i) silent[i % 8].sendto("x", server.server_address);
  };
  ask();
  REQUIRE(eventually([&] { return timed_out == kRequests; }));
  Socket reading = asking(server.server_address, Address(""));
  reading.settimeout(500ms);
  REQUIRE(eventually([&] {
    reading.send("x");
    return code_of([&] { reading.recv(1); }) == std::error_code();
  }));
  ask();
  closed = std::async(std::launch::async, [&] { server.server_close(); });
  const bool soon = closed.wait_for(kPatience) == std::future_status::ready;
  silent.clear();
  REQUIRE(soon);
  REQUIRE(begun == answered + timed_out);
}

// Poll reports the socket until its error queue is read, although there is no request.
TEMPLATE_TEST_CASE("a server sleeps whose socket has errors that nobody fetches",
                   "[socketserver][udp][native]", UDPServer, ThreadingUDPServer) {
  Telling<TestType> server(
      kLoopback, [](RequestContext& context) { context.reply(context.packet); }, kOptions);
  leave_error_unread(server.socket);
  const Serving serving(server);
  const Socket client = asking(server.server_address);
  const std::clock_t before = std::clock();  // The processor time of all threads.
  for (const char* text : {"one", "two", "three"}) {
    REQUIRE(answer_to(client, text) == text);
    pause_for(100ms);
  }
  REQUIRE(std::clock() - before < CLOCKS_PER_SEC / 10);
}
