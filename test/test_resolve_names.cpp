// Hosts, this machine's own name, services, protocols, interfaces, and addresses as bytes. The
// expected values are what Python 3.11's socket module answers, except that errors without an
// errno in Python have one here. All names are in /etc/hosts: no test asks a name server.
#include <arpa/inet.h>
#include <limits.h>
#include <net/if.h>
#include <netdb.h>
#include <sched.h>

#include <algorithm>
#include <future>
#include <set>
#include <string_view>

#include "child.hpp"
#include "thinsock/resolve.hpp"

using namespace test;
using namespace std::string_literals;
using thinsock::Error;
using thinsock::host_category;
using thinsock::resolve_category;
using thinsock::ResolveError;

namespace {

using Names = std::vector<std::string>;

// Matches by code:
// REQUIRE_THROWS_MATCHES(call, ResolveError, Unresolved({EAI_NONAME, resolve_category()})).
class Unresolved : public Catch::MatcherBase<ResolveError> {
 public:
  explicit Unresolved(std::error_code expected) : expected_(expected) {}
  bool match(const ResolveError& error) const override { return error.code() == expected_; }
  std::string describe() const override { return "has code " + expected_.message(); }

 private:
  std::error_code expected_;
};

Unresolved info(int code) { return Unresolved({code, resolve_category()}); }
Unresolved host(int code) { return Unresolved({code, host_category()}); }

template <class Call>
std::string what_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

// Calls body in a child process that can change its host name without changing this machine's.
void with_own_hostname(const std::function<void()>& body) {
  const auto enter = [] {
    return ::unshare(CLONE_NEWUTS) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWUTS) == 0;
  };
  in_child_at("a host name of one's own", enter, body);
}

}  // namespace

TEST_CASE("host_category's messages are hstrerror's", "[resolve][error]") {
  const int code = GENERATE(HOST_NOT_FOUND, TRY_AGAIN, NO_RECOVERY, NO_DATA);
  REQUIRE(host_category().message(code) == ::hstrerror(code));
  REQUIRE(host_category().name() != ""s);
}

TEST_CASE("host_category is a category of its own", "[resolve][error]") {
  REQUIRE(host_category() == host_category());
  REQUIRE(host_category() != resolve_category());
  REQUIRE(host_category() != std::system_category());
}

TEST_CASE("gethostbyname gives the IPv4 address of a host", "[resolve][gethostbyname]") {
  REQUIRE(thinsock::gethostbyname("127.0.0.1") == "127.0.0.1");
  REQUIRE(thinsock::gethostbyname("127.1") == "127.0.0.1");
  REQUIRE(thinsock::gethostbyname("localhost") == "127.0.0.1");
}

TEST_CASE("gethostbyname knows the wildcard and broadcast", "[resolve][gethostbyname]") {
  REQUIRE(thinsock::gethostbyname("") == "0.0.0.0");
  REQUIRE(thinsock::gethostbyname("<broadcast>") == "255.255.255.255");
}

TEST_CASE("gethostbyname refuses IPv6", "[resolve][gethostbyname]") {
  REQUIRE_THROWS_MATCHES(thinsock::gethostbyname("::1"), ResolveError, info(EAI_ADDRFAMILY));
  REQUIRE_THROWS_MATCHES(thinsock::gethostbyname("fe80::1%lo"), ResolveError, info(EAI_ADDRFAMILY));
}

TEST_CASE("gethostbyname_ex gives name and addresses", "[resolve][gethostbyname]") {
  const auto [name, aliases, addresses] = thinsock::gethostbyname_ex("127.0.0.1");
  REQUIRE(name == "127.0.0.1");
  REQUIRE(aliases.empty());
  REQUIRE(addresses == Names{"127.0.0.1"});
}

TEST_CASE("gethostbyname_ex keeps the name it was asked for", "[resolve][gethostbyname]") {
  REQUIRE(thinsock::gethostbyname_ex("127.1").name == "127.1");
  REQUIRE(thinsock::gethostbyname_ex("127.1").addresses == Names{"127.0.0.1"});
}

TEST_CASE("gethostbyname_ex looks a name up", "[resolve][gethostbyname]") {
  const auto [name, aliases, addresses] = thinsock::gethostbyname_ex("localhost");
  REQUIRE(std::count(addresses.begin(), addresses.end(), "127.0.0.1") > 0);
  REQUIRE((name == "localhost" || std::count(aliases.begin(), aliases.end(), "localhost") > 0));
}

TEST_CASE("gethostbyname_ex of an unknown host has a code of getaddrinfo", "[gethostbyname]") {
  REQUIRE_THROWS_MATCHES(thinsock::gethostbyname_ex(""), ResolveError, host(NO_RECOVERY));
  REQUIRE_THROWS_MATCHES(thinsock::gethostbyname_ex("256.0.0.1"), ResolveError, info(EAI_NONAME));
}

TEST_CASE("an error of gethostbyname_ex names the host and why", "[resolve][gethostbyname]") {
  REQUIRE(what_of([] { thinsock::gethostbyname_ex("256.0.0.1"); }) ==
          "gethostbyname_ex 256.0.0.1: "s + ::gai_strerror(EAI_NONAME));
}

TEST_CASE("gethostbyaddr finds the name of an address", "[resolve][gethostbyaddr]") {
  const auto [name, aliases, addresses] = thinsock::gethostbyaddr("127.0.0.1");
  REQUIRE(name.find_first_not_of("0123456789.") != std::string::npos);
  REQUIRE(addresses == Names{"127.0.0.1"});
}

TEST_CASE("gethostbyaddr looks a name up first", "[resolve][gethostbyaddr]") {
  REQUIRE(thinsock::gethostbyaddr("localhost").name == thinsock::gethostbyaddr("127.0.0.1").name);
}

TEST_CASE("a host with a NUL is an invalid argument", "[resolve]") {
  const std::string bad = GENERATE("127.0.0.1\0x"s, "\0"s, "localhost\0"s);
  REQUIRE_THROWS_AS(thinsock::gethostbyname(bad), std::invalid_argument);
  REQUIRE_THROWS_AS(thinsock::gethostbyname_ex(bad), std::invalid_argument);
  REQUIRE_THROWS_AS(thinsock::gethostbyaddr(bad), std::invalid_argument);
  REQUIRE(thinsock::gethostbyname("localhost") == "127.0.0.1");
}

TEST_CASE("threads may look hosts up at once", "[resolve][gethostbyaddr]") {
  // The functions without _r would share one static answer.
  const auto ask = [](const char* name) {
    for (int i = 0; i < 200; ++i) {
      if (thinsock::gethostbyname_ex(name).name != name) return false;
    }
    return true;
  };
  auto other = std::async(std::launch::async, ask, "127.0.0.2");
  const bool mine = ask("127.0.0.3");
  REQUIRE(other.get());
  REQUIRE(mine);
}

TEST_CASE("gethostname is what the kernel says", "[resolve][gethostname]") {
  char name[HOST_NAME_MAX + 1] = "";
  REQUIRE(::gethostname(name, sizeof name) == 0);
  REQUIRE(thinsock::gethostname() == name);
}

TEST_CASE("sethostname sets what gethostname gives", "[resolve][gethostname]") {
  const std::string before = thinsock::gethostname();
  const std::string name = GENERATE("thinsock-test"s, "x"s, std::string(HOST_NAME_MAX, 'n'));
  with_own_hostname([&] {
    thinsock::sethostname(name);
    expect(thinsock::gethostname() == name);
  });
  REQUIRE(thinsock::gethostname() == before);
}

TEST_CASE("sethostname refuses a name that is too long", "[resolve][gethostname]") {
  with_own_hostname([] {
    const std::string before = thinsock::gethostname();
    const auto code = code_of([] { thinsock::sethostname(std::string(HOST_NAME_MAX + 1, 'n')); });
    expect(code == std::errc::invalid_argument);
    expect(thinsock::gethostname() == before);
  });
}

TEST_CASE("sethostname without privileges is an Error", "[resolve][gethostname]") {
  in_child([] {
    const std::string name = thinsock::gethostname();  // Setting this one changes nothing.
    expect(::getuid() != 0 || ::setuid(65534) == 0);
    expect(code_of([&] { thinsock::sethostname(name); }) == std::errc::operation_not_permitted);
  });
}

TEST_CASE("getfqdn gives the name of an address", "[resolve][getfqdn]") {
  const std::string name = thinsock::gethostbyaddr("127.0.0.1").name;
  if (name.find('.') == std::string::npos) REQUIRE(thinsock::getfqdn("localhost") == name);
  REQUIRE(thinsock::getfqdn("127.0.0.1") == thinsock::getfqdn("localhost"));
}

TEST_CASE("getfqdn ignores blanks around the name", "[resolve][getfqdn]") {
  REQUIRE(thinsock::getfqdn(" localhost\t") == thinsock::getfqdn("localhost"));
}

TEST_CASE("getfqdn without a name is this host's", "[resolve][getfqdn]") {
  const std::string expected = thinsock::getfqdn("localhost");
  with_own_hostname([&] {
    thinsock::sethostname("localhost");  // A name server might be asked about any other name.
    for (const char* host : {"", "0.0.0.0", "::"})
      expect(thinsock::getfqdn(host) == expected, host);
  });
}

TEST_CASE("getfqdn gives back what does not resolve", "[resolve][getfqdn]") {
  REQUIRE(thinsock::getfqdn("fe80::1%no-such-interface") == "fe80::1%no-such-interface");
  REQUIRE(thinsock::getfqdn("<no host>") == "<no host>");
}

TEST_CASE("getservbyname gives a service's port", "[resolve][getservbyname]") {
  // Not every system has an /etc/services.
  if (::getservbyname("http", "tcp")) {
    REQUIRE(thinsock::getservbyname("http") == 80);
    REQUIRE(thinsock::getservbyname("http", "tcp") == 80);
  } else {
    REQUIRE_THROWS_MATCHES(thinsock::getservbyname("http"), ResolveError, info(EAI_SERVICE));
  }
}

TEST_CASE("getservbyname tells the protocols apart", "[resolve][getservbyname]") {
  if (::getservbyname("biff", "udp")) {
    REQUIRE(thinsock::getservbyname("biff", "udp") == 512);
    REQUIRE(thinsock::getservbyname("biff") == 512);
  }
  REQUIRE_THROWS_MATCHES(thinsock::getservbyname("biff", "tcp"), ResolveError, info(EAI_SERVICE));
}

TEST_CASE("getservbyname finds only what there is", "[resolve][getservbyname]") {
  const char* service = GENERATE("no-such-service", "", "80");
  REQUIRE_THROWS_MATCHES(thinsock::getservbyname(service), ResolveError, info(EAI_SERVICE));
  REQUIRE_THROWS_MATCHES(thinsock::getservbyname("http", "no-such-protocol"), ResolveError,
                         info(EAI_SERVICE));
}

TEST_CASE("getservbyport gives a port's service", "[resolve][getservbyport]") {
  const int port = GENERATE(80, 53, 512, 22);
  for (const char* proto : {"tcp", "udp"}) {
    CAPTURE(port, proto);
    const servent* entry = ::getservbyport(htons(static_cast<std::uint16_t>(port)), proto);
    if (entry) {
      REQUIRE(thinsock::getservbyport(port, proto) == entry->s_name);
    } else {
      REQUIRE_THROWS_MATCHES(thinsock::getservbyport(port, proto), ResolveError, info(EAI_SERVICE));
    }
  }
}

TEST_CASE("getservbyport finds only what there is", "[resolve][getservbyport]") {
  const int port = GENERATE(0, 65000, 65535);
  REQUIRE_THROWS_MATCHES(thinsock::getservbyport(port), ResolveError, info(EAI_SERVICE));
}

TEST_CASE("getservbyport holds the port to its range", "[resolve][getservbyport]") {
  // The low 16 bits of 65616 are 80.
  const int port = GENERATE(-1, 65536, 65616, INT_MIN, INT_MAX);
  REQUIRE_THROWS_AS(thinsock::getservbyport(port), std::out_of_range);
}

TEST_CASE("getprotobyname gives a protocol's number", "[resolve][getprotobyname]") {
  const std::string_view name = GENERATE(as<std::string_view>(), "tcp", "TCP", "udp", "icmp");
  CAPTURE(name);
  const protoent* entry = ::getprotobyname(name.data());
  if (entry) {
    REQUIRE(thinsock::getprotobyname(name) == entry->p_proto);
  } else {
    REQUIRE_THROWS_MATCHES(thinsock::getprotobyname(name), ResolveError, info(EAI_NONAME));
  }
}

TEST_CASE("getprotobyname finds only what there is", "[resolve][getprotobyname]") {
  REQUIRE_THROWS_MATCHES(thinsock::getprotobyname("no-such"), ResolveError, info(EAI_NONAME));
  REQUIRE_THROWS_MATCHES(thinsock::getprotobyname(""), ResolveError, info(EAI_NONAME));
  REQUIRE(what_of([] { thinsock::getprotobyname("no-such"); }).starts_with("getprotobyname no-su"));
}

TEST_CASE("a service or protocol with a NUL is an invalid argument", "[resolve]") {
  REQUIRE_THROWS_AS(thinsock::getservbyname("http\0"s), std::invalid_argument);
  REQUIRE_THROWS_AS(thinsock::getservbyname("http", "tcp\0"s), std::invalid_argument);
  REQUIRE_THROWS_AS(thinsock::getservbyport(80, "tcp\0"s), std::invalid_argument);
  REQUIRE_THROWS_AS(thinsock::getprotobyname("tcp\0"s), std::invalid_argument);
}

TEST_CASE("if_nameindex lists the interfaces", "[resolve][interface]") {
  std::set<std::string> names;
  for (const auto& [index, name] : thinsock::if_nameindex()) {
    CAPTURE(name);
    REQUIRE(index == ::if_nametoindex(name.c_str()));
    names.insert(name);
  }
  REQUIRE(names.count("lo") == 1);
}

TEST_CASE("if_nametoindex and if_indextoname are inverse", "[resolve][interface]") {
  REQUIRE(thinsock::if_nametoindex("lo") == ::if_nametoindex("lo"));
  for (const auto& [index, name] : thinsock::if_nameindex()) {
    REQUIRE(thinsock::if_nametoindex(name) == index);
    REQUIRE(thinsock::if_indextoname(index) == name);
  }
}

TEST_CASE("the name of no interface is ENODEV", "[resolve][interface]") {
  // The kernel would see only a part of a name that has IF_NAMESIZE bytes or more.
  const std::string name = GENERATE("no-such"s, ""s, "lo "s, std::string(16, 'x'));
  CAPTURE(name);
  REQUIRE_THROWS_MATCHES(thinsock::if_nametoindex(name), Error, Code(std::errc::no_such_device));
}

TEST_CASE("the index of no interface is ENXIO", "[resolve][interface]") {
  const unsigned index = GENERATE(0u, 99999u, UINT_MAX);
  CAPTURE(index);
  REQUIRE_THROWS_MATCHES(thinsock::if_indextoname(index), Error,
                         Code(std::errc::no_such_device_or_address));
}

TEST_CASE("an interface with a NUL is an invalid argument", "[resolve][interface]") {
  REQUIRE_THROWS_AS(thinsock::if_nametoindex("lo\0x"s), std::invalid_argument);
}

TEST_CASE("inet_aton reads the four old forms", "[resolve][inet]") {
  REQUIRE(thinsock::inet_aton("1") == "\0\0\0\1"s);
  REQUIRE(thinsock::inet_aton("127.1") == "\x7f\0\0\1"s);
  REQUIRE(thinsock::inet_aton("1.2.3") == "\1\2\0\3"s);
  REQUIRE(thinsock::inet_aton("1.2.3.4") == "\1\2\3\4"s);
}

TEST_CASE("inet_aton reads hexadecimal and octal", "[resolve][inet]") {
  REQUIRE(thinsock::inet_aton("0x7f.1") == "\x7f\0\0\1"s);
  REQUIRE(thinsock::inet_aton("010.1") == "\x08\0\0\1"s);
}

TEST_CASE("inet_aton refuses what is no address", "[resolve][inet]") {
  const char* text = GENERATE("", "256.0.0.1", "1.2.3.4foo", "::1", "1.2.3.4.5", " 1.2.3.4");
  CAPTURE(text);
  REQUIRE_THROWS_MATCHES(thinsock::inet_aton(text), Error, Code(std::errc::invalid_argument));
}

TEST_CASE("inet_ntoa writes four bytes", "[resolve][inet]") {
  REQUIRE(thinsock::inet_ntoa("\x7f\0\0\1"s) == "127.0.0.1");
  REQUIRE(thinsock::inet_ntoa("\xff\xff\xff\xff") == "255.255.255.255");
  const std::string packed = GENERATE(""s, "123"s, "12345"s, std::string(16, '\0'));
  REQUIRE_THROWS_AS(thinsock::inet_ntoa(packed), std::invalid_argument);
}

TEST_CASE("inet_pton reads an address of its family", "[resolve][inet]") {
  REQUIRE(thinsock::inet_pton(AF_INET, "127.0.0.1") == "\x7f\0\0\1"s);
  REQUIRE(thinsock::inet_pton(AF_INET6, "::1") == std::string(15, '\0') + '\1');
  REQUIRE(thinsock::inet_pton(AF_INET6, "::ffff:1.2.3.4") ==
          std::string(10, '\0') + "\xff\xff\1\2\3\4");
}

TEST_CASE("inet_pton is strict", "[resolve][inet]") {
  const char* v4 = GENERATE("", "127.1", " 127.0.0.1", "127.0.0.1 ", "0x7f.0.0.1", "::1", "x");
  CAPTURE(v4);
  REQUIRE_THROWS_MATCHES(thinsock::inet_pton(AF_INET, v4), Error,
                         Code(std::errc::invalid_argument));
  const char* v6 = GENERATE("", "127.0.0.1", "fe80::1%lo", "1::2::3", ":::");
  CAPTURE(v6);
  REQUIRE_THROWS_MATCHES(thinsock::inet_pton(AF_INET6, v6), Error,
                         Code(std::errc::invalid_argument));
}

TEST_CASE("inet_ntop writes an address of its family", "[resolve][inet]") {
  REQUIRE(thinsock::inet_ntop(AF_INET, "\x7f\0\0\1"s) == "127.0.0.1");
  REQUIRE(thinsock::inet_ntop(AF_INET6, std::string(16, '\0')) == "::");
  REQUIRE(thinsock::inet_ntop(AF_INET6, std::string(10, '\0') + "\xff\xff\1\2\3\4") ==
          "::ffff:1.2.3.4");
}

TEST_CASE("inet_ntop needs the size of its family", "[resolve][inet]") {
  for (const std::size_t size : {0, 3, 5, 16, 17}) {
    REQUIRE_THROWS_AS(thinsock::inet_ntop(AF_INET, std::string(size, '\1')), std::invalid_argument);
  }
  for (const std::size_t size : {0, 4, 15, 17}) {
    REQUIRE_THROWS_AS(thinsock::inet_ntop(AF_INET6, std::string(size, '\1')),
                      std::invalid_argument);
  }
}

TEST_CASE("inet_pton and inet_ntop are inverse", "[resolve][inet]") {
  const std::string v4 = GENERATE("0.0.0.0", "255.255.255.255", "10.0.200.1");
  REQUIRE(thinsock::inet_ntop(AF_INET, thinsock::inet_pton(AF_INET, v4)) == v4);
  const std::string v6 =
      GENERATE("::", "::1", "2001:db8::ff00:42:8329", "1111:2222:3333:4444:5555:6666:7777:8888");
  REQUIRE(thinsock::inet_ntop(AF_INET6, thinsock::inet_pton(AF_INET6, v6)) == v6);
}

TEST_CASE("only AF_INET and AF_INET6 are known to inet_*", "[resolve][inet]") {
  const int family = GENERATE(AF_UNIX, AF_UNSPEC, 99, -1);
  REQUIRE_THROWS_MATCHES(thinsock::inet_pton(family, "127.0.0.1"), Error,
                         Code(std::errc::address_family_not_supported));
  REQUIRE_THROWS_MATCHES(thinsock::inet_ntop(family, "1234"), Error,
                         Code(std::errc::address_family_not_supported));
}

TEST_CASE("an address with a NUL is an invalid argument", "[resolve][inet]") {
  REQUIRE_THROWS_AS(thinsock::inet_aton("1.2.3.4\0"s), std::invalid_argument);
  REQUIRE_THROWS_AS(thinsock::inet_pton(AF_INET, "127.0.0.1\0"s), std::invalid_argument);
  REQUIRE_THROWS_AS(thinsock::inet_pton(AF_INET6, "::1\0x"s), std::invalid_argument);
}
