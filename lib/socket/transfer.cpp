#include "transfer.hpp"

#include <algorithm>
#include <cstdio>

#include "../system/platform.hpp"
#include "raw_address.hpp"

namespace thinsock {

// The slow way: there is something to wait for, a signal has come, or the transfer has failed.
Result Transfer::resume(Transfer transfer, Result tried, int fd, Deadline& deadline) noexcept {
  Deadline no_wait(std::chrono::nanoseconds(0));
  Deadline& end = transfer.flags_ & (MSG_DONTWAIT | MSG_ERRQUEUE) ? no_wait : deadline;
  if (const Result stop = interrupted(); stop < 0 && !end.at_once()) return stop;
  const short events = transfer.sends_ ? POLLOUT : transfer.flags_ & MSG_OOB ? POLLPRI : POLLIN;
  const auto call = [&] { return transfer.make(fd, deadline.kernel_waits(fd)); };
  return resumed(tried, call, fd, events, end, 0);
}

Result send_rest(Result tried, int fd, ConstBuffer data, int flags, std::size_t& sent,
                 Deadline& deadline) noexcept {
  sent = 0;
  for (;; tried = kNotMade) {
    const ConstBuffer rest(data.data() + sent, data.size() - sent);
    if (tried < 0) tried = Transfer::resume(Transfer::sending(rest, flags), tried, fd, deadline);
    if (tried < 0) return tried;
    sent += static_cast<std::size_t>(tried);
    if (sent == data.size()) return 0;
    if (deadline.over()) return -ETIMEDOUT;
  }
}

// A datagram may be as long as the caller says: what does not fit is lost. Pages that are never
// touched cost nothing.
std::size_t room_for(std::size_t bufsize, int flags, int family, int type) noexcept {
  const bool whole = type == SOCK_STREAM ? flags & MSG_WAITALL : !is_internet(family);
  return whole ? bufsize : std::min(bufsize, kChunk);
}

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
  const std::optional<std::chrono::duration<double>> seconds = timeout;
  char reason[80] = ": the time of its CancelScope or request_timeout is up";
  if (seconds && interrupted() != -ETIMEDOUT)
    std::snprintf(reason, sizeof reason, ": timed out after %.6g s", seconds->count());
  fail(code, what + reason + kEndOfText, transferred, cause);
}

void fail(std::error_code code, const char* operation, const Socket& sk, std::size_t transferred) {
  fail(code, with_name_of(sk, operation), sk.gettimeout(), transferred);
}

void fail(std::error_code code, const char* operation, const Socket& sk, const AddressLike& asked,
          const Address& used) {
  fail(code, noting_closed(sk, with_address(operation, asked, used)), sk.gettimeout());
}

}  // namespace thinsock
