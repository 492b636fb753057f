#include "thinsock/listen_fds.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <cstdlib>

#include "../system/syscall.hpp"

namespace thinsock {

namespace {

constexpr int kFirst = 3;  // SD_LISTEN_FDS_START

// The value of a variable, and the variable is gone.
std::string taken(const char* variable) {
  const char* value = std::getenv(variable);
  std::string copy(value ? value : "");
  ::unsetenv(variable);
  return copy;
}

// Not negative; -1 for anything else.
int number(const std::string& text) {
  int value = -1;
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  return result.ec == std::errc() && result.ptr == end && value >= 0 ? value : -1;
}

// The next of the names, which are separated by colons.
std::string next_name(std::string& names) {
  const std::size_t colon = std::min(names.find(':'), names.size());
  std::string name = names.substr(0, colon);
  names.erase(0, colon + 1);
  return name.empty() ? "unknown" : name;
}

Socket checked(int fd) {
  Socket sk = Socket::adopt(fd);
  sk.set_inheritable(false);
  if (sk.type() == SOCK_STREAM && !sk.getsockopt(SOL_SOCKET, SO_ACCEPTCONN)) {
    fail(code_of(-EINVAL), "listen_fds: descriptor " + std::to_string(fd) + " does not listen");
  }
  return sk;
}

}  // namespace

std::vector<ListenFd> listen_fds() {
  const std::string pid = taken("LISTEN_PID"), passed = taken("LISTEN_FDS");
  std::string names = taken("LISTEN_FDNAMES");
  std::vector<ListenFd> listeners;
  if (passed.empty() || number(pid) != ::getpid()) return listeners;

  const int count = number(passed);
  if (count < 0 || count > INT_MAX - kFirst) fail(code_of(-EINVAL), "LISTEN_FDS=" + passed);
  for (int fd = kFirst; fd < kFirst + count; ++fd) {
    std::string name = next_name(names);
    listeners.push_back({std::move(name), checked(fd)});
  }
  return listeners;
}

}  // namespace thinsock
