#include "faulty_calls.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <new>
#include <string_view>
#include <type_traits>
#include <utility>

namespace torture {

namespace {

constexpr Call kCalls[] = {
    {"socket", {EMFILE, ENFILE, ENOBUFS, ENOMEM, EACCES, EAFNOSUPPORT}},
    {"socketpair", {EMFILE, ENFILE, EOPNOTSUPP}},
    {"bind", {EADDRINUSE, EACCES, EADDRNOTAVAIL}},
    {"listen", {EADDRINUSE, EOPNOTSUPP}},
    {"accept4",
     {EMFILE, ENFILE, ENOBUFS, ENOMEM, ECONNABORTED, EPERM, EPROTO, EINTR, EAGAIN},
     true},
    {"connect", {ECONNREFUSED, ENETUNREACH, ETIMEDOUT, EADDRNOTAVAIL, EACCES, EINTR}},
    {"send", {ENOBUFS, ENOMEM, ECONNRESET, EPIPE, EINTR, EAGAIN}, true},
    {"sendto", {ENOBUFS, ENOMEM, ECONNRESET, EMSGSIZE, EINTR, EAGAIN}, true},
    {"sendmsg", {ENOBUFS, ENOMEM, ECONNRESET, EPIPE, EINTR, EAGAIN}, true},
    {"recv", {ENOMEM, ECONNRESET, ENOTCONN, EINTR, EAGAIN}, true},
    {"recvfrom", {ENOMEM, ECONNREFUSED, ENOTCONN, EINTR, EAGAIN}, true},
    {"recvmsg", {ENOMEM, ECONNRESET, EMFILE, EINTR, EAGAIN}, true},
    {"sendfile64", {EIO, ENOMEM, EPIPE, EINVAL, EINTR, EAGAIN}, true},
    {"splice", {EIO, ENOMEM, EPIPE, EINTR, EAGAIN}, true},
    {"getsockopt", {ENOBUFS, ENOPROTOOPT, ENOMEM}},
    {"setsockopt", {ENOBUFS, ENOPROTOOPT, ENOMEM}},
    {"getsockname", {ENOBUFS, ENOTSOCK}},
    {"getpeername", {ENOBUFS, ENOTCONN}},
    {"shutdown", {ENOTCONN, ENOBUFS}},
    {"close", {EIO, ENOSPC, EINTR}},
    {"fcntl64", {EMFILE, EPERM, EINVAL}},
    {"ioctl", {EPERM, EFAULT}},
    {"poll", {ENOMEM, EINTR}},
    {"ppoll", {ENOMEM, EINTR}},
    {"epoll_create1", {EMFILE, ENFILE, ENOMEM}},
    {"epoll_ctl", {ENOMEM, ENOSPC}},
    {"epoll_wait", {EINTR}},
    {"eventfd", {EMFILE, ENFILE, ENOMEM, ENODEV}},
    {"eventfd_read", {EINTR, EAGAIN}, true},
    {"dup3", {EMFILE, EBUSY, EINTR}},
    {"fork", {EAGAIN, ENOMEM}},
    {"waitpid", {EINTR}},
    {"pidfd_open", {EMFILE, ENFILE, ENOSYS, EPERM, ENOMEM}},
    {"pthread_create", {EAGAIN, EPERM}},
    {"sigaction", {EINVAL}},
    {"getaddrinfo", {EAI_AGAIN, EAI_FAIL, EAI_MEMORY, EAI_SYSTEM}},
    {"getnameinfo", {EAI_AGAIN, EAI_FAIL, EAI_MEMORY, EAI_SYSTEM}},
    {"flock", {ENOLCK, EWOULDBLOCK, EINTR}},
    {"unlink", {EACCES, EIO, EROFS}},
    {"open64", {EMFILE, ENFILE, EACCES, EINTR}},
    {"fstat64", {ENOMEM, EOVERFLOW}},
    {"lstat64", {ENOMEM, EACCES}},
    {"read", {EIO, EINTR}},
    {"pread64", {EIO, EINTR}},
    {"operator new", {ENOMEM}},
};

// Its index in kCalls.
consteval std::size_t at(std::string_view name) {
  std::size_t index = 0;
  while (name != kCalls[index].name) ++index;
  return index;
}

constexpr std::size_t kNone = std::size(kCalls);

struct State {
  std::atomic<bool> active = false;
  std::array<std::atomic<int>, std::size(kCalls)> counts{};
  std::atomic<std::size_t> call = kNone;  // The one that fails.
  std::atomic<int> first = 0, last = 0, error = 0;
  std::atomic<bool> shortens = false, delays = false;
  std::atomic<std::uint64_t> random = 0;
  std::atomic<long> short_counts = 0, interrupted = 0, blocked = 0;
};
constinit State* state = nullptr;  // Shared with the processes that are forked later.
constinit thread_local int spared = 0;
constinit thread_local bool was_blocked = false;  // This thread's last transfer failed with EAGAIN.

// SplitMix64: one sequence of numbers for all threads.
std::uint64_t next_random() noexcept {
  std::uint64_t number = state->random += 0x9e3779b97f4a7c15;
  number = (number ^ number >> 30) * 0xbf58476d1ce4e5b9;
  number = (number ^ number >> 27) * 0x94d049bb133111eb;
  return number ^ number >> 31;
}

void sleep_at_random() noexcept {
  const std::uint64_t random = next_random();
  if (random % 16 != 0) return;
  const int kept = errno;
  const timespec time{0, static_cast<long>(random / 16 % 200'000)};
  ::nanosleep(&time, nullptr);
  errno = kept;
}

// The error with which this call has to fail, or 0.
int fault(std::size_t call) noexcept {
  if (state == nullptr || spared > 0) return 0;
  if (state->delays) sleep_at_random();
  if (!state->active) return 0;
  const int number = ++state->counts[call];
  return call == state->call && number >= state->first && number <= state->last
             ? state->error.load()
             : 0;
}

// Calls libc, unless the call has to fail: then it returns what that function returns for a
// failure.
template <std::size_t Index, class Result, class... Arguments>
Result faulty(Result (*)(Arguments...), std::type_identity_t<Arguments>... arguments) {
  static const auto libc =
      reinterpret_cast<Result (*)(Arguments...)>(::dlsym(RTLD_NEXT, kCalls[Index].name));
  if (const int error = fault(Index); error != 0) {
    errno = error;
    return static_cast<Result>(-1);
  }
  return libc(arguments...);
}

// Whether fd is a socket of which a shorter transfer would cut a message.
bool keeps_messages(int fd) noexcept {
  const Spared inner;
  int type = SOCK_STREAM;
  socklen_t size = sizeof type;
  ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);  // Fails for a file or a pipe.
  return type != SOCK_STREAM;
}

ssize_t failed(int error, std::atomic<long>& count) noexcept {
  ++count;
  errno = error;
  return -1;
}

// Calls call(size). Under shorten() the size may be smaller, or the call may fail instead, but not
// with EAGAIN twice in a row: after a hang-up in poll(2), the library takes the second one for the
// end of the stream, because the kernel returns none while there are bytes left.
template <std::size_t Index, class Call>
ssize_t transfer(int fd, std::size_t size, const Call& call) {
  if (state == nullptr || spared > 0 || !state->shortens || size == 0 || keeps_messages(fd))
    return call(size);
  const std::uint64_t random = next_random(), kind = random % 16;
  if (kind < 2) return failed(EINTR, state->interrupted);
  if (kind == 2 && kCalls[Index].waits_after_again && !std::exchange(was_blocked, true))
    return failed(EAGAIN, state->blocked);
  std::size_t part = size;
  if (kind < 10) part = 1 + random / 16 % (kind == 3 ? std::min<std::size_t>(size, 16) : size);
  const ssize_t result = call(part);
  if (result >= 0 || errno == EAGAIN) was_blocked = result < 0;
  if (part < size && result == static_cast<ssize_t>(part)) ++state->short_counts;
  return result;
}

std::size_t size_of(const msghdr& message) noexcept {
  std::size_t size = 0;
  for (std::size_t i = 0; i < message.msg_iovlen; ++i) size += message.msg_iov[i].iov_len;
  return size;
}

// Makes the call while the buffers of the message have only their first `size` bytes.
template <class Call>
ssize_t with_size(msghdr& message, std::size_t size, const Call& call) {
  const std::size_t count = message.msg_iovlen;
  std::size_t last = 0;
  while (last < count && message.msg_iov[last].iov_len < size)
    size -= message.msg_iov[last++].iov_len;
  if (last == count) return call();
  const std::size_t whole = std::exchange(message.msg_iov[last].iov_len, size);
  message.msg_iovlen = last + 1;
  const ssize_t result = call();
  message.msg_iov[last].iov_len = whole;
  message.msg_iovlen = count;
  return result;
}

}  // namespace

std::span<const Call> calls() { return kCalls; }

void set_up() {
  void* memory =
      ::mmap(nullptr, sizeof(State), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  state = new (memory) State;
}

void fail(std::size_t call, int number, int times, int error) {
  count();
  state->first = number;
  state->last = number + times - 1;
  state->error = error;
  state->call = call;
}

void count() {
  state->active = true;
  state->call = kNone;
  for (std::atomic<int>& each : state->counts) each = 0;
}

void shorten(unsigned seed) {
  count();
  state->random = seed;
  state->shortens = true;
}

void delay(unsigned seed) {
  state->random = seed;
  state->delays = true;
}

void stop() { state->active = state->shortens = state->delays = false; }

std::vector<int> counted() { return {state->counts.begin(), state->counts.end()}; }

Shortened shortened() { return {state->short_counts, state->interrupted, state->blocked}; }

Spared::Spared() noexcept { ++spared; }
Spared::~Spared() { --spared; }

}  // namespace torture

using namespace torture;

extern "C" {
int socket(int family, int type, int proto) noexcept {
  return faulty<at("socket")>(::socket, family, type, proto);
}
int socketpair(int family, int type, int proto, int* fds) noexcept {
  return faulty<at("socketpair")>(::socketpair, family, type, proto, fds);
}
int bind(int fd, const sockaddr* name, socklen_t size) noexcept {
  return faulty<at("bind")>(::bind, fd, name, size);
}
int listen(int fd, int backlog) noexcept { return faulty<at("listen")>(::listen, fd, backlog); }
int accept4(int fd, sockaddr* name, socklen_t* size, int flags) {
  return faulty<at("accept4")>(::accept4, fd, name, size, flags);
}
int connect(int fd, const sockaddr* name, socklen_t size) {
  return faulty<at("connect")>(::connect, fd, name, size);
}
ssize_t send(int fd, const void* data, size_t size, int flags) {
  return transfer<at("send")>(
      fd, size, [&](size_t part) { return faulty<at("send")>(::send, fd, data, part, flags); });
}
ssize_t sendto(int fd, const void* data, size_t size, int flags, const sockaddr* name,
               socklen_t name_size) {
  return transfer<at("sendto")>(fd, size, [&](size_t part) {
    return faulty<at("sendto")>(::sendto, fd, data, part, flags, name, name_size);
  });
}
ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  msghdr copy = *message;
  return transfer<at("sendmsg")>(fd, size_of(copy), [&](size_t part) {
    return with_size(copy, part,
                     [&] { return faulty<at("sendmsg")>(::sendmsg, fd, &copy, flags); });
  });
}
ssize_t recv(int fd, void* data, size_t size, int flags) {
  return transfer<at("recv")>(
      fd, size, [&](size_t part) { return faulty<at("recv")>(::recv, fd, data, part, flags); });
}
ssize_t recvfrom(int fd, void* data, size_t size, int flags, sockaddr* name, socklen_t* name_size) {
  return transfer<at("recvfrom")>(fd, size, [&](size_t part) {
    return faulty<at("recvfrom")>(::recvfrom, fd, data, part, flags, name, name_size);
  });
}
ssize_t recvmsg(int fd, msghdr* message, int flags) {
  return transfer<at("recvmsg")>(fd, size_of(*message), [&](size_t part) {
    return with_size(*message, part,
                     [&] { return faulty<at("recvmsg")>(::recvmsg, fd, message, flags); });
  });
}
ssize_t sendfile64(int to, int from, off64_t* offset, size_t count) noexcept {
  return transfer<at("sendfile64")>(to, count, [&](size_t part) {
    return faulty<at("sendfile64")>(::sendfile64, to, from, offset, part);
  });
}
ssize_t splice(int from, off64_t* from_offset, int to, off64_t* to_offset, size_t size,
               unsigned flags) {
  return transfer<at("splice")>(to, size, [&](size_t part) {
    return faulty<at("splice")>(::splice, from, from_offset, to, to_offset, part, flags);
  });
}
int getsockopt(int fd, int level, int name, void* value, socklen_t* size) noexcept {
  return faulty<at("getsockopt")>(::getsockopt, fd, level, name, value, size);
}
int setsockopt(int fd, int level, int name, const void* value, socklen_t size) noexcept {
  return faulty<at("setsockopt")>(::setsockopt, fd, level, name, value, size);
}
int getsockname(int fd, sockaddr* name, socklen_t* size) noexcept {
  return faulty<at("getsockname")>(::getsockname, fd, name, size);
}
int getpeername(int fd, sockaddr* name, socklen_t* size) noexcept {
  return faulty<at("getpeername")>(::getpeername, fd, name, size);
}
int shutdown(int fd, int how) noexcept { return faulty<at("shutdown")>(::shutdown, fd, how); }
int close(int fd) {
  static const auto libc = reinterpret_cast<int (*)(int)>(::dlsym(RTLD_NEXT, "close"));
  const int result = libc(fd);  // A close that fails has closed the descriptor all the same.
  const int error = fault(at("close"));
  if (error == 0) return result;
  errno = error;
  return -1;
}
int fcntl64(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  const long argument = va_arg(list, long);
  va_end(list);
  return faulty<at("fcntl64")>(static_cast<int (*)(int, int, long)>(nullptr), fd, command,
                               argument);
}
int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list list;
  va_start(list, request);
  void* argument = va_arg(list, void*);
  va_end(list);
  return faulty<at("ioctl")>(static_cast<int (*)(int, unsigned long, void*)>(nullptr), fd, request,
                             argument);
}
int poll(pollfd* entries, nfds_t count, int timeout) {
  return faulty<at("poll")>(::poll, entries, count, timeout);
}
int ppoll(pollfd* entries, nfds_t count, const timespec* timeout, const sigset_t* mask) {
  return faulty<at("ppoll")>(::ppoll, entries, count, timeout, mask);
}
int epoll_create1(int flags) noexcept {
  return faulty<at("epoll_create1")>(::epoll_create1, flags);
}
int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
  return faulty<at("epoll_ctl")>(::epoll_ctl, epoll, operation, fd, event);
}
int epoll_wait(int epoll, epoll_event* events, int count, int timeout) {
  return faulty<at("epoll_wait")>(::epoll_wait, epoll, events, count, timeout);
}
int eventfd(unsigned count, int flags) noexcept {
  return faulty<at("eventfd")>(::eventfd, count, flags);
}
int eventfd_read(int fd, eventfd_t* value) {
  return faulty<at("eventfd_read")>(::eventfd_read, fd, value);
}
int dup3(int fd, int to, int flags) noexcept { return faulty<at("dup3")>(::dup3, fd, to, flags); }
pid_t fork() noexcept { return faulty<at("fork")>(::fork); }
pid_t waitpid(pid_t pid, int* status, int options) {
  return faulty<at("waitpid")>(::waitpid, pid, status, options);
}
// Only pidfd_open(2), for which there is no function; the C++ library has its own uses.
long syscall(long number, ...) noexcept {
  va_list list;
  va_start(list, number);
  long rest[6];
  for (long& each : rest) each = va_arg(list, long);
  va_end(list);
  static const auto libc = reinterpret_cast<long (*)(long, ...)>(::dlsym(RTLD_NEXT, "syscall"));
  if (const int error = number == SYS_pidfd_open ? fault(at("pidfd_open")) : 0; error != 0) {
    errno = error;
    return -1;
  }
  return libc(number, rest[0], rest[1], rest[2], rest[3], rest[4], rest[5]);
}
int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                   void* argument) noexcept {
  if (const int error = fault(at("pthread_create")); error != 0) return error;
  const Spared inner;  // What libc does is its own affair.
  static const auto libc =
      reinterpret_cast<decltype(&::pthread_create)>(::dlsym(RTLD_NEXT, "pthread_create"));
  return libc(thread, attributes, run, argument);
}
int sigaction(int number, const struct sigaction* action, struct sigaction* old) noexcept {
  return faulty<at("sigaction")>(static_cast<decltype(&sigaction)>(nullptr), number, action, old);
}
int getaddrinfo(const char* host, const char* service, const addrinfo* hints, addrinfo** list) {
  errno = ENOMEM;
  if (const int error = fault(at("getaddrinfo")); error != 0) return error;
  const Spared inner;
  static const auto libc =
      reinterpret_cast<decltype(&::getaddrinfo)>(::dlsym(RTLD_NEXT, "getaddrinfo"));
  return libc(host, service, hints, list);
}
int getnameinfo(const sockaddr* name, socklen_t size, char* host, socklen_t host_size,
                char* service, socklen_t service_size, int flags) {
  errno = ENOMEM;
  if (const int error = fault(at("getnameinfo")); error != 0) return error;
  const Spared inner;
  static const auto libc =
      reinterpret_cast<decltype(&::getnameinfo)>(::dlsym(RTLD_NEXT, "getnameinfo"));
  return libc(name, size, host, host_size, service, service_size, flags);
}
int flock(int fd, int operation) noexcept { return faulty<at("flock")>(::flock, fd, operation); }
int unlink(const char* path) noexcept { return faulty<at("unlink")>(::unlink, path); }
int open64(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const mode_t mode = va_arg(list, mode_t);
  va_end(list);
  return faulty<at("open64")>(static_cast<int (*)(const char*, int, mode_t)>(nullptr), path, flags,
                              mode);
}
int fstat64(int fd, struct stat64* status) noexcept {
  return faulty<at("fstat64")>(::fstat64, fd, status);
}
int lstat64(const char* path, struct stat64* status) noexcept {
  return faulty<at("lstat64")>(::lstat64, path, status);
}
ssize_t read(int fd, void* data, size_t size) {
  return transfer<at("read")>(
      fd, size, [&](size_t part) { return faulty<at("read")>(::read, fd, data, part); });
}
ssize_t pread64(int fd, void* data, size_t size, off64_t offset) {
  return transfer<at("pread64")>(fd, size, [&](size_t part) {
    return faulty<at("pread64")>(::pread64, fd, data, part, offset);
  });
}
}  // extern "C"

void* operator new(std::size_t size) {
  void* memory = fault(at("operator new")) != 0 ? nullptr : std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
