#include "failure.hpp"

#include "../system/platform.hpp"
#include "../system/scope.hpp"
#include "raw_address.hpp"

namespace thinsock {

namespace {

bool is_named_by_itself(const Socket& sk) noexcept {
  if (sk.type() != SOCK_STREAM && sk.type() != SOCK_SEQPACKET) return true;
  int listens = 0;
  socklen_t size = sizeof listens;
  once([&] { return ::getsockopt(sk.fileno(), SOL_SOCKET, SO_ACCEPTCONN, &listens, &size); });
  return listens != 0;
}

}  // namespace

std::string noting_closed(const Socket& sk, std::string text) {
  return sk.fileno() == -1 ? text + " on a closed socket" : text;
}

std::string with_name_of(const Socket& sk, const char* operation) {
  Address name;
  if (name_into(name, ::getpeername, sk.fileno()) < 0) name = former_peer(sk.fileno(), sk.family());
  if (name.size() == 0 && is_named_by_itself(sk)) name_into(name, ::getsockname, sk.fileno());
  std::string text(operation);
  if (name.port() != 0 || !name.path().empty()) text += ' ' + name.str();
  return noting_closed(sk, text);
}

std::string with_address(const char* operation, const AddressLike& asked, const Address& used) {
  std::string text = operation + (' ' + asked.str());
  if (asked.str() != used.str()) text += " (" + used.str() + ')';
  const std::string_view path = used.path();
  if (path.find(':') != path.npos && path.find('/') == path.npos)
    text += " (a Unix path; TCP is {host, port})";
  return text;
}

void fail(std::error_code code, const std::string& what, Timeout timeout, std::size_t transferred,
          const std::exception_ptr& cause) {
  if (code.category() != timeout_category()) fail(code, what, transferred, cause);
  const bool by_scope = timeout == std::nullopt || interrupted() == -ETIMEDOUT;
  const std::string when =
      by_scope ? ", at the end of a CancelScope or request_timeout" : ", after " + timeout.str();
  fail(code, what + when, transferred, cause);
}

void fail(std::error_code code, const char* operation, const Socket& sk, std::size_t transferred) {
  fail(code, with_name_of(sk, operation), sk.gettimeout(), transferred);
}

void fail(std::error_code code, const char* operation, const Socket& sk, const AddressLike& asked,
          const Address& used) {
  fail(code, noting_closed(sk, with_address(operation, asked, used)), sk.gettimeout());
}

}  // namespace thinsock
