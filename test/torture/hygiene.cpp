// Checks that the library leaves nothing behind: `hygiene [SECONDS]`. While it opens descriptors of
// every kind, programs that this one starts must not inherit any of them. Signals, the environment,
// the locale and the file mode mask must stay as they were, and in the second half of the time
// memory, descriptors and threads must not become more.
#include <fcntl.h>
#include <malloc.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "thinsock/thinsock.hpp"

using namespace std::chrono_literals;
using namespace thinsock;

namespace {

void expect(bool holds, const std::string& what) {
  if (!holds) throw std::logic_error(what);
}

// --- what opens descriptors ---

void open_sockets() {
  Socket listener = create_server({"127.0.0.1", 0});
  Socket one = create_connection(listener.getsockname(), 5s);
  Socket other = listener.accept().socket;
  Socket copy = one.dup(), third = Socket::fromfd(other.fileno());
  auto file = copy.makefile();
  file << "x" << std::flush;
  expect(third.recv(1) == "x", "recv");
  Socket side_by_side = create_connection(listener.getsockname(), 5s, {}, 1ms);
  const CancelScope scope(1ms);
  std::error_code error;
  std::string data(1, '\0');
  one.recv_into(data, error);  // Waits in the scope, which needs a descriptor for that.
}

void fail_to_transfer() {
  Socket listener = create_server({"127.0.0.1", 0}), silent;
  silent.bind({"127.0.0.1", 0});
  Socket one = create_connection(listener.getsockname(), 5s);
  Socket other = listener.accept().socket;
  const std::error_code refused = Socket().connect_ex(silent.getsockname());
  std::error_code late, reset;
  std::string data(1, '\0');
  one.settimeout(1ms);
  one.recv_into(data, late);
  other.set_linger(0s);
  other.close();
  one.settimeout(5s);  // A process that another thread has forked may keep a copy for a moment.
  one.recv_into(data, reset);
  expect(refused == std::errc::connection_refused && late == std::errc::timed_out &&
             reset == std::errc::connection_reset,
         "a failure");
}

// Tries each address of the name.
void fail_to_connect() {
  Socket silent;
  silent.bind({"127.0.0.1", 0});
  try {
    create_connection({"localhost", silent.getsockname().port()}, 5s).close();
    expect(false, "a connection without a listener");
  } catch (const Error& error) {
    expect(error.code() == std::errc::connection_refused, "create_connection");
  }
}

void pass_descriptors() {
  auto [one, other] = thinsock::socketpair();
  send_fds(one, {"x"}, {one.fileno(), other.fileno()});
  expect(recv_fds(other, 1, 2).fds.size() == 2, "recv_fds");
}

void cut_in_the_middle() {
  auto [one, other] = thinsock::socketpair();
  one.sendall("half of a lin");
  one.close();
  expect(select({other}, {}, {}, 5s).readable.size() == 1, "select");
  try {
    expect(other.recv_exactly(100).empty(), "more than was sent");
  } catch (const EOFError&) {
  }
}

void exchange_datagrams() {
  Socket one(AF_INET, SOCK_DGRAM), other(AF_INET, SOCK_DGRAM);
  for (Socket* each : {&one, &other}) each->bind({"127.0.0.1", 0});
  other.settimeout(5s);
  one.sendto("x", other.getsockname());
  expect(other.recvfrom(9).address == one.getsockname(), "recvfrom");
}

void wait_for_a_signal() {
  auto [one, other] = thinsock::socketpair();
  const CancelScope scope({SIGUSR1}, 5s);
  ::pthread_kill(::pthread_self(), SIGUSR1);
  std::error_code error;
  std::string data(1, '\0');
  one.recv_into(data, error);
  expect(error == std::errc::operation_canceled && scope.signal() == SIGUSR1, "a signal");
}

void wait_in_a_stopped_scope() {
  auto [one, other] = thinsock::socketpair();
  std::stop_source source;
  const CancelScope scope(source.get_token(), 5s);
  const std::jthread stopping([&] { source.request_stop(); });
  std::error_code error;
  std::string data(1, '\0');
  one.recv_into(data, error);
  expect(error == std::errc::operation_canceled, "a stop");
}

template <class Server>
void serve_once(AddressLike address) {
  Server server(address, [](RequestContext& context) { context.reply("x"); });
  auto client = std::async(std::launch::async, [&] {
    Socket sk(server.server_address.family(), server.socket_type());
    sk.settimeout(5s);
    if (sk.family() == AF_UNIX) sk.bind("");
    sk.connect(server.server_address);
    if (sk.type() == SOCK_DGRAM) sk.send("x");
    expect(sk.recv(1) == "x", "a server");
    server.shutdown();
  });
  server.serve_forever();
  client.get();
  server.server_close();
}

// The server locks the path's directory while it binds.
void serve_at_a_path() {
  static std::atomic<int> number = 0;
  const std::string name = "thinsock." + std::to_string(::getpid()) + '.';
  const auto path = std::filesystem::temp_directory_path() / (name + std::to_string(++number));
  serve_once<ThreadingUnixStreamServer>(path);
  std::filesystem::remove(path);  // A process forked meanwhile may have had it open.
}

void look_up_names() {
  getaddrinfo("localhost", 80);
  getnameinfo({"127.0.0.1", 80});
}

// A process that is forked in the middle of all this can use the library.
[[maybe_unused]] void use_it_in_a_child() {
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(20);
    try {
      open_sockets();
      serve_once<ThreadingTCPServer>({"127.0.0.1", 0});
      wait_for_a_signal();  // The stacks of the parent's threads have been used again by now.
      ::_exit(0);
    } catch (const std::exception& exception) {
      std::fprintf(stderr, "hygiene: in a child: %s\n", exception.what());
      ::_exit(1);
    }
  }
  expect(child != -1, "fork");
  int status = -1;
  ::waitpid(child, &status, 0);
  expect(status == 0, "a child ends with status " + std::to_string(status));
}

constexpr void (*kOpening[])() = {
    open_sockets,
    fail_to_transfer,
    fail_to_connect,
    cut_in_the_middle,
    exchange_datagrams,
    pass_descriptors,
    wait_for_a_signal,
    wait_in_a_stopped_scope,
    look_up_names,
    serve_at_a_path,
#ifndef SANITIZED  // They cannot follow a fork of a program with threads.
    use_it_in_a_child,
#endif
    [] {
      serve_once<TCPServer>({"127.0.0.1", 0});
    },
    [] {
      serve_once<ThreadingTCPServer>({"127.0.0.1", 0});
    },
    [] {
      serve_once<ForkingTCPServer>({"127.0.0.1", 0});
    },
    [] {
      serve_once<ThreadingUDPServer>({"127.0.0.1", 0});
    },
    [] { serve_once<UnixDatagramServer>(""); },
};

// --- what must not notice ---

// The descriptors that a new program has: 0, 1, 2, and 3, with which ls reads the directory.
std::string inherited() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
  const Descriptor reading(ends[0]);
  Descriptor writing(ends[1]);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, writing.fileno(), STDOUT_FILENO);
  char program[] = "ls", folder[] = "/proc/self/fd";
  char* const arguments[] = {program, folder, nullptr};
  pid_t child = -1;
  const int error = ::posix_spawnp(&child, program, &actions, nullptr, arguments, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  expect(error == 0, "posix_spawnp");
  writing.close();
  std::string list;
  char bytes[1000];
  for (long size; (size = ::read(reading.fileno(), bytes, sizeof bytes)) > 0;)
    list.append(bytes, static_cast<std::size_t>(size));
  ::waitpid(child, nullptr, 0);
  return list;
}

// Everything of the process that libraries might change.
std::string surroundings() {
  std::string all = std::setlocale(LC_ALL, nullptr);
  for (char** variable = environ; *variable != nullptr; ++variable) all += *variable;
  const mode_t mask = ::umask(0);
  ::umask(mask);
  all += std::to_string(mask);
  sigset_t blocked;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  for (int number = 1; number < NSIG; ++number) {
    struct sigaction action {};
    ::sigaction(number, nullptr, &action);
    all += std::to_string(reinterpret_cast<std::uintptr_t>(action.sa_handler)) +
           std::to_string(action.sa_flags) + std::to_string(::sigismember(&blocked, number));
  }
  return all;
}

struct Use {
  static long entries_of(const char* folder) {
    return std::distance(std::filesystem::directory_iterator(folder), {});
  }
  static long resident_kib() {
    std::ifstream sizes("/proc/self/statm");
    long all = 0, resident = 0;
    sizes >> all >> resident;
    return resident * ::sysconf(_SC_PAGESIZE) / 1024;
  }

  long descriptors = entries_of("/proc/self/fd"), threads = entries_of("/proc/self/task");
  long kib = resident_kib();
  long allocated = static_cast<long>(::mallinfo2().uordblks);  // In bytes.
};

// What libc keeps varies by less than this. In two seconds there are enough rounds of each kind to
// tell 100 allocated bytes that each leaves, or one page that is not of the heap.
constexpr long kMostKib = 512, kMostBytes = 4000;

std::atomic<int> rounds = 0, programs = 0;

void go_on_for(double seconds, const std::string& usual) {
  std::atomic<bool> over = false;
  std::vector<std::future<void>> opening;
  for (void (*open)() : kOpening) {
    opening.push_back(std::async(std::launch::async, [&, open] {
      for (; !over; ++rounds) open();
    }));
  }
  std::string list = usual;
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  for (; list == usual && std::chrono::steady_clock::now() < end; ++programs) list = inherited();
  over = true;
  for (std::future<void>& each : opening) each.get();
  expect(list == usual, "a program inherits:\n" + list);
}

}  // namespace

int main(int argc, char** argv) try {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 4;
  ::alarm(static_cast<unsigned>(seconds) + 60);
  // The scopes that wait for them must restore this.
  for (const int number : {SIGUSR1, SIGUSR2}) ::signal(number, SIG_IGN);
  std::thread([] {}).join();  // With the first thread, a sanitizer may install its handlers.
  const std::string before = surroundings(), usual = inherited();
  go_on_for(seconds / 2, usual);
  const Use middle;
  const int first_rounds = rounds;
  go_on_for(seconds / 2, usual);
  const Use end;
  const long grown = end.kib - middle.kib, left = end.allocated - middle.allocated;
  std::printf("hygiene: %d programs started, while descriptors were opened in %d rounds; ",
              programs.load(), rounds.load());
  std::printf("the last %d left %+ld descriptors, %+ld threads, %+ld bytes, ",
              rounds - first_rounds, end.descriptors - middle.descriptors,
              end.threads - middle.threads, left);
  std::printf("%+ld KiB resident\n", grown);
  { const CancelScope unsignalled({SIGUSR2}); }
  expect(surroundings() == before, "signals, environment, locale or mask have changed");
  expect(end.descriptors <= middle.descriptors, "descriptors are left");
  expect(end.threads <= middle.threads, "threads are left");
#ifndef SANITIZED
  expect(grown < kMostKib && left < kMostBytes, "memory is left");
#endif
} catch (const std::exception& exception) {
  std::printf("hygiene: %s\n", exception.what());
  return 1;
}
