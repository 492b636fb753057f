// Gives the library's parsers random bytes (libFuzzer): addresses, lines, ancillary data, and the
// variables of socket activation. The first byte chooses the parser.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <thinsock/thinsock.hpp>

using namespace std::chrono_literals;
using namespace thinsock;

namespace {

std::string_view control;  // What recvmsg pretends to have received, if it is not empty.
bool keeps_open = false;   // Whether close does nothing: random descriptors may be in use.

void expect(bool holds) {
  if (!holds) std::abort();
}

unsigned char take(std::string_view& input) {
  if (input.empty()) return 0;
  const char first = input.front();
  input.remove_prefix(1);
  return static_cast<unsigned char>(first);
}

void use(const Address& address) {
  expect(address.str().size() < 300 && address.host().size() < 100);
  expect(address.path().size() < Address::capacity());
  const Address copy(address.data(), address.size());
  expect(copy == address && (copy <=> address) == 0);
  expect(std::hash<Address>()(copy) == std::hash<Address>()(address));
}

void parse_host(std::string_view input) try {
  const int port = take(input) | take(input) << 8;
  const Address address(input, port);
  use(address);
  expect(address.port() == port);
  expect(Address(address.host(), port, address.flowinfo(), address.scope_id()) == address);
} catch (const ResolveError&) {
} catch (const std::invalid_argument&) {
  expect(input.find('\0') != input.npos);
}

void parse_path(std::string_view input) try {
  const Address address(input);
  use(address);
  expect(address.path() == input);
} catch (const std::invalid_argument&) {
  expect(input.size() > 107 || input.find('\0', 1) != input.npos);
}

void read_raw_address(std::string_view input) {
  sockaddr_storage raw{};
  const std::size_t size = input.copy(reinterpret_cast<char*>(&raw), sizeof raw);
  use(Address(reinterpret_cast<const sockaddr*>(&raw), static_cast<socklen_t>(size)));
}

// Lines of any length, read through a buffer of any size, are what was sent.
void read_lines(std::string_view input) {
  const std::size_t buffering = take(input), limit = take(input) + 1u;
  auto [one, other] = socketpair();
  one.sendall(input);
  one.close();
  SocketStream stream = other.makefile("r", buffering);
  std::string all;
  for (std::string line; !(line = stream.readline(limit)).empty(); all += line) {
    expect(line.size() <= limit && line.find('\n') >= line.size() - 1);
    expect(line.size() == limit || line.back() == '\n' || all.size() + line.size() == input.size());
  }
  expect(all == input && !stream.error());
}

void read_ancillary(std::string_view input) {
  auto [one, other] = socketpair();
  one.sendall("x");
  control = input;
  keeps_open = true;
  {
    const Message message = other.recvmsg(1, input.size());
    expect(message.fds.size() <= input.size() / sizeof(int));
    for (const Ancillary& item : message.ancdata) expect(item.data.size() < input.size());
  }
  keeps_open = false;
  control = {};
}

// The first descriptor after standard error, if nothing else has it, is a listener.
const Socket listener = create_server({"127.0.0.1", 0});

void take_listeners(std::string_view input) try {
  const std::size_t end = std::min(input.find('\0'), input.size());
  ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  ::setenv("LISTEN_FDS", std::string(input.substr(0, end)).c_str(), 1);
  ::setenv("LISTEN_FDNAMES", std::string(input.substr(end)).c_str(), 1);
  keeps_open = true;
  for (const ListenFd& one : listen_fds()) expect(!one.name.empty());
  keeps_open = false;
} catch (const Error&) {
  keeps_open = false;
}

constexpr void (*kParsers[])(std::string_view) = {parse_host, parse_path,     read_raw_address,
                                                  read_lines, read_ancillary, take_listeners};

}  // namespace

extern "C" {

ssize_t recvmsg(int fd, msghdr* header, int flags) {
  static const auto libc = reinterpret_cast<decltype(&::recvmsg)>(::dlsym(RTLD_NEXT, "recvmsg"));
  const ssize_t size = libc(fd, header, flags);
  if (!control.empty()) {
    header->msg_controllen = control.copy(static_cast<char*>(header->msg_control), control.size());
  }
  return size;
}

int close(int fd) {
  static const auto libc = reinterpret_cast<int (*)(int)>(::dlsym(RTLD_NEXT, "close"));
  return keeps_open ? 0 : libc(fd);
}

int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  kParsers[take(input) % std::size(kParsers)](input);
  return 0;
}

}  // extern "C"
