#include <poll.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "../system/syscall.hpp"
#include "thinsock/resolve.hpp"
#include "thinsock/socket.hpp"

using std::chrono::nanoseconds;

namespace thinsock {

namespace {

// One call of create_connection: the addresses it may try, and what came of those it did.
class Connector {
 public:
  Connector(const AddressLike& address, Timeout timeout, const AddressLike& source)
      : address_(address), source_(source), timeout_(timeout), deadline_(timeout) {
    deadline_.start();
    if (address.family() == AF_UNSPEC && !address.empty()) {
      addresses_ = getaddrinfo(address.host(), address.port(), AF_UNSPEC, SOCK_STREAM);
    } else {
      const int family = address.family();
      addresses_ = {{family, SOCK_STREAM, 0, "", address.resolve(family)}};
    }
  }

  bool has_choice() const { return addresses_.size() > 1; }
  Socket one_by_one();
  Socket side_by_side(Timeout delay);

 private:
  struct Attempt {
    Socket sk;
    AddressInfo to;
  };

  Socket socket_for(const AddressInfo& to, Timeout timeout) const;
  Timeout share(std::size_t tries);
  void interleave_families();
  void start(const AddressInfo& to);
  Result wait_for_any(Timeout turn, std::vector<pollfd>& entries);
  Socket finished(Socket sk) const;
  void note(const AddressInfo& to, std::error_code reason);
  [[noreturn]] void give_up() const;

  const AddressLike& address_;
  const AddressLike& source_;
  Timeout timeout_;
  Deadline deadline_;
  std::vector<AddressInfo> addresses_;
  std::vector<Attempt> running_;
  std::error_code last_;
  std::string reasons_;
};

Socket Connector::socket_for(const AddressInfo& to, Timeout timeout) const {
  Socket sk(to.family, to.type, to.proto);
  sk.settimeout(timeout);
  if (source_.family() != AF_UNSPEC && source_.family() != to.family) {
    fail(code_of(-EAFNOSUPPORT), "bind " + source_.str());
  }
  if (!source_.empty()) sk.bind(source_);
  return sk;
}

Socket Connector::finished(Socket sk) const {
  sk.settimeout(timeout_);
  return sk;
}

void Connector::note(const AddressInfo& to, std::error_code reason) {
  last_ = reason;
  if (!reasons_.empty()) reasons_ += "; ";
  reasons_ += to.address.str() + ": " + reason.message();
}

void Connector::give_up() const {
  const bool one = addresses_.size() == 1;
  fail(last_, "connect " + (one ? addresses_.front().address.str()
                                : address_.str() + " (" + reasons_ + ')'));
}

// An even part of what is left, so that no dead address uses up the budget of those behind it.
Timeout Connector::share(std::size_t tries) {
  if (deadline_.never() || deadline_.at_once()) return timeout_;
  return std::max(deadline_.remaining() / static_cast<long>(tries), nanoseconds(1));
}

Socket Connector::one_by_one() {
  for (std::size_t left = addresses_.size(); left > 0; --left) {
    const AddressInfo& to = addresses_[addresses_.size() - left];
    try {
      Socket sk = socket_for(to, share(left));
      sk.connect(to.address);
      return finished(std::move(sk));
    } catch (const Error& error) {
      if (addresses_.size() == 1) throw;
      const Result stop = interrupted();
      note(to, stop < 0 ? code_of(stop) : error.code());
      if (stop < 0) break;
    }
  }
  give_up();
}

// By turns, from the family that the resolver put first.
void Connector::interleave_families() {
  const int first = addresses_.front().family;
  const auto others =
      std::stable_partition(addresses_.begin(), addresses_.end(),
                            [&](const AddressInfo& to) { return to.family == first; });
  std::vector<AddressInfo> mixed;
  for (auto a = addresses_.begin(), b = others; a != others || b != addresses_.end();) {
    if (a != others) mixed.push_back(*a++);
    if (b != addresses_.end()) mixed.push_back(*b++);
  }
  addresses_ = std::move(mixed);
}

void Connector::start(const AddressInfo& to) {
  try {
    Socket sk = socket_for(to, nanoseconds(0));
    const std::error_code result = sk.connect_ex(to.address);
    if (result && result != std::errc::operation_in_progress) return note(to, result);
    running_.push_back({std::move(sk), to});
  } catch (const Error& error) {
    note(to, error.code());
  }
}

// Waits until one of the running attempts is decided, or the next one's turn has come.
Result Connector::wait_for_any(Timeout turn, std::vector<pollfd>& entries) {
  entries.clear();
  for (const Attempt& attempt : running_) entries.push_back({attempt.sk.fileno(), POLLOUT, 0});
  entries.push_back({});
  const Timeout left = deadline_.never() ? Timeout() : Timeout(deadline_.remaining());
  Deadline until(std::min(left, turn));
  return wait_any(entries.data(), running_.size(), until);
}

// RFC 8305, section 5: staggered attempts, each free to use the whole budget.
Socket Connector::side_by_side(Timeout delay) {
  interleave_families();
  std::vector<pollfd> entries;
  for (auto next = addresses_.cbegin(); next != addresses_.cend() || !running_.empty();) {
    if (next != addresses_.cend()) start(*next++);
    if (running_.empty()) continue;
    const Result ready = wait_for_any(next != addresses_.cend() ? delay : Timeout(), entries);
    for (std::size_t i = 0; i < running_.size() && ready == 0;) {
      const int error = entries[i].revents ? running_[i].sk.getsockopt(SOL_SOCKET, SO_ERROR) : 0;
      if (entries[i].revents && error == 0) return finished(std::move(running_[i].sk));
      if (error == 0) {
        ++i;
        continue;
      }
      note(running_[i].to, code_of(-error));
      running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
      entries.erase(entries.begin() + static_cast<std::ptrdiff_t>(i));
    }
    const Result stop = deadline_.over() ? -ETIMEDOUT : interrupted();
    if (stop == 0) continue;
    for (const Attempt& attempt : running_) note(attempt.to, code_of(stop));
    break;
  }
  give_up();
}

}  // namespace

Socket create_connection(AddressLike address, Timeout timeout, AddressLike source,
                         Timeout happy_eyeballs_delay) {
  if (const Result stop = interrupted(); stop < 0) fail(code_of(stop), "connect " + address.str());
  Connector connector(address, timeout, source);
  const bool races = happy_eyeballs_delay != std::nullopt && timeout != nanoseconds(0);
  return races && connector.has_choice() ? connector.side_by_side(happy_eyeballs_delay)
                                         : connector.one_by_one();
}

}  // namespace thinsock
