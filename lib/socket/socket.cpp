#include "thinsock/socket.hpp"

#include <fcntl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <ostream>

#include "raw_address.hpp"

namespace thinsock {

namespace {

constexpr Timeout kNow = std::chrono::nanoseconds(0);

constinit std::atomic<Timeout> default_timeout{Timeout()};

// A new socket's: SOCK_NONBLOCK is a timeout of zero.
Timeout first_timeout(int type) noexcept {
  return type & SOCK_NONBLOCK ? kNow : getdefaulttimeout();
}

int with_mode(int type, Timeout timeout) noexcept {
  return timeout == kNow ? type | SOCK_NONBLOCK : type;
}

int duplicate(int fd) {
  return static_cast<int>(check(once([&] { return ::fcntl(fd, F_DUPFD_CLOEXEC, 0); }), "dup"));
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
      type_(static_cast<unsigned char>(type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))),
      mode_(timeout == kNow ? DescriptorMode::nonblocking : DescriptorMode::blocking),
      // Elsewhere it is not certain that the kernel heeds it.
      receive_timer_(is_internet(family) || family == AF_UNIX ? ReceiveTimer::off
                                                              : ReceiveTimer::forbidden) {}

Socket::Socket(int family, int type, int proto) : Socket(-1, family, type, first_timeout(type)) {
  fd_ = static_cast<int>(check(open_socket(family, with_mode(type, timeout_), proto), "socket"));
}

Socket::Socket(std::nullopt_t) noexcept : Socket(-1, AF_UNSPEC, 0, Timeout()) {}

Socket Socket::adopt(int fd) {
  Address name;
  int type = 0;
  socklen_t size = sizeof type;
  check(name_into(name, ::getsockname, fd), "adopt");
  check(once([&] { return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size); }), "adopt");
  const Result mode = check(once([&] { return ::fcntl(fd, F_GETFL); }), "adopt");
  const Timeout timeout = mode & O_NONBLOCK ? kNow : getdefaulttimeout();
  if (timeout == kNow) check(set_nonblocking(fd, true), "adopt");

  Socket adopted(fd, name.family(), type, timeout);
  adopted.mode_ = DescriptorMode::shared;
  adopted.receive_timer_ = ReceiveTimer::forbidden;
  return adopted;
}

Socket Socket::fromfd(int fd) {
  Socket owner(duplicate(fd), AF_UNSPEC, 0, Timeout());
  Socket adopted = adopt(owner.fd_);
  owner.fd_ = -1;
  return adopted;
}

Socket::Socket(Socket&& other) noexcept
    : timeout_(other.timeout_),
      fd_(std::exchange(other.fd_, -1)),
      family_(other.family_),
      type_(other.type_),
      mode_(other.mode_),
      receive_timer_(other.receive_timer_) {}

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
  const Address& name = address.meant_on(family_, type_, 0, 0, storage);
  check(once([&] { return ::bind(fd_, name.data(), name.size()); }), "bind", name);
}

void Socket::listen(int backlog) {
  check(once([&] { return ::listen(fd_, std::max(backlog, 0)); }), "listen");
}

Accepted Socket::accept() {
  std::error_code error;
  Accepted accepted = accept(error);
  if (error) fail(-error.value(), "accept");
  return accepted;
}

Accepted Socket::accept(std::error_code& error) noexcept {
  Accepted accepted{Socket(-1, family_, type_, getdefaulttimeout()), Address()};
  Deadline deadline(timeout_);
  // There is no MSG_DONTWAIT for accept.
  const bool waits = deadline.leaves_waiting();
  if (!waits || mode_ == DescriptorMode::nonblocking) {
    set_mode(waits ? DescriptorMode::blocking : DescriptorMode::nonblocking);
  }
  const bool nonblocking = accepted.socket.mode_ == DescriptorMode::nonblocking;
  const Result fd = when_ready(fd_, POLLIN, deadline,
                               [&] { return accept_once(fd_, accepted.address, nonblocking); });
  if (timeout_ == std::nullopt && !waits) set_mode(DescriptorMode::blocking);
  error = code_of(fd);
  if (fd >= 0) accepted.socket.fd_ = static_cast<int>(fd);
  return accepted;
}

long Socket::connect_to(const Address& peer) noexcept {
  Deadline deadline(timeout_);
  set_mode(deadline.at_once() ? DescriptorMode::nonblocking : DescriptorMode::blocking);
  return thinsock::connect(fd_, peer, deadline);
}

void Socket::connect(AddressLike address) {
  Address storage;
  const Address& peer = address.meant_on(family_, type_, 0, 0, storage);
  check(connect_to(peer), "connect", peer);
}

std::error_code Socket::connect_ex(AddressLike address) {
  Address storage;
  return code_of(connect_to(address.meant_on(family_, type_, 0, 0, storage)));
}

long Socket::set_mode(DescriptorMode mode) noexcept {
  if (mode_ == mode && fd_ != -1) return 0;
  const Result result = set_nonblocking(fd_, mode == DescriptorMode::nonblocking);
  if (result == 0 && mode_ != DescriptorMode::shared) mode_ = mode;
  return result;
}

void Socket::settimeout(Timeout timeout) {
  const bool nonblocking = timeout == kNow;
  check(set_mode(nonblocking ? DescriptorMode::nonblocking : DescriptorMode::blocking),
        "settimeout");
  if (timeout == std::nullopt || nonblocking) {
    stop_receive_timer(fd_, receive_timer_);
  } else if (timeout != timeout_ && receive_timer_ == ReceiveTimer::set) {
    receive_timer_ = ReceiveTimer::outdated;
  }
  timeout_ = timeout;
}

void Socket::setblocking(bool blocking) { settimeout(blocking ? Timeout() : kNow); }

bool Socket::getblocking() const noexcept { return timeout_ != kNow; }

Address Socket::getpeername() const {
  Address address;
  check(name_into(address, ::getpeername, fd_), "getpeername");
  return address;
}

Address Socket::getsockname() const {
  Address address;
  check(name_into(address, ::getsockname, fd_), "getsockname");
  return address;
}

int Socket::proto() const { return getsockopt(SOL_SOCKET, SO_PROTOCOL); }

void Socket::setsockopt(int level, int name, int value) {
  setsockopt(level, name, ConstBuffer(&value, sizeof value));
}

void Socket::setsockopt(int level, int name, ConstBuffer value) {
  const auto size = static_cast<socklen_t>(value.size());
  check(once([&] { return ::setsockopt(fd_, level, name, value.data(), size); }), "setsockopt");
}

int Socket::getsockopt(int level, int name) const {
  int value = 0;
  socklen_t size = sizeof value;
  check(once([&] { return ::getsockopt(fd_, level, name, &value, &size); }), "getsockopt");
  return value;
}

std::string Socket::getsockopt(int level, int name, std::size_t size) const {
  std::string value(size, '\0');
  auto length = static_cast<socklen_t>(size);
  check(once([&] { return ::getsockopt(fd_, level, name, value.data(), &length); }), "getsockopt");
  value.resize(length);
  return value;
}

bool Socket::get_inheritable() const {
  return !(check(once([&] { return ::fcntl(fd_, F_GETFD); }), "get_inheritable") & FD_CLOEXEC);
}

void Socket::set_inheritable(bool inheritable) {
  const int flags = inheritable ? 0 : FD_CLOEXEC;
  check(once([&] { return ::fcntl(fd_, F_SETFD, flags); }), "set_inheritable");
}

void Socket::shutdown(int how) {
  if (const Result result = once([&] { return ::shutdown(fd_, how); }); result < 0) {
    fail(result, "shutdown");
  }
}

void Socket::close() {
  const int fd = std::exchange(fd_, -1);
  if (fd != -1) check(close_descriptor(fd), "close");
}

int Socket::detach() noexcept { return std::exchange(fd_, -1); }

Socket Socket::dup() const {
  Socket copy(duplicate(fd_), family_, type_, timeout_);
  copy.mode_ = mode_ = DescriptorMode::shared;
  copy.receive_timer_ = ReceiveTimer::forbidden;
  return copy;
}

// With the peer's name, or where there is none what the socket itself is bound to.
std::string Socket::named(const char* operation) const {
  Address name;
  if (name_into(name, ::getpeername, fd_) < 0) name_into(name, ::getsockname, fd_);
  std::string text(operation);
  if (name.port() != 0 || !name.path().empty()) text += ' ' + name.str();
  return text;
}

void Socket::fail(long result, const char* operation, std::size_t transferred) const {
  thinsock::fail(code_of(result), named(operation), transferred);
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
  int fds[2];
  const Timeout timeout = first_timeout(type);
  check(open_pair(family, with_mode(type, timeout), proto, fds), "socketpair");
  return {Socket(fds[0], family, type, timeout), Socket(fds[1], family, type, timeout)};
}

}  // namespace thinsock
