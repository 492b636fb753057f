#include "thinsock/listen_fds.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <cstdlib>

#include "../system/result.hpp"

namespace thinsock {

namespace {

constexpr int kFirstFd = 3;  // systemd's SD_LISTEN_FDS_START.

// Returns the value of an environment variable and removes the variable.
std::string take_variable(const char* variable) {
  const char* value = std::getenv(variable);
  std::string copy(value ? value : "");
  ::unsetenv(variable);
  return copy;
}

// The number in text; -1 if it is negative, too large or no number.
int parse_number(const std::string& text) {
  int value = -1;
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  return result.ec == std::errc() && result.ptr == end && value >= 0 ? value : -1;
}

// Removes the first of the names, which are separated by colons, and returns it.
std::string take_name(std::string& names) {
  const std::size_t colon = std::min(names.find(':'), names.size());
  std::string name = names.substr(0, colon);
  names.erase(0, colon + 1);
  return name.empty() ? "unknown" : name;
}

Socket adopt_listener(int fd) {
  Socket sk = Socket::adopt(fd);
  sk.set_inheritable(false);
  if (sk.type() == SOCK_STREAM && !sk.getsockopt(SOL_SOCKET, SO_ACCEPTCONN)) {
    fail(code_of(-EINVAL), "listen_fds: descriptor " + std::to_string(fd) + " does not listen");
  }
  return sk;
}

}  // namespace

std::vector<ListenFd> listen_fds() {
  const std::string pid = take_variable("LISTEN_PID"), fds = take_variable("LISTEN_FDS");
  std::string names = take_variable("LISTEN_FDNAMES");
  std::vector<ListenFd> listeners;
  if (fds.empty() || parse_number(pid) != ::getpid()) return listeners;

  const int count = parse_number(fds);
  if (count < 0 || count > INT_MAX - kFirstFd) fail(code_of(-EINVAL), "LISTEN_FDS=" + fds);
  for (int fd = kFirstFd; fd < kFirstFd + count; ++fd) {
    std::string name = take_name(names);
    listeners.push_back({std::move(name), adopt_listener(fd)});
  }
  return listeners;
}

}  // namespace thinsock
