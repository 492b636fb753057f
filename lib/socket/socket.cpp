#include "thinsock/socket.hpp"

#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <ostream>

#include "../system/platform.hpp"
#include "failure.hpp"
#include "raw_address.hpp"
#include "transfer.hpp"

namespace thinsock {

namespace {

constexpr Timeout kNow = std::chrono::nanoseconds(0);

constinit std::atomic<Timeout> default_timeout{Timeout()};

// The timeout of a new socket: SOCK_NONBLOCK means zero.
Timeout first_timeout(int type) noexcept {
  return type & SOCK_NONBLOCK ? kNow : getdefaulttimeout();
}

int with_mode(int type, Timeout timeout) noexcept {
  return timeout == kNow ? type | SOCK_NONBLOCK : type;
}

Result duplicate(int fd) noexcept {
  return once([&] { return ::fcntl(fd, F_DUPFD_CLOEXEC, 0); });
}

// Calls connect(2) and waits until the connection is made. If a signal interrupts connect(2), most
// families go on connecting, so the call must not be repeated.
Result connect_to(const Address& peer, int fd, Deadline& deadline) noexcept {
  const auto call = [&] { return ::connect(fd, peer.data(), peer.size()); };
  // A Unix connect succeeds at once or has to be repeated, and poll cannot tell when the listener's
  // backlog has room again.
  if (peer.family() == AF_UNIX) return answer_of(call, -1, 0, deadline);
  if (deadline.at_once()) return retried(call);
  if (const Result stop = interrupted(); stop < 0) return stop;
  Result result = once(call);
  // An earlier call has given up waiting for this connection: go on waiting for it.
  if (result == -EALREADY && former_peer(fd, peer.family()) == peer) result = -EINPROGRESS;
  if (result != -EINTR && result != -EINPROGRESS) return result;
  if (const Result ready = wait(fd, POLLOUT, deadline); ready < 0) return ready;
  int error = 0;
  socklen_t size = sizeof error;
  const Result asked = once([&] { return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size); });
  // Otherwise Linux would refuse the next connect(2) of this socket with ECONNABORTED.
  const sockaddr nobody{AF_UNSPEC, {}};
  if (error != 0) once([&] { return ::connect(fd, &nobody, sizeof nobody); });
  // A signal has ended the attempt, as AF_VSOCK does: start another.
  Address name;
  if (result == -EINTR && error == 0 && name_into(name, ::getpeername, fd) == -ENOTCONN) {
    return connect_to(peer, fd, deadline);
  }
  return asked < 0 ? asked : failure_of(error);
}

// A connect that must not block needs O_NONBLOCK, because connect(2) has no MSG_DONTWAIT.
Result connect_within(Timeout timeout, const Address& peer, int fd) noexcept {
  Deadline deadline(timeout);
  if (deadline.kernel_waits(fd)) return connect_to(peer, fd, deadline);
  if (const Result set = set_nonblocking(fd, true); set < 0) return set;
  const Result result = connect_to(peer, fd, deadline);
  if (!deadline.at_once()) set_nonblocking(fd, false);
  return result;
}

}  // namespace

Timeout getdefaulttimeout() noexcept { return default_timeout.load(std::memory_order_relaxed); }

void setdefaulttimeout(Timeout timeout) noexcept {
  default_timeout.store(timeout, std::memory_order_relaxed);
}

Socket::Socket(int fd, int family, int type, Timeout timeout) noexcept
    : timeout_(timeout),
      fd_(fd),
      family_(static_cast<unsigned char>(family)),
      type_(static_cast<unsigned char>(type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))) {}

Socket::Socket(int family, int type, int proto) : Socket(-1, family, type, first_timeout(type)) {
  fd_ = open_socket(family, with_mode(type, timeout_), proto).detach();
}

Socket::Socket(std::nullopt_t) noexcept : Socket(-1, AF_UNSPEC, 0, Timeout()) {}

Socket Socket::adopt(int fd) {
  int family = 0, type = 0;
  socklen_t size = sizeof type;
  // Not every family has getsockname(2): AF_ALG and AF_XDP do not.
  check(once([&] { return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &size); }), "adopt");
  check(once([&] { return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size); }), "adopt");
  const Result mode = check(once([&] { return ::fcntl(fd, F_GETFL); }), "adopt");
  const Timeout timeout = mode & O_NONBLOCK ? kNow : getdefaulttimeout();
  if (timeout == kNow) check(set_nonblocking(fd, true), "adopt");
  return Socket(fd, family, type, timeout);
}

Socket Socket::fromfd(int fd) {
  Descriptor copy(static_cast<int>(check(duplicate(fd), "fromfd")));
  Socket adopted = adopt(copy.fileno());
  (void)copy.detach();  // Now `adopted` owns it.
  return adopted;
}

Socket::Socket(Socket&& other) noexcept
    : timeout_(other.timeout_),
      fd_(std::exchange(other.fd_, -1)),
      family_(other.family_),
      type_(other.type_) {}

Socket& Socket::operator=(Socket&& other) noexcept {
  if (this != &other) {
    std::destroy_at(this);
    std::construct_at(this, std::move(other));
  }
  return *this;
}

Socket::~Socket() {
  if (fd_ != -1) close_descriptor(fd_);
}

void Socket::bind(AddressLike address) {
  Address storage;
  const Address& name = address.resolve_into(family_, type_, 0, 0, storage);
  value_of(once([&] { return ::bind(fd_, name.data(), name.size()); }), "bind", *this, address,
           name);
}

void Socket::listen(int backlog) {
  value_of(once([&] { return ::listen(fd_, std::max(backlog, 0)); }), "listen", *this);
}

Accepted Socket::accept() {
  std::error_code error;
  Accepted accepted = accept(error);
  if (error) fail(error, "accept", *this);
  return accepted;
}

Accepted Socket::accept(std::error_code& error) noexcept {
  Accepted accepted{Socket(-1, family_, type_, getdefaulttimeout()), Address()};
  Deadline deadline(timeout_);
  // Set before every call, because another process or Socket may have changed the listener's mode.
  const bool bounded = !deadline.kernel_waits(fd_) && !deadline.at_once();
  Result fd = bounded ? set_nonblocking(fd_, true) : 0;
  if (fd == 0) {
    const bool nonblocking = accepted.socket.timeout_ == kNow;
    const auto call = [&] { return accept_once(fd_, accepted.address, nonblocking); };
    fd = answer_of(call, fd_, POLLIN, deadline);
  }
  if (bounded && timeout_ == std::nullopt) set_nonblocking(fd_, false);
  error = code_of(fd);
  if (fd >= 0) accepted.socket.fd_ = static_cast<int>(fd);
  return accepted;
}

void Socket::connect(AddressLike address) {
  Address storage;
  const Address& peer = address.resolve_into(family_, type_, 0, 0, storage);
  value_of(connect_within(timeout_, peer, fd_), "connect", *this, address, peer);
}

std::error_code Socket::connect_ex(AddressLike address) {
  Address storage;
  const Address& peer = address.resolve_into(family_, type_, 0, 0, storage);
  return code_of(connect_within(timeout_, peer, fd_));
}

void Socket::settimeout(Timeout timeout) {
  value_of(set_nonblocking(fd_, timeout == kNow), "settimeout", *this);
  timeout_ = timeout;
}

void Socket::setblocking(bool blocking) { settimeout(blocking ? Timeout() : kNow); }

bool Socket::getblocking() const noexcept { return timeout_ != kNow; }

Address Socket::getpeername() const {
  Address address;
  value_of(name_into(address, ::getpeername, fd_), "getpeername", *this);
  return address;
}

Address Socket::getsockname() const {
  Address address;
  value_of(name_into(address, ::getsockname, fd_), "getsockname", *this);
  return address;
}

bool Socket::get_inheritable() const {
  return !(value_of(once([&] { return ::fcntl(fd_, F_GETFD); }), "get_inheritable", *this) &
           FD_CLOEXEC);
}

void Socket::set_inheritable(bool inheritable) {
  const int flags = inheritable ? 0 : FD_CLOEXEC;
  value_of(once([&] { return ::fcntl(fd_, F_SETFD, flags); }), "set_inheritable", *this);
}

void Socket::shutdown(int how) {
  value_of(once([&] { return ::shutdown(fd_, how); }), "shutdown", *this);
}

void Socket::close() {
  const int fd = std::exchange(fd_, -1);
  if (fd != -1) check(close_descriptor(fd), "close");
}

int Socket::detach() noexcept { return std::exchange(fd_, -1); }

Socket Socket::dup() const {
  const auto copy = static_cast<int>(value_of(duplicate(fd_), "dup", *this));
  return Socket(copy, family_, type_, timeout_);
}

std::string Socket::str() const {
  std::string text = "<Socket";
  if (fd_ == -1) text += " [closed]";
  text += " fd=" + std::to_string(fd_) + ", family=" + std::to_string(family_) +
          ", type=" + std::to_string(type_);
  if (fd_ != -1) text += ", proto=" + std::to_string(proto());
  const auto add = [&](const char* what, NameCall* call) {
    Address name;
    if (name_into(name, call, fd_) == 0 && !name.str().empty()) text += what + name.str();
  };
  add(", laddr=", ::getsockname);
  add(", raddr=", ::getpeername);
  return text + '>';
}

std::ostream& operator<<(std::ostream& out, const Socket& sk) { return out << sk.str(); }

std::pair<Socket, Socket> socketpair(int family, int type, int proto) {
  const Timeout timeout = first_timeout(type);
  auto [one, other] = open_socketpair(family, with_mode(type, timeout), proto);
  return {Socket(one.detach(), family, type, timeout),
          Socket(other.detach(), family, type, timeout)};
}

}  // namespace thinsock
