#include "thinsock/resolve.hpp"

#include <netdb.h>

#include <cstdlib>
#include <memory>
#include <stdexcept>

#include "syscall.hpp"

namespace thinsock {

namespace {

std::error_code code_of_resolver(int code) noexcept {
  return code == EAI_SYSTEM ? last_error() : std::error_code(code, resolve_category());
}

std::string without_nul(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) {
    throw std::invalid_argument("a host or service name must not contain a NUL");
  }
  return std::string(text);
}

// Read as libc reads it, which would go on to wrap 70000 to 4464.
void check_service(const std::string& service) {
  char* end = nullptr;
  const long port = std::strtol(service.c_str(), &end, 10);
  const bool numeric = end != service.c_str() && *end == '\0';
  if (numeric && (port < 0 || port > 65535)) {
    throw std::out_of_range("port must be 0-65535, not " + service);
  }
}

}  // namespace

std::vector<AddressInfo> getaddrinfo(std::optional<std::string_view> host,
                                     std::optional<std::string_view> service, int family, int type,
                                     int proto, int flags) {
  const std::string node = without_nul(host.value_or(""));
  const std::string port = without_nul(service.value_or(""));
  check_service(port);

  addrinfo hints{};
  hints.ai_family = family;
  hints.ai_socktype = type;
  hints.ai_protocol = proto;
  hints.ai_flags = flags;
  addrinfo* list = nullptr;
  const std::error_code error = code_of_resolver(::getaddrinfo(
      host ? node.c_str() : nullptr, service ? port.c_str() : nullptr, &hints, &list));
  if (error) fail(error, "getaddrinfo " + node + (service ? " port " + port : ""));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(list, ::freeaddrinfo);

  std::vector<AddressInfo> answers;
  for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
    answers.push_back({one->ai_family, one->ai_socktype, one->ai_protocol,
                       one->ai_canonname ? one->ai_canonname : "",
                       Address(one->ai_addr, one->ai_addrlen)});
  }
  return answers;
}

std::vector<AddressInfo> getaddrinfo(std::optional<std::string_view> host, int port, int family,
                                     int type, int proto, int flags) {
  return getaddrinfo(host, std::to_string(port), family, type, proto, flags);
}

NameInfo getnameinfo(AddressLike address, int flags) {
  const Address numeric = address.resolve(AF_UNSPEC, 0, 0, AI_NUMERICHOST);
  char host[NI_MAXHOST], service[NI_MAXSERV];
  const std::error_code error = code_of_resolver(::getnameinfo(
      numeric.data(), numeric.size(), host, sizeof host, service, sizeof service, flags));
  if (error) fail(error, "getnameinfo " + numeric.str());
  return {host, service};
}

}  // namespace thinsock
