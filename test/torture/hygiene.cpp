// Checks that the library leaves nothing behind: `hygiene [SECONDS]`. While it opens descriptors of
// every kind, programs that this one starts must not inherit any of them. Signals, the environment,
// the locale and the file mode mask must stay as they were, and in the second half of the time
// memory, descriptors and threads must not become more.
#include <fcntl.h>
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

void pass_descriptors() {
  auto [one, other] = thinsock::socketpair();
  send_fds(one, {"x"}, {one.fileno(), other.fileno()});
  expect(recv_fds(other, 1, 2).fds.size() == 2, "recv_fds");
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
  Server server(address, [](Socket& sk, const Address&) { sk.sendall("x"); });
  auto client = std::async(std::launch::async, [&] {
    Socket sk = create_connection(server.server_address, 5s);
    expect(sk.recv(1) == "x", "a server");
    server.shutdown();
  });
  server.serve_forever();
  client.get();
  server.server_close();
}

void look_up_names() {
  getaddrinfo("localhost", 80);
  getnameinfo({"127.0.0.1", 80});
}

constexpr void (*kOpening[])() = {
    open_sockets,
    fail_to_transfer,
    pass_descriptors,
    wait_in_a_stopped_scope,
    look_up_names,
    [] {
      serve_once<TCPServer>({"127.0.0.1", 0});
    },
    [] {
      serve_once<ThreadingTCPServer>({"127.0.0.1", 0});
    },
    [] {
      serve_once<ForkingTCPServer>({"127.0.0.1", 0});
    },
    [] { serve_once<UnixStreamServer>(""); },
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
};

constexpr long kTolerance = 96;  // In KiB: what libc keeps differs by less.

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
  std::thread([] {}).join();  // With the first thread, a sanitizer may install its handlers.
  const std::string before = surroundings(), usual = inherited();
  go_on_for(seconds / 2, usual);
  const Use middle;
  const int first_rounds = rounds;
  go_on_for(seconds / 2, usual);
  const Use end;
  const long grown = end.kib - middle.kib;
  std::printf("hygiene: %d programs started, while descriptors were opened in %d rounds; ",
              programs.load(), rounds.load());
  std::printf("the last %d left %+ld descriptors, %+ld threads, %+ld KiB\n", rounds - first_rounds,
              end.descriptors - middle.descriptors, end.threads - middle.threads, grown);
  expect(surroundings() == before, "signals, environment, locale or mask have changed");
  expect(end.descriptors <= middle.descriptors, "descriptors are left");
  expect(end.threads <= middle.threads, "threads are left");
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  expect(grown < kTolerance, "memory is left");
#endif
} catch (const std::exception& exception) {
  std::printf("hygiene: %s\n", exception.what());
  return 1;
}
