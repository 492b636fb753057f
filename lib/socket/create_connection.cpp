#include <poll.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "../system/waiting.hpp"
#include "failure.hpp"
#include "raw_address.hpp"
#include "thinsock/resolve.hpp"
#include "thinsock/socket.hpp"

using std::chrono::nanoseconds;

namespace thinsock {

namespace {

// One call of create_connection: its addresses, the running attempts, and the failed ones.
class Connector {
 public:
  Connector(const AddressLike& address, Timeout timeout, const AddressLike& source)
      : address_(address), source_(source), timeout_(timeout), deadline_(timeout) {
    deadline_.start();
    if (address.family() == AF_UNSPEC && !address.empty()) {
      addresses_ = getaddrinfo(address.host(), address.port(), AF_UNSPEC, SOCK_STREAM);
      for (AddressInfo& each : addresses_) {
        each.address =
            completed(each.address, address.port(), address.flowinfo(), address.scope_id());
      }
    } else {
      const int family = address.family();
      addresses_ = {{family, SOCK_STREAM, 0, "", address.resolve(family)}};
    }
  }

  bool has_several_addresses() const { return addresses_.size() > 1; }
  Socket connect_in_turn();
  Socket connect_in_parallel(Timeout delay);

 private:
  struct Attempt {
    Socket sk;
    AddressInfo target;
  };

  struct Failure {
    Address address;
    std::error_code error;
  };

  Socket socket_for(const AddressInfo& target, Timeout timeout) const;
  Timeout time_share(std::size_t addresses_left);
  void interleave_families();
  void start_attempt(const AddressInfo& target);
  Result wait_for_any(Timeout delay, std::vector<pollfd>& entries);
  Socket with_timeout(Socket sk) const;
  void add_failure(const AddressInfo& target, std::error_code error) {
    failures_.push_back({target.address, error});
  }
  [[noreturn]] void fail_with_all_reasons() const;

  const AddressLike& address_;
  const AddressLike& source_;
  Timeout timeout_;
  Deadline deadline_;
  std::vector<AddressInfo> addresses_;
  std::vector<Attempt> attempts_;
  std::vector<Failure> failures_;
};

Socket Connector::socket_for(const AddressInfo& target, Timeout timeout) const {
  Socket sk(target.family, target.type, target.proto);
  sk.settimeout(timeout);
  if (source_.family() != AF_UNSPEC && source_.family() != target.family) {
    fail(code_of(-EAFNOSUPPORT), "bind " + source_.str());
  }
  if (!source_.empty()) sk.bind(source_);
  return sk;
}

Socket Connector::with_timeout(Socket sk) const {
  sk.settimeout(timeout_);
  return sk;
}

// Throws an Error whose text lists every address with its reason, and in which the Errors of the
// addresses are nested, each in the next.
void Connector::fail_with_all_reasons() const {
  const std::error_code last = failures_.back().error;
  if (addresses_.size() == 1)
    fail(last, with_address("connect", address_, addresses_.front().address), timeout_);
  std::string reasons;
  std::exception_ptr chain;
  for (const auto& [address, error] : failures_) {
    reasons += (reasons.empty() ? "" : "; ") + address.str() + ": " + error.message();
    try {
      fail(error, "connect " + address.str(), 0, chain);
    } catch (const Error&) {
      chain = std::current_exception();
    }
  }
  fail(last, "connect " + address_.str() + " (" + reasons + ')', timeout_, 0, chain);
}

// An equal share of the remaining time for each address that is left, so that an address which does
// not answer leaves time for those after it.
Timeout Connector::time_share(std::size_t addresses_left) {
  if (deadline_.never() || deadline_.at_once()) return timeout_;
  return std::max(deadline_.remaining() / static_cast<long>(addresses_left), nanoseconds(1));
}

Socket Connector::connect_in_turn() {
  for (std::size_t left = addresses_.size(); left > 0; --left) {
    const AddressInfo& target = addresses_[addresses_.size() - left];
    std::error_code error;
    try {
      Socket sk = socket_for(target, time_share(left));
      error = sk.connect_ex(target.address);
      if (!error) return with_timeout(std::move(sk));
    } catch (const Error& failure) {
      if (addresses_.size() == 1) throw;
      error = failure.code();
    }
    const Result stop = interrupted();
    add_failure(target, stop < 0 ? code_of(stop) : error);
    if (stop < 0) break;
  }
  fail_with_all_reasons();
}

// Orders the addresses so that IPv6 and IPv4 alternate, starting with the family that the resolver
// put first.
void Connector::interleave_families() {
  const int first = addresses_.front().family;
  const auto others =
      std::stable_partition(addresses_.begin(), addresses_.end(),
                            [&](const AddressInfo& target) { return target.family == first; });
  std::vector<AddressInfo> interleaved;
  for (auto a = addresses_.begin(), b = others; a != others || b != addresses_.end();) {
    if (a != others) interleaved.push_back(*a++);
    if (b != addresses_.end()) interleaved.push_back(*b++);
  }
  addresses_ = std::move(interleaved);
}

void Connector::start_attempt(const AddressInfo& target) {
  try {
    Socket sk = socket_for(target, nanoseconds(0));
    const std::error_code error = sk.connect_ex(target.address);
    if (error && error != std::errc::operation_in_progress) return add_failure(target, error);
    attempts_.push_back({std::move(sk), target});
  } catch (const Error& error) {
    add_failure(target, error.code());
  }
}

// Waits until an attempt has succeeded or failed, but no longer than the delay after which the next
// attempt starts.
Result Connector::wait_for_any(Timeout delay, std::vector<pollfd>& entries) {
  entries.clear();
  for (const Attempt& attempt : attempts_) entries.push_back({attempt.sk.fileno(), POLLOUT, 0});
  entries.push_back({});  // wait_any needs a free entry.
  const Timeout left = deadline_.never() ? Timeout() : Timeout(deadline_.remaining());
  Deadline until(std::min(left, delay));
  return wait_any(entries.data(), attempts_.size(), until);
}

// Happy Eyeballs (RFC 8305, section 5): starts a further attempt after each delay, or as soon as
// one has failed. Each attempt may use the whole timeout.
Socket Connector::connect_in_parallel(Timeout delay) {
  interleave_families();
  std::vector<pollfd> entries;
  for (auto next = addresses_.cbegin(); next != addresses_.cend() || !attempts_.empty();) {
    if (next != addresses_.cend()) start_attempt(*next++);
    if (attempts_.empty()) continue;
    const Result ready = wait_for_any(next != addresses_.cend() ? delay : Timeout(), entries);
    for (std::size_t i = 0; i < attempts_.size() && ready == 0;) {
      const int error = entries[i].revents ? attempts_[i].sk.getsockopt(SOL_SOCKET, SO_ERROR) : 0;
      if (entries[i].revents && error == 0) return with_timeout(std::move(attempts_[i].sk));
      if (error == 0) {
        ++i;
        continue;
      }
      add_failure(attempts_[i].target, code_of(failure_of(error)));
      attempts_.erase(attempts_.begin() + static_cast<std::ptrdiff_t>(i));
      entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(i));
    }
    const Result stop = deadline_.over() ? -ETIMEDOUT : interrupted();
    if (stop == 0) continue;
    for (const Attempt& attempt : attempts_) add_failure(attempt.target, code_of(stop));
    break;
  }
  fail_with_all_reasons();
}

}  // namespace

Socket create_connection(AddressLike address, Timeout timeout, AddressLike source,
                         Timeout happy_eyeballs_delay) {
  if (const Result stop = interrupted(); stop < 0)
    fail(code_of(stop), "connect " + address.str(), timeout);
  Connector connector(address, timeout, source);
  const bool in_parallel = happy_eyeballs_delay != std::nullopt && timeout != nanoseconds(0) &&
                           connector.has_several_addresses();
  return in_parallel ? connector.connect_in_parallel(happy_eyeballs_delay)
                     : connector.connect_in_turn();
}

}  // namespace thinsock
