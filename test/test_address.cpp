#include "thinsock/address.hpp"

#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstring>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>

#include "support.hpp"

using namespace std::string_literals;
using thinsock::Address;
using thinsock::AddressLike;
using thinsock::ResolveError;

namespace {

template <class Raw>
Address copy_of(const Raw& raw, std::size_t size = sizeof(Raw)) {
  return {reinterpret_cast<const sockaddr*>(&raw), static_cast<socklen_t>(size)};
}

Address unnamed() {
  sockaddr_un raw{};
  raw.sun_family = AF_UNIX;
  return copy_of(raw, sizeof raw.sun_family);
}

std::string path_of(std::size_t size) { return '/' + std::string(size - 1, 'a'); }
std::string abstract_of(std::size_t size) { return '\0' + std::string(size - 1, 'a'); }

// Converts its argument as a method with an address parameter does.
std::string seen(AddressLike address) { return address.str(); }

std::size_t hash(const Address& address) { return std::hash<Address>()(address); }

}  // namespace

// A null pointer or a literal 0 must not be taken for a path or a host.
static_assert(!std::is_constructible_v<AddressLike, std::nullptr_t>);
static_assert(!std::is_constructible_v<AddressLike, std::nullptr_t, int>);

TEST_CASE("an Address without arguments is none", "[address][construct]") {
  const Address none;
  REQUIRE(none.size() == 0);
  REQUIRE(none.family() == AF_UNSPEC);
  REQUIRE(none.host().empty());
  REQUIRE(none.port() == 0);
  REQUIRE(none.path().empty());
  REQUIRE(none.str().empty());
}

TEST_CASE("an Address is made from an IPv4 host and a port", "[address][construct]") {
  const Address address("192.0.2.7", 65535);
  REQUIRE(address.family() == AF_INET);
  REQUIRE(address.size() == sizeof(sockaddr_in));
  REQUIRE(address.host() == "192.0.2.7");
  REQUIRE(address.port() == 65535);
  REQUIRE(address.flowinfo() == 0);
  REQUIRE(address.scope_id() == 0);
  REQUIRE(address.path().empty());
}

TEST_CASE("an Address is made from all four parts of IPv6", "[address][construct]") {
  const Address address("2001:db8::1", 80, 0xfffff, 7);
  REQUIRE(address.family() == AF_INET6);
  REQUIRE(address.size() == sizeof(sockaddr_in6));
  REQUIRE(address.host() == "2001:db8::1");
  REQUIRE(address.port() == 80);
  REQUIRE(address.flowinfo() == 0xfffff);
  REQUIRE(address.scope_id() == 7);
}

TEST_CASE("port and flowinfo are in network order for the kernel", "[address][construct]") {
  const Address address("::1", 0x1234, 0x12345);
  sockaddr_in6 raw;
  std::memcpy(&raw, address.data(), sizeof raw);
  REQUIRE(raw.sin6_port == htons(0x1234));
  REQUIRE(raw.sin6_flowinfo == htonl(0x12345));
}

TEST_CASE("an Address without host is the IPv4 wildcard", "[address][construct]") {
  REQUIRE(Address("", 80).str() == "0.0.0.0:80");
}

TEST_CASE("an Address takes the scope from the host", "[address][construct]") {
  const Address address("fe80::1%lo", 80);
  REQUIRE(address.scope_id() == ::if_nametoindex("lo"));
  REQUIRE(address.host() == "fe80::1");
  REQUIRE(address.flowinfo() == 0);
  SECTION("unless it is given apart") {
    REQUIRE(Address("fe80::1%lo", 80, 5, 7).scope_id() == 7);
    REQUIRE(Address("fe80::1%lo", 80, 5, 7).flowinfo() == 5);
  }
}

TEST_CASE("an Address is not made from a name", "[address][construct]") {
  const char* host = GENERATE("localhost", "127.0.0.256", "127.0.0.1 x", "::g", "[::1]",
                              "fe80::1%no-such-interface", " ");
  CAPTURE(host);
  REQUIRE_THROWS_AS(Address(host, 80), ResolveError);
}

TEST_CASE("an Address is made from a Unix path", "[address][construct]") {
  const Address address("/run/x.sock");
  REQUIRE(address.family() == AF_UNIX);
  REQUIRE(address.path() == "/run/x.sock");
  REQUIRE(address.size() == offsetof(sockaddr_un, sun_path) + sizeof "/run/x.sock");
  REQUIRE(address.host().empty());
  REQUIRE(address.port() == 0);
}

TEST_CASE("an abstract name keeps its NUL and gets none", "[address][construct]") {
  const Address address("\0na\0me"s);
  REQUIRE(address.family() == AF_UNIX);
  REQUIRE(address.path() == "\0na\0me"s);
  REQUIRE(address.size() == offsetof(sockaddr_un, sun_path) + 6);
}

TEST_CASE("an empty path is the family alone", "[address][construct]") {
  const Address address("");
  REQUIRE(address.family() == AF_UNIX);
  REQUIRE(address.path().empty());
  REQUIRE(address.size() == sizeof(sa_family_t));
}

TEST_CASE("a path has at most 107 bytes", "[address][construct]") {
  REQUIRE(Address(path_of(107)).path() == path_of(107));
  REQUIRE(Address(path_of(107)).size() == sizeof(sockaddr_un));
  REQUIRE(seen(path_of(107)) == path_of(107));
  REQUIRE_THROWS_AS(Address(path_of(108)), std::invalid_argument);
  REQUIRE_THROWS_AS(AddressLike(path_of(108)), std::invalid_argument);
}

TEST_CASE("an abstract name has at most 108 bytes with its NUL", "[address][construct]") {
  REQUIRE(Address(abstract_of(108)).path() == abstract_of(108));
  REQUIRE(Address(abstract_of(108)).size() == sizeof(sockaddr_un));
  REQUIRE_THROWS_AS(Address(abstract_of(109)), std::invalid_argument);
  REQUIRE_THROWS_AS(AddressLike(abstract_of(109)), std::invalid_argument);
}

TEST_CASE("a NUL in a path is an invalid argument", "[address][construct]") {
  REQUIRE_THROWS_AS(Address("/run/x\0zz"s), std::invalid_argument);
  REQUIRE_THROWS_AS(Address("/run/x\0"s), std::invalid_argument);
  REQUIRE_THROWS_AS(AddressLike("/run/x\0zz"), std::invalid_argument);
}

TEST_CASE("a NUL in a host is an invalid argument", "[address][construct]") {
  REQUIRE_THROWS_AS(Address("127.0.0.1\0x"s, 80), std::invalid_argument);
  REQUIRE_THROWS_AS(AddressLike("local\0host"s, 80), std::invalid_argument);
}

TEST_CASE("a port outside 0-65535 is out of range", "[address][construct]") {
  const int port = GENERATE(-1, 65536, 70000, INT32_MIN, INT32_MAX);
  REQUIRE_THROWS_AS(Address("127.0.0.1", port), std::out_of_range);
  REQUIRE_THROWS_AS(AddressLike("localhost", port), std::out_of_range);
}

TEST_CASE("a flowinfo above 0xfffff is out of range", "[address][construct]") {
  REQUIRE_THROWS_AS(Address("::1", 80, 0x100000), std::out_of_range);
  REQUIRE_THROWS_AS(AddressLike("::1", 80, 0x100000), std::out_of_range);
  REQUIRE(AddressLike("::1", 80, 0xfffff).resolve(AF_INET6).flowinfo() == 0xfffff);
}

TEST_CASE("an Address is a copy of raw bytes", "[address][construct]") {
  const Address original("::1", 80, 5, 7);
  const Address copy(original.data(), original.size());
  REQUIRE(copy == original);
  REQUIRE(copy.size() == original.size());
  REQUIRE(copy.data() != original.data());
}

TEST_CASE("raw bytes beyond the capacity are an invalid argument", "[address][construct]") {
  const sockaddr_storage raw{};
  REQUIRE(copy_of(raw).size() == 128);
  REQUIRE(Address::capacity() == 128);
  const char longer[129] = {};
  REQUIRE_THROWS_AS(copy_of(longer), std::invalid_argument);
  REQUIRE_THROWS_AS(copy_of(raw, UINT32_MAX), std::invalid_argument);
}

TEST_CASE("raw bytes cut short read as zero", "[address][construct]") {
  sockaddr_in6 raw;
  std::memset(&raw, 0xff, sizeof raw);
  SECTION("no byte at all") {
    REQUIRE(copy_of(raw, 0) == Address());
    REQUIRE(copy_of(raw, 1).family() == AF_UNSPEC);
  }
  SECTION("IPv4") {
    raw.sin6_family = AF_INET;
    REQUIRE(copy_of(raw, sizeof(sa_family_t)).str() == "0.0.0.0:0");
    REQUIRE(copy_of(raw, 6).str() == "255.255.0.0:65535");
  }
  SECTION("IPv6") {
    raw.sin6_family = AF_INET6;
    REQUIRE(copy_of(raw, sizeof(sa_family_t)).str() == "[::]:0");
    REQUIRE(copy_of(raw, offsetof(sockaddr_in6, sin6_scope_id)).scope_id() == 0);
  }
  SECTION("Unix") { REQUIRE(unnamed().path().empty()); }
}

TEST_CASE("another family keeps its bytes", "[address][construct]") {
  sockaddr_storage raw{};
  raw.ss_family = AF_NETLINK;
  const Address address = copy_of(raw, 12);
  REQUIRE(address.family() == AF_NETLINK);
  REQUIRE(address.size() == 12);
  REQUIRE(address.host().empty());
  REQUIRE(address.port() == 0);
  REQUIRE(address.path().empty());
  REQUIRE_FALSE(address.str().empty());
}

TEST_CASE("path() ends at the NUL the kernel put there", "[address][path]") {
  sockaddr_un raw{};
  raw.sun_family = AF_UNIX;
  std::strcpy(raw.sun_path, "/run/x");
  REQUIRE(copy_of(raw).path() == "/run/x");
  SECTION("or at the end of the bytes") {
    std::memset(raw.sun_path, 'a', sizeof raw.sun_path);
    REQUIRE(copy_of(raw).path() == std::string(108, 'a'));
    REQUIRE(copy_of(raw, offsetof(sockaddr_un, sun_path) + 3).path() == "aaa");
  }
}

TEST_CASE("path() points into its own Address", "[address][path]") {
  const Address address("/run/x");
  const auto* begin = reinterpret_cast<const char*>(address.data());
  REQUIRE(address.path().data() >= begin);
  REQUIRE(address.path().data() + address.path().size() <= begin + address.size());
}

TEST_CASE("an Address is printed as it is written", "[address][str]") {
  const auto [address, expected] = GENERATE(table<Address, std::string>({
      {Address("127.0.0.1", 80), "127.0.0.1:80"},
      {Address("::1", 80), "[::1]:80"},
      {Address("::ffff:192.0.2.7", 0), "[::ffff:192.0.2.7]:0"},
      {Address("2001:0DB8:0:0:0::1", 80), "[2001:db8::1]:80"},
      {Address("fe80::1%lo", 80), "[fe80::1%lo]:80"},
      {Address("fe80::1", 80, 5, 0x7fffffff), "[fe80::1%2147483647]:80"},
      {Address("/run/x.sock"), "/run/x.sock"},
      {Address("\0name"s), "@name"},
      {Address(""), ""},
      {unnamed(), ""},
      {Address(), ""},
  }));
  REQUIRE(address.str() == expected);
  std::ostringstream out;
  out << address;
  REQUIRE(out.str() == expected);
}

TEST_CASE("resize stops at the capacity", "[address][resize]") {
  Address address("127.0.0.1", 80);
  address.resize(1000);
  REQUIRE(address.size() == Address::capacity());
  address.resize(0);
  REQUIRE(address == Address());
}

TEST_CASE("a system call can fill an Address", "[address][data]") {
  const test::Socket lst = test::listener();
  Address address;
  socklen_t size = Address::capacity();
  REQUIRE(::getsockname(lst.fileno(), address.data(), &size) == 0);
  address.resize(size);
  REQUIRE(address == lst.getsockname());
  REQUIRE(address.host() == "127.0.0.1");
}

TEST_CASE("Addresses are equal whatever their padding", "[address][compare]") {
  sockaddr_in raw{};
  raw.sin_family = AF_INET;
  raw.sin_port = htons(80);
  raw.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::memset(raw.sin_zero, 0xff, sizeof raw.sin_zero);
  REQUIRE(copy_of(raw) == Address("127.0.0.1", 80));
  REQUIRE(hash(copy_of(raw)) == hash(Address("127.0.0.1", 80)));
}

TEST_CASE("Addresses are equal whether a NUL ends their path or not", "[address][compare]") {
  sockaddr_un raw{};
  raw.sun_family = AF_UNIX;
  std::strcpy(raw.sun_path, "/run/x\0rubbish");
  const std::size_t bare = offsetof(sockaddr_un, sun_path) + 6;
  REQUIRE(copy_of(raw, bare) == Address("/run/x"));
  REQUIRE(copy_of(raw, bare + 1) == Address("/run/x"));
  REQUIRE(copy_of(raw) == Address("/run/x"));
  REQUIRE(hash(copy_of(raw, bare)) == hash(copy_of(raw)));
}

TEST_CASE("each part of an Address counts", "[address][compare]") {
  const Address address("::1", 80, 5, 7);
  REQUIRE(address == Address("::1", 80, 5, 7));
  REQUIRE(address != Address("::2", 80, 5, 7));
  REQUIRE(address != Address("::1", 81, 5, 7));
  REQUIRE(address != Address("::1", 80, 6, 7));
  REQUIRE(address != Address("::1", 80, 5, 8));
  REQUIRE(Address("127.0.0.1", 80) != Address("127.0.0.2", 80));
  REQUIRE(Address("127.0.0.1", 80) != Address("127.0.0.1", 81));
  REQUIRE(Address("127.0.0.1", 80) != Address("::ffff:127.0.0.1", 80));
  REQUIRE(Address("\0a"s) != Address("\0a\0"s));
  REQUIRE(Address("a") != Address("\0a"s));
  REQUIRE(Address("") != Address());
}

TEST_CASE("Addresses have a total order, by family first", "[address][compare]") {
  std::vector<Address> all{Address("::1", 2), Address("b"),          Address("127.0.0.1", 9),
                           Address(),         Address("::1", 1),     Address("a"),
                           Address("\0a"s),   Address("10.0.0.1", 9)};
  std::sort(all.begin(), all.end());
  const auto by_family = [](const Address& a, const Address& b) { return a.family() < b.family(); };
  REQUIRE(std::is_sorted(all.begin(), all.end(), by_family));
  for (std::size_t i = 0; i + 1 < all.size(); ++i) {
    REQUIRE(all[i] < all[i + 1]);
    REQUIRE_FALSE(all[i + 1] < all[i]);
  }
  REQUIRE(std::is_eq(Address("a") <=> Address("a")));
}

TEST_CASE("an Address is a key of both kinds of map", "[address][compare]") {
  std::unordered_map<Address, int> visits;
  std::set<Address> seen;
  for (int port : {1, 2, 1, 3, 1}) {
    ++visits[Address("127.0.0.1", port)];
    seen.insert(Address("127.0.0.1", port));
  }
  REQUIRE(visits.size() == 3);
  REQUIRE(visits.at(Address("127.0.0.1", 1)) == 3);
  REQUIRE(seen.size() == 3);
}

TEST_CASE("an AddressLike without arguments is empty", "[addresslike][construct]") {
  REQUIRE(AddressLike().empty());
  REQUIRE(AddressLike().family() == AF_UNSPEC);
  REQUIRE(seen({}).empty());
  REQUIRE_FALSE(AddressLike("").empty());
  REQUIRE_FALSE(AddressLike("", 0).empty());
  REQUIRE_THROWS_AS(AddressLike().resolve(AF_INET), std::invalid_argument);
}

TEST_CASE("an AddressLike keeps a host as it was given", "[addresslike][construct]") {
  const AddressLike address("no-such-host", 80);
  REQUIRE(address.host() == "no-such-host");
  REQUIRE(address.port() == 80);
  REQUIRE(address.family() == AF_UNSPEC);
  REQUIRE(address.str() == "no-such-host:80");
  REQUIRE(seen({"::1", 80}) == "[::1]:80");
  REQUIRE(seen({"", 80}) == "\"\":80");
  REQUIRE(seen({"::1"s, 80, 5, 7}) == "[::1]:80");
}

TEST_CASE("a path that is null is an invalid argument", "[addresslike][construct]") {
  const char* constant = nullptr;
  char* writable = nullptr;
  REQUIRE_THROWS_AS(AddressLike(constant), std::invalid_argument);
  REQUIRE_THROWS_AS(AddressLike(writable), std::invalid_argument);
}

TEST_CASE("an AddressLike is made from all that holds a path", "[addresslike][construct]") {
  const std::string text = "/run/x";
  char buffer[100] = "/run/x";
  const char* pointer = buffer;
  char* writable = buffer;
  REQUIRE(seen(text) == "/run/x");
  REQUIRE(seen(std::string_view(text)) == "/run/x");
  REQUIRE(seen("/run/x") == "/run/x");
  REQUIRE(seen(buffer) == "/run/x");
  REQUIRE(seen(pointer) == "/run/x");
  REQUIRE(seen(writable) == "/run/x");
  REQUIRE(seen(std::filesystem::path("/run") / "x") == "/run/x");
  REQUIRE(AddressLike(text).family() == AF_UNIX);
  REQUIRE(AddressLike(text).host().empty());
  REQUIRE(AddressLike(text).port() == 0);
}

TEST_CASE("an AddressLike keeps an abstract name", "[addresslike][construct]") {
  REQUIRE(AddressLike("\0na\0me").resolve(AF_UNIX).path() == "\0na\0me"s);
  REQUIRE(AddressLike("\0name"s).resolve(AF_UNIX).path() == "\0name"s);
  REQUIRE(seen("\0name") == "@name");
}

TEST_CASE("an AddressLike reads no further than a char array goes", "[addresslike][construct]") {
  struct {
    char path[4] = {'/', 't', 'm', 'p'};
    char behind[4] = "not";
  } full;
  SECTION("a writable one") { REQUIRE(seen(full.path) == "/tmp"); }
  SECTION("a constant one") { REQUIRE(seen(std::as_const(full).path) == "/tmp"); }
}

TEST_CASE("an AddressLike is not made from a number or nullptr", "[addresslike][construct]") {
  CHECK_FALSE(std::is_convertible_v<int, AddressLike>);
  CHECK_FALSE(std::is_convertible_v<std::nullptr_t, AddressLike>);
}

TEST_CASE("an Address is itself", "[addresslike][resolve]") {
  const Address address("::1", 80, 5, 7);
  const AddressLike same = address;
  REQUIRE(same.family() == AF_INET6);
  REQUIRE(same.str() == address.str());
  REQUIRE(same.resolve(AF_INET6) == address);
  REQUIRE(same.resolve(AF_UNSPEC) == address);
}

TEST_CASE("an Address of no family goes with any socket", "[addresslike][resolve]") {
  const Address none;
  REQUIRE(AddressLike(none).resolve(AF_INET) == none);
  REQUIRE(AddressLike(none).resolve(AF_UNIX) == none);
}

TEST_CASE("a numeric host is resolved as it is", "[addresslike][resolve]") {
  REQUIRE(AddressLike("192.0.2.7", 80).resolve(AF_INET) == Address("192.0.2.7", 80));
  REQUIRE(AddressLike("192.0.2.7", 80).resolve(AF_UNSPEC) == Address("192.0.2.7", 80));
  REQUIRE(AddressLike("::1", 80, 5, 7).resolve(AF_INET6) == Address("::1", 80, 5, 7));
  REQUIRE(AddressLike("::1", 80).resolve(AF_UNSPEC).family() == AF_INET6);
  REQUIRE(AddressLike("fe80::1%lo", 80).resolve(AF_INET6) == Address("fe80::1%lo", 80));
}

TEST_CASE("a name is looked up", "[addresslike][resolve]") {
  const Address found = AddressLike("localhost", 80).resolve(AF_INET, SOCK_STREAM);
  REQUIRE(found == Address("127.0.0.1", 80));
  REQUIRE_THROWS_AS(AddressLike("localhost", 80).resolve(AF_INET, SOCK_STREAM, 0, AI_NUMERICHOST),
                    ResolveError);
}

TEST_CASE("a name resolves for every type of socket", "[addresslike][resolve]") {
  const int type = GENERATE(0, SOCK_STREAM, SOCK_DGRAM, SOCK_RAW);
  REQUIRE(AddressLike("localhost", 80).resolve(AF_INET, type) == Address("127.0.0.1", 80));
}

TEST_CASE("no host is the wildcard of the family", "[addresslike][resolve]") {
  REQUIRE(AddressLike("", 80).resolve(AF_INET).str() == "0.0.0.0:80");
  REQUIRE(AddressLike("", 80).resolve(AF_INET6).str() == "[::]:80");
  REQUIRE(AddressLike("", 80).resolve(AF_UNSPEC).str() == "0.0.0.0:80");
}

TEST_CASE("<broadcast> is the broadcast address of IPv4", "[addresslike][resolve]") {
  const AddressLike broadcast("<broadcast>", 80);
  REQUIRE(broadcast.resolve(AF_INET).str() == "255.255.255.255:80");
  REQUIRE(broadcast.resolve(AF_UNSPEC).str() == "255.255.255.255:80");
  REQUIRE_THROWS_AS(broadcast.resolve(AF_INET6), std::invalid_argument);
}

TEST_CASE("a path is resolved without a look at the file", "[addresslike][resolve]") {
  REQUIRE(AddressLike("/no/such/file").resolve(AF_UNIX) == Address("/no/such/file"));
  REQUIRE(AddressLike("/no/such/file").resolve(AF_UNSPEC) == Address("/no/such/file"));
  REQUIRE(AddressLike("").resolve(AF_UNIX) == Address(""));
}

TEST_CASE("an address of another family is an invalid argument", "[addresslike][resolve]") {
  const Address v4("127.0.0.1", 80), local("/run/x");
  REQUIRE_THROWS_AS(AddressLike("/run/x").resolve(AF_INET), std::invalid_argument);
  REQUIRE_THROWS_AS(AddressLike("127.0.0.1", 80).resolve(AF_UNIX), std::invalid_argument);
  REQUIRE_THROWS_AS(AddressLike("127.0.0.1", 80).resolve(AF_NETLINK), std::invalid_argument);
  REQUIRE_THROWS_AS(AddressLike(v4).resolve(AF_INET6), std::invalid_argument);
  REQUIRE_THROWS_AS(AddressLike(local).resolve(AF_INET), std::invalid_argument);
}

TEST_CASE("a numeric host of the other family does not resolve", "[addresslike][resolve]") {
  REQUIRE_THROWS_AS(AddressLike("::1", 80).resolve(AF_INET), ResolveError);
  REQUIRE_THROWS_AS(AddressLike("127.0.0.1", 80).resolve(AF_INET6), ResolveError);
}

TEST_CASE("a Socket stays usable after an address it refused", "[addresslike][resolve]") {
  test::Socket sk = test::patient(test::Socket(AF_INET));
  REQUIRE_THROWS_AS(sk.bind("/run/x"), std::invalid_argument);
  REQUIRE_THROWS_AS(sk.bind({"::1", 0}), ResolveError);
  REQUIRE_THROWS_AS(sk.bind({"127.0.0.1", 65536}), std::out_of_range);
  sk.bind({"127.0.0.1", 0});
  REQUIRE(sk.getsockname().host() == "127.0.0.1");
}
