#include "thinsock/resolve.hpp"

#include <arpa/inet.h>
#include <net/if.h>
#include <netdb.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <memory>
#include <stdexcept>

#include "../system/result.hpp"

namespace thinsock {

namespace {

class HostCategory : public std::error_category {
 public:
  const char* name() const noexcept override { return "host"; }
  std::string message(int code) const override { return ::hstrerror(code); }
};

// Has to be called before anything else can change errno, which a faulty module of the resolver may
// have left at 0: that must not be taken for success.
std::error_code resolver_error(int code) noexcept {
  if (code == EAI_SYSTEM && last_error()) return last_error();
  return {code == EAI_SYSTEM ? EAI_FAIL : code, resolve_category()};
}

// A copy for libc, which would take the text only up to a NUL.
std::string require_no_nul(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) {
    throw std::invalid_argument("a host or service name must not contain a NUL");
  }
  return std::string(text);
}

// For messages, in which an empty text would not be seen.
std::string shown(std::string_view text) { return text.empty() ? "\"\"" : std::string(text); }

// Parses the port as libc does, because libc would wrap 70000 to 4464.
void check_service(const std::string& service) {
  char* end = nullptr;
  const long port = std::strtol(service.c_str(), &end, 10);
  const bool numeric = end != service.c_str() && *end == '\0';
  if (numeric && (port < 0 || port > 65535)) {
    throw std::out_of_range("port must be 0-65535, not " + service);
  }
}

// Calls one of the _r functions of <netdb.h> with a growing buffer until its answer fits. Returns
// the call's errno value; entry stays null if nothing was found.
template <class Entry, class Call>
int call_with_buffer(std::vector<char>& buffer, Entry*& entry, const Call& call) {
  for (buffer.resize(1024);; buffer.resize(2 * buffer.size())) {
    const int error = call(buffer.data(), buffer.size(), &entry);
    if (error != ERANGE) return error;
  }
}

std::vector<std::string> strings_of(char** list) {
  std::vector<std::string> strings;
  while (*list != nullptr) strings.push_back(*list++);
  return strings;
}

// A database that cannot be read is an Error with its errno; an entry that does not exist is a
// ResolveError with not_found, an EAI_* code.
void check_found(const void* entry, int error, int not_found, const std::string& what) {
  if (entry != nullptr) return;
  if (error != 0 && error != ENOENT) fail(code_of(failure_of(error)), what);
  fail({not_found, resolve_category()}, what);
}

// Python's gethostbyname_ex calls getaddrinfo first, which reports an unknown host this way.
std::error_code as_of_getaddrinfo(int host_error) noexcept {
  switch (host_error) {
    case HOST_NOT_FOUND:
      return {EAI_NONAME, resolve_category()};
    case TRY_AGAIN:
      return {EAI_AGAIN, resolve_category()};
    case NO_DATA:
      return {EAI_NODATA, resolve_category()};
    default:  // Of an empty host.
      return {host_error, host_category()};
  }
}

std::error_code as_of_gethostbyaddr(int host_error) noexcept {
  return {host_error, host_category()};
}

template <class Call>
HostEntry host_entry(const std::string& what, std::error_code (*reported)(int), const Call& call) {
  hostent storage;
  hostent* entry = nullptr;
  int host_error = 0;
  std::vector<char> buffer;
  const int error =
      call_with_buffer(buffer, entry, [&](char* data, std::size_t size, hostent** found) {
        return call(&storage, data, size, found, &host_error);
      });
  if (entry == nullptr && host_error == NETDB_INTERNAL) fail(code_of(failure_of(error)), what);
  if (entry == nullptr) fail(reported(host_error), what);
  HostEntry host{entry->h_name, strings_of(entry->h_aliases), {}};
  const auto length = static_cast<std::size_t>(entry->h_length);
  for (char** address = entry->h_addr_list; *address != nullptr; ++address) {
    host.addresses.push_back(inet_ntop(entry->h_addrtype, {*address, length}));
  }
  return host;
}

const char* null_if_empty(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }

std::size_t packed_size(int family) {
  if (family == AF_INET) return sizeof(in_addr);
  if (family == AF_INET6) return sizeof(in6_addr);
  fail(code_of(-EAFNOSUPPORT), "convert an address of family " + std::to_string(family));
}

}  // namespace

std::vector<AddressInfo> getaddrinfo(std::optional<std::string_view> host,
                                     std::optional<std::string_view> service, int family, int type,
                                     int proto, int flags) {
  const std::string node = require_no_nul(host.value_or(""));
  const std::string port = require_no_nul(service.value_or(""));
  check_service(port);

  addrinfo hints{};
  hints.ai_family = family;
  hints.ai_socktype = type;
  hints.ai_protocol = proto;
  hints.ai_flags = flags;
  addrinfo* list = nullptr;
  const std::error_code error = resolver_error(::getaddrinfo(
      host ? node.c_str() : nullptr, service ? port.c_str() : nullptr, &hints, &list));
  if (error) {
    const bool needs_number = flags & AI_NUMERICHOST && error.value() == EAI_NONAME;
    fail(error, "getaddrinfo" + (host ? ' ' + shown(node) : "") +
                    (service ? " port " + shown(port) : "") +
                    (needs_number ? " (a numeric host is wanted)" : ""));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, ::freeaddrinfo);

  std::vector<AddressInfo> answers;
  for (const addrinfo* answer = list; answer != nullptr; answer = answer->ai_next) {
    answers.push_back({answer->ai_family, answer->ai_socktype, answer->ai_protocol,
                       answer->ai_canonname ? answer->ai_canonname : "",
                       Address(answer->ai_addr, answer->ai_addrlen)});
  }
  return answers;
}

std::vector<AddressInfo> getaddrinfo(std::optional<std::string_view> host, int port, int family,
                                     int type, int proto, int flags) {
  return getaddrinfo(host, std::to_string(port), family, type, proto, flags);
}

NameInfo getnameinfo(AddressLike address, int flags) {
  // What stands for an address in all other calls is not numeric, so getaddrinfo refuses it.
  const bool is_host = address.family() == AF_UNSPEC && !address.str().empty();
  if (is_host && (address.host().empty() || address.host() == "<broadcast>"))
    getaddrinfo(address.host(), address.port(), AF_UNSPEC, SOCK_DGRAM, 0, AI_NUMERICHOST);
  const Address numeric = address.resolve(AF_UNSPEC, 0, 0, AI_NUMERICHOST);
  char host[NI_MAXHOST], service[NI_MAXSERV];
  const std::error_code error = resolver_error(::getnameinfo(
      numeric.data(), numeric.size(), host, sizeof host, service, sizeof service, flags));
  if (error) fail(error, "getnameinfo " + numeric.str());
  return {host, service};
}

const std::error_category& host_category() noexcept {
  static const HostCategory category;
  return category;
}

std::string gethostbyname(std::string_view host) {
  return AddressLike(host, 0).resolve(AF_INET).host();
}

HostEntry gethostbyname_ex(std::string_view host) {
  const std::string name = require_no_nul(host);
  return host_entry("gethostbyname_ex " + shown(name), as_of_getaddrinfo,
                    [&](auto... out) { return ::gethostbyname2_r(name.c_str(), AF_INET, out...); });
}

HostEntry gethostbyaddr(std::string_view host) {
  const Address address = AddressLike(host, 0).resolve(AF_UNSPEC);
  const std::string packed = inet_pton(address.family(), address.host());
  return host_entry("gethostbyaddr " + address.host(), as_of_gethostbyaddr, [&](auto... out) {
    return ::gethostbyaddr_r(packed.data(), static_cast<socklen_t>(packed.size()), address.family(),
                             out...);
  });
}

std::string gethostname() {
  char name[HOST_NAME_MAX + 1] = "";
  check(once([&] { return ::gethostname(name, sizeof name); }), "gethostname");
  return name;
}

void sethostname(std::string_view name) {
  const std::string text = require_no_nul(name);
  check(once([&] { return ::sethostname(text.data(), text.size()); }), "sethostname");
}

std::string getfqdn(std::string_view name) {
  constexpr std::string_view kBlanks = " \t\n\r\f\v";
  const std::size_t first = std::min(name.find_first_not_of(kBlanks), name.size());
  std::string query(name.substr(first, name.find_last_not_of(kBlanks) + 1 - first));
  if (query.empty() || query == "0.0.0.0" || query == "::") query = gethostname();
  try {
    const HostEntry host = gethostbyaddr(query);
    if (host.name.find('.') != std::string::npos) return host.name;
    for (const std::string& alias : host.aliases) {
      if (alias.find('.') != std::string::npos) return alias;
    }
    return host.name;
  } catch (const Error&) {
    return query;
  }
}

int getservbyname(std::string_view service, std::string_view proto) {
  const std::string name = require_no_nul(service), protocol = require_no_nul(proto);
  servent storage;
  servent* entry = nullptr;
  std::vector<char> buffer;
  const int error = call_with_buffer(buffer, entry, [&](auto... out) {
    return ::getservbyname_r(name.c_str(), null_if_empty(protocol), &storage, out...);
  });
  check_found(entry, error, EAI_SERVICE, "getservbyname " + shown(name));
  return ntohs(static_cast<std::uint16_t>(entry->s_port));
}

std::string getservbyport(int port, std::string_view proto) {
  const AddressLike port_check("", port);  // Throws std::out_of_range if the port is invalid.
  const std::string protocol = require_no_nul(proto);
  servent storage;
  servent* entry = nullptr;
  std::vector<char> buffer;
  const int error = call_with_buffer(buffer, entry, [&](auto... out) {
    const int network_order = htons(static_cast<std::uint16_t>(port));
    return ::getservbyport_r(network_order, null_if_empty(protocol), &storage, out...);
  });
  check_found(entry, error, EAI_SERVICE, "getservbyport " + std::to_string(port));
  return entry->s_name;
}

int getprotobyname(std::string_view name) {
  const std::string protocol = require_no_nul(name);
  protoent storage;
  protoent* entry = nullptr;
  std::vector<char> buffer;
  const int error = call_with_buffer(buffer, entry, [&](auto... out) {
    return ::getprotobyname_r(protocol.c_str(), &storage, out...);
  });
  check_found(entry, error, EAI_NONAME, "getprotobyname " + shown(protocol));
  return entry->p_proto;
}

std::vector<Interface> if_nameindex() {
  struct Free {
    void operator()(struct ::if_nameindex* list) const { ::if_freenameindex(list); }
  };
  const std::unique_ptr<struct ::if_nameindex[], Free> list(::if_nameindex());
  if (!list) fail(last_error(), "if_nameindex");
  std::vector<Interface> interfaces;
  for (const auto* entry = list.get(); entry->if_index != 0; ++entry) {
    interfaces.push_back({entry->if_index, entry->if_name});
  }
  return interfaces;
}

unsigned if_nametoindex(std::string_view name) {
  const std::string text = require_no_nul(name);
  const unsigned index = ::if_nametoindex(text.c_str());
  const std::error_code error = last_error();
  if (index == 0) fail(error, "if_nametoindex " + shown(text));
  return index;
}

std::string if_indextoname(unsigned index) {
  char name[IF_NAMESIZE];
  if (!::if_indextoname(index, name)) fail(last_error(), "if_indextoname");
  return name;
}

std::string inet_aton(std::string_view text) {
  in_addr address;
  if (!::inet_aton(require_no_nul(text).c_str(), &address)) {
    fail(code_of(-EINVAL), "inet_aton " + shown(text));
  }
  return {reinterpret_cast<const char*>(&address), sizeof address};
}

std::string inet_ntoa(std::string_view packed) { return inet_ntop(AF_INET, packed); }

std::string inet_pton(int family, std::string_view text) {
  std::string packed(packed_size(family), '\0');
  if (::inet_pton(family, require_no_nul(text).c_str(), packed.data()) != 1) {
    fail(code_of(-EINVAL), "inet_pton " + shown(text));
  }
  return packed;
}

std::string inet_ntop(int family, std::string_view packed) {
  if (packed.size() != packed_size(family)) {
    throw std::invalid_argument("a packed address of this family must have " +
                                std::to_string(packed_size(family)) + " bytes, not " +
                                std::to_string(packed.size()));
  }
  char text[INET6_ADDRSTRLEN];
  ::inet_ntop(family, packed.data(), text, sizeof text);
  return text;
}

}  // namespace thinsock
