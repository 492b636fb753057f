#include "thinsock/resolve.hpp"

#include <net/if.h>
#include <netdb.h>

#include <algorithm>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>

#include "support.hpp"

// The expected values are what Python 3.11's socket module answers to the same arguments. All
// names are in /etc/hosts: none of these tests asks a name server.

using namespace std::string_literals;
using std::nullopt;
using test::code_of;
using thinsock::Address;
using thinsock::AddressInfo;
using thinsock::Error;
using thinsock::getaddrinfo;
using thinsock::getnameinfo;
using thinsock::resolve_category;
using thinsock::ResolveError;

namespace {

constexpr int kNumeric = NI_NUMERICHOST | NI_NUMERICSERV;

// Matches by code: REQUIRE_THROWS_MATCHES(call, ResolveError, Resolver(EAI_NONAME)).
class Resolver : public Catch::MatcherBase<ResolveError> {
 public:
  explicit Resolver(int expected) : expected_(expected, resolve_category()) {}
  bool match(const ResolveError& error) const override { return error.code() == expected_; }
  std::string describe() const override { return "has code " + expected_.message(); }

 private:
  std::error_code expected_;
};

// The addresses as texts without an order, which for the wildcards depends on the system's routes.
std::set<std::string> texts(const std::vector<AddressInfo>& answers) {
  std::set<std::string> all;
  for (const AddressInfo& answer : answers) all.insert(answer.address.str());
  return all;
}

std::string only(const std::vector<AddressInfo>& answers) {
  REQUIRE(answers.size() == 1);
  return answers[0].address.str();
}

// The address of a stream socket for this service of 127.0.0.1.
std::string with_service(std::optional<std::string_view> service) {
  return only(getaddrinfo("127.0.0.1", service, 0, SOCK_STREAM));
}

// The name that getnameinfo has to give: getservbyport's, or the number if the system does not have
// the service in /etc/services.
std::string service_name(int port, const char* protocol) {
  const servent* entry = ::getservbyport(htons(static_cast<std::uint16_t>(port)), protocol);
  return entry ? entry->s_name : std::to_string(port);
}

}  // namespace

TEST_CASE("getaddrinfo gives all a Socket needs", "[resolve][getaddrinfo]") {
  const auto answers = getaddrinfo("127.0.0.1", 80, AF_INET, SOCK_STREAM);
  REQUIRE(answers.size() == 1);
  const auto& [family, type, proto, canonname, address] = answers[0];
  REQUIRE(family == AF_INET);
  REQUIRE(type == SOCK_STREAM);
  REQUIRE(proto == IPPROTO_TCP);
  REQUIRE(canonname.empty());
  REQUIRE(address == Address("127.0.0.1", 80));
}

TEST_CASE("getaddrinfo answers for each type in turn", "[resolve][getaddrinfo]") {
  const auto answers = getaddrinfo("127.0.0.1", 80);
  REQUIRE(answers.size() == 3);
  REQUIRE((answers[0].type == SOCK_STREAM && answers[0].proto == IPPROTO_TCP));
  REQUIRE((answers[1].type == SOCK_DGRAM && answers[1].proto == IPPROTO_UDP));
  REQUIRE((answers[2].type == SOCK_RAW && answers[2].proto == 0));
  REQUIRE(texts(answers) == std::set{"127.0.0.1:80"s});
}

TEST_CASE("getaddrinfo takes a type from the protocol", "[resolve][getaddrinfo]") {
  const auto answers = getaddrinfo("127.0.0.1", 80, 0, 0, IPPROTO_UDP);
  REQUIRE(only(answers) == "127.0.0.1:80");
  REQUIRE(answers[0].type == SOCK_DGRAM);
}

TEST_CASE("getaddrinfo tells the family of a numeric host", "[resolve][getaddrinfo]") {
  REQUIRE(only(getaddrinfo("::1", 80, 0, SOCK_STREAM)) == "[::1]:80");
  REQUIRE(only(getaddrinfo("127.1", 80, 0, SOCK_STREAM)) == "127.0.0.1:80");
}

TEST_CASE("getaddrinfo reads the scope of a host", "[resolve][getaddrinfo]") {
  const auto answers = getaddrinfo("fe80::1%lo", 80, 0, SOCK_STREAM);
  REQUIRE(only(answers) == "[fe80::1%lo]:80");
  REQUIRE(answers[0].address.scope_id() == ::if_nametoindex("lo"));
  REQUIRE_THROWS_MATCHES(getaddrinfo("fe80::1%no-such-interface", 80), ResolveError,
                         Resolver(EAI_NONAME));
}

TEST_CASE("getaddrinfo looks up a name", "[resolve][getaddrinfo]") {
  REQUIRE(texts(getaddrinfo("localhost", 80, AF_INET)) == std::set{"127.0.0.1:80"s});
  REQUIRE(texts(getaddrinfo("localhost"s, "80"s, AF_INET)) == std::set{"127.0.0.1:80"s});
}

TEST_CASE("what getaddrinfo answers can be connected to", "[resolve][getaddrinfo]") {
  test::Socket lst = test::listener();
  const auto answers = getaddrinfo("localhost", lst.getsockname().port(), AF_INET, SOCK_STREAM);
  const AddressInfo& first = answers.at(0);
  test::Socket client = test::patient(test::Socket(first.family, first.type, first.proto));
  client.connect(first.address);
  REQUIRE(lst.accept().address == client.getsockname());
}

TEST_CASE("no host is loopback", "[resolve][getaddrinfo]") {
  REQUIRE(texts(getaddrinfo(nullopt, 80)) == std::set{"127.0.0.1:80"s, "[::1]:80"s});
  REQUIRE(only(getaddrinfo(nullopt, 80, AF_INET6, SOCK_STREAM)) == "[::1]:80");
}

TEST_CASE("no host is the wildcard with AI_PASSIVE", "[resolve][getaddrinfo]") {
  REQUIRE(texts(getaddrinfo(nullopt, 80, 0, 0, 0, AI_PASSIVE)) ==
          std::set{"0.0.0.0:80"s, "[::]:80"s});
  REQUIRE(only(getaddrinfo(nullopt, 80, AF_INET, SOCK_STREAM, 0, AI_PASSIVE)) == "0.0.0.0:80");
}

TEST_CASE("no service is port 0", "[resolve][getaddrinfo]") {
  REQUIRE(with_service(nullopt) == "127.0.0.1:0");
  REQUIRE(with_service("") == "127.0.0.1:0");
}

TEST_CASE("neither host nor service does not resolve", "[resolve][getaddrinfo]") {
  REQUIRE_THROWS_MATCHES(getaddrinfo(nullopt, nullopt), ResolveError, Resolver(EAI_NONAME));
  REQUIRE(texts(getaddrinfo(nullopt, "", AF_INET)) == std::set{"127.0.0.1:0"s});
}

TEST_CASE("an empty host is a name that does not resolve", "[resolve][getaddrinfo]") {
  REQUIRE_THROWS_MATCHES(getaddrinfo("", 80), ResolveError, Resolver(EAI_NONAME));
  REQUIRE_THROWS_MATCHES(getaddrinfo("", nullopt), ResolveError, Resolver(EAI_NONAME));
  REQUIRE_THROWS_MATCHES(getaddrinfo("", ""), ResolveError, Resolver(EAI_NONAME));
}

TEST_CASE("a service may be named", "[resolve][getaddrinfo]") {
  if (::getservbyname("http", "tcp")) {
    REQUIRE(with_service("http") == "127.0.0.1:80");
  } else {
    REQUIRE_THROWS_MATCHES(with_service("http"), ResolveError, Resolver(EAI_SERVICE));
  }
}

TEST_CASE("a port is read as libc reads it", "[resolve][getaddrinfo]") {
  const char* service = GENERATE("80", " 80", "\t80", "+80", "0080");
  CAPTURE(service);
  REQUIRE(with_service(service) == "127.0.0.1:80");
}

TEST_CASE("the first and the last port are ports", "[resolve][getaddrinfo]") {
  REQUIRE(with_service("0") == "127.0.0.1:0");
  REQUIRE(with_service("-0") == "127.0.0.1:0");
  REQUIRE(with_service("65535") == "127.0.0.1:65535");
  REQUIRE(only(getaddrinfo("127.0.0.1", 65535, 0, SOCK_STREAM)) == "127.0.0.1:65535");
}

TEST_CASE("a numeric port outside 0-65535 is out of range", "[resolve][getaddrinfo]") {
  // libc would wrap most of these: the first to 4464, "4294967376" and the last to 80.
  const char* service =
      GENERATE("70000", " 70000", "+70000", "65536", "-1", " -1", "4294967376",
               "99999999999999999999", "-99999999999999999999", "-18446744073709551536");
  CAPTURE(service);
  REQUIRE_THROWS_AS(getaddrinfo("127.0.0.1", service), std::out_of_range);
}

TEST_CASE("a port as a number is held to the same range", "[resolve][getaddrinfo]") {
  const int port = GENERATE(-1, 65536, 70000, INT32_MIN, INT32_MAX);
  REQUIRE_THROWS_AS(getaddrinfo("127.0.0.1", port), std::out_of_range);
}

TEST_CASE("a port is refused before the host is looked up", "[resolve][getaddrinfo]") {
  REQUIRE_THROWS_AS(getaddrinfo("", 70000), std::out_of_range);
}

TEST_CASE("a service that is no service does not resolve", "[resolve][getaddrinfo]") {
  const char* service = GENERATE("no-such-service", "80 ", "0x50", " ", "70000x");
  CAPTURE(service);
  REQUIRE_THROWS_MATCHES(with_service(service), ResolveError, Resolver(EAI_SERVICE));
}

TEST_CASE("a NUL in host or service is an invalid argument", "[resolve][getaddrinfo]") {
  REQUIRE_THROWS_AS(getaddrinfo("127.0.0.1\0x"s, 80), std::invalid_argument);
  REQUIRE_THROWS_AS(getaddrinfo("\0"s, 80), std::invalid_argument);
  REQUIRE_THROWS_AS(getaddrinfo("127.0.0.1", "80\0"s), std::invalid_argument);
}

TEST_CASE("a host of the other family does not resolve", "[resolve][getaddrinfo]") {
  REQUIRE_THROWS_MATCHES(getaddrinfo("127.0.0.1", 80, AF_INET6), ResolveError,
                         Resolver(EAI_ADDRFAMILY));
  REQUIRE_THROWS_MATCHES(getaddrinfo("::1", 80, AF_INET), ResolveError, Resolver(EAI_ADDRFAMILY));
}

TEST_CASE("a family without hosts does not resolve", "[resolve][getaddrinfo]") {
  REQUIRE_THROWS_MATCHES(getaddrinfo("127.0.0.1", 80, 99), ResolveError, Resolver(EAI_FAMILY));
  REQUIRE_THROWS_MATCHES(getaddrinfo("127.0.0.1", 80, AF_UNIX), ResolveError, Resolver(EAI_FAMILY));
}

TEST_CASE("a type that does not exist does not resolve", "[resolve][getaddrinfo]") {
  REQUIRE_THROWS_MATCHES(getaddrinfo("127.0.0.1", 80, 0, 99), ResolveError, Resolver(EAI_SOCKTYPE));
  REQUIRE_THROWS_MATCHES(getaddrinfo("127.0.0.1", 80, 0, SOCK_STREAM, IPPROTO_UDP), ResolveError,
                         Resolver(EAI_SOCKTYPE));
}

TEST_CASE("AI_CANONNAME asks for the name", "[resolve][getaddrinfo]") {
  const auto canonname = [](const char* host) {
    return getaddrinfo(host, 80, AF_INET, SOCK_STREAM, 0, AI_CANONNAME).at(0).canonname;
  };
  REQUIRE(canonname("localhost") == "localhost");
  REQUIRE(canonname("127.0.0.1") == "127.0.0.1");
  REQUIRE(getaddrinfo("localhost", 80, AF_INET).at(0).canonname.empty());
}

TEST_CASE("only the first answer has the canonical name", "[resolve][getaddrinfo]") {
  const auto answers = getaddrinfo("127.0.0.1", 80, 0, 0, 0, AI_CANONNAME);
  REQUIRE(answers.size() == 3);
  REQUIRE(answers[0].canonname == "127.0.0.1");
  REQUIRE(answers[1].canonname.empty());
}

TEST_CASE("AI_NUMERICHOST refuses a name", "[resolve][getaddrinfo]") {
  const auto numeric = [](const char* host) {
    return getaddrinfo(host, 80, 0, SOCK_STREAM, 0, AI_NUMERICHOST);
  };
  REQUIRE(only(numeric("127.0.0.1")) == "127.0.0.1:80");
  REQUIRE_THROWS_MATCHES(numeric("localhost"), ResolveError, Resolver(EAI_NONAME));
}

TEST_CASE("AI_NUMERICSERV refuses the name of a service", "[resolve][getaddrinfo]") {
  REQUIRE_THROWS_MATCHES(getaddrinfo("127.0.0.1", "http", 0, SOCK_STREAM, 0, AI_NUMERICSERV),
                         ResolveError, Resolver(EAI_NONAME));
}

TEST_CASE("AI_V4MAPPED gives an IPv4 host to IPv6", "[resolve][getaddrinfo]") {
  REQUIRE(only(getaddrinfo("127.0.0.1", 80, AF_INET6, SOCK_STREAM, 0, AI_V4MAPPED)) ==
          "[::ffff:127.0.0.1]:80");
}

TEST_CASE("flags that do not go together do not resolve", "[resolve][getaddrinfo]") {
  REQUIRE_THROWS_MATCHES(getaddrinfo("127.0.0.1", 80, 0, 0, 0, 0x40000000), ResolveError,
                         Resolver(EAI_BADFLAGS));
  REQUIRE_THROWS_MATCHES(getaddrinfo(nullopt, 80, 0, 0, 0, AI_CANONNAME), ResolveError,
                         Resolver(EAI_BADFLAGS));
}

TEST_CASE("a failed lookup does not spoil the next", "[resolve][getaddrinfo]") {
  const std::size_t before = test::open_descriptors();
  REQUIRE_THROWS_AS(getaddrinfo("127.0.0.1", 80, 99), ResolveError);
  REQUIRE(with_service("80") == "127.0.0.1:80");
  REQUIRE(test::open_descriptors() == before);
}

TEST_CASE("the system's own failure is an Error with its errno", "[resolve][getaddrinfo]") {
  // UBSan opens a pipe at the first exception of each class. That has to come before the limit.
  REQUIRE(code_of([] { test::Socket(-1); }) == std::errc::address_family_not_supported);
  const auto code = code_of([] {
    const test::DescriptorLimit none(0);  // Now /etc/hosts cannot be opened.
    getaddrinfo("localhost", 80, AF_INET);
  });
  REQUIRE(code == std::errc::too_many_files_open);
}

TEST_CASE("a ResolveError tells what was asked and why it failed", "[resolve][error]") {
  const auto what = [](auto... arguments) -> std::string {
    try {
      getaddrinfo(arguments...);
    } catch (const ResolveError& error) {
      return error.what();
    }
    return "nothing was thrown";
  };
  REQUIRE(what("localhost", 80, 0, 0, 0, AI_NUMERICHOST) ==
          "getaddrinfo localhost port 80 (a numeric host is wanted): "s +
              ::gai_strerror(EAI_NONAME));
  REQUIRE(what("", 80) == "getaddrinfo \"\" port 80: "s + ::gai_strerror(EAI_NONAME));
  REQUIRE(what(nullopt, "nosuch", 0, SOCK_STREAM) ==
          "getaddrinfo port nosuch: "s + ::gai_strerror(EAI_SERVICE));
  REQUIRE(what("localhost", nullopt, 99) ==
          "getaddrinfo localhost: "s + ::gai_strerror(EAI_FAMILY));
}

TEST_CASE("the code of a ResolveError is no errno", "[resolve][error]") {
  const auto code = code_of([] { getaddrinfo("localhost", 80, 0, 0, 0, AI_NUMERICHOST); });
  REQUIRE(code.category() == resolve_category());
  REQUIRE(code.value() == EAI_NONAME);
  REQUIRE(code != std::error_code(EAI_NONAME, std::system_category()));
}

TEST_CASE("the messages of resolve_category are gai_strerror's", "[resolve][error]") {
  const int code = GENERATE(EAI_NONAME, EAI_AGAIN, EAI_FAIL, EAI_FAMILY, EAI_SERVICE, EAI_MEMORY);
  REQUIRE(resolve_category().message(code) == ::gai_strerror(code));
  REQUIRE(resolve_category() != std::system_category());
  REQUIRE(resolve_category().name() != ""s);
}

TEST_CASE("getnameinfo gives host and service", "[resolve][getnameinfo]") {
  const auto [host, service] = getnameinfo({"127.0.0.1", 80}, kNumeric);
  REQUIRE(host == "127.0.0.1");
  REQUIRE(service == "80");
}

TEST_CASE("getnameinfo takes an Address", "[resolve][getnameinfo]") {
  const Address address("::1", 65000);
  REQUIRE(getnameinfo(address, kNumeric).host == "::1");
  REQUIRE(getnameinfo(address, kNumeric).service == "65000");
}

TEST_CASE("getnameinfo keeps the scope of a host", "[resolve][getnameinfo]") {
  const unsigned scope = ::if_nametoindex("lo");
  REQUIRE(getnameinfo({"fe80::1", 80, 0, scope}, kNumeric).host == "fe80::1%lo");
  REQUIRE(getnameinfo({"fe80::1%lo", 80}, kNumeric).host == "fe80::1%lo");
}

TEST_CASE("getnameinfo looks the host up", "[resolve][getnameinfo]") {
  // The name is the first one of 127.0.0.1 in /etc/hosts: usually "localhost".
  REQUIRE(getnameinfo({"127.0.0.1", 80}, NI_NUMERICSERV | NI_NAMEREQD).host != "127.0.0.1");
  REQUIRE(getnameinfo({"127.0.0.1", 80}, NI_NUMERICSERV).service == "80");
}

TEST_CASE("getnameinfo looks the service up", "[resolve][getnameinfo]") {
  const int port = GENERATE(80, 53, 512, 65000);
  REQUIRE(getnameinfo({"127.0.0.1", port}, NI_NUMERICHOST).service == service_name(port, "tcp"));
}

TEST_CASE("NI_DGRAM asks for the UDP service", "[resolve][getnameinfo]") {
  // Port 512 is exec by TCP and biff by UDP.
  const int port = GENERATE(53, 512, 514);
  REQUIRE(getnameinfo({"127.0.0.1", port}, NI_NUMERICHOST | NI_DGRAM).service ==
          service_name(port, "udp"));
}

TEST_CASE("NI_NAMEREQD refuses a numeric answer", "[resolve][getnameinfo]") {
  REQUIRE_THROWS_MATCHES(getnameinfo({"127.0.0.1", 80}, kNumeric | NI_NAMEREQD), ResolveError,
                         Resolver(EAI_NONAME));
}

TEST_CASE("getnameinfo refuses flags that do not exist", "[resolve][getnameinfo]") {
  REQUIRE_THROWS_MATCHES(getnameinfo({"127.0.0.1", 80}, 1 << 20), ResolveError,
                         Resolver(EAI_BADFLAGS));
}

TEST_CASE("getnameinfo refuses a host that is not numeric", "[resolve][getnameinfo]") {
  REQUIRE_THROWS_MATCHES(getnameinfo({"localhost", 80}, kNumeric), ResolveError,
                         Resolver(EAI_NONAME));
}

TEST_CASE("getnameinfo refuses what stands for a host elsewhere", "[resolve][getnameinfo]") {
  REQUIRE_THROWS_MATCHES(getnameinfo({"", 80}, kNumeric), ResolveError, Resolver(EAI_NONAME));
  REQUIRE_THROWS_MATCHES(getnameinfo({"<broadcast>", 80}, kNumeric), ResolveError,
                         Resolver(EAI_NONAME));
}

TEST_CASE("getnameinfo holds the port to its range", "[resolve][getnameinfo]") {
  REQUIRE_THROWS_AS(getnameinfo({"127.0.0.1", 65536}, kNumeric), std::out_of_range);
  REQUIRE_THROWS_AS(getnameinfo({"127.0.0.1", -1}, kNumeric), std::out_of_range);
}

TEST_CASE("getnameinfo needs an address", "[resolve][getnameinfo]") {
  REQUIRE_THROWS_AS(getnameinfo({}, kNumeric), std::invalid_argument);
  REQUIRE_THROWS_MATCHES(getnameinfo(Address(), kNumeric), ResolveError, Resolver(EAI_FAMILY));
}
