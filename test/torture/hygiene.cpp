// Checks that the library leaves nothing to others: `hygiene [SECONDS]`. While it opens descriptors
// of every kind, programs that this one starts must not inherit any of them. Afterwards signals,
// the environment, the locale and the file mode mask must be as before.
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
#include <cstring>
#include <future>
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

}  // namespace

int main(int argc, char** argv) try {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 2;
  ::alarm(static_cast<unsigned>(seconds) + 60);
  std::thread([] {}).join();  // With the first thread, a sanitizer may install its handlers.
  const std::string before = surroundings(), usual = inherited();
  std::atomic<bool> over = false;
  std::atomic<int> rounds = 0;
  std::vector<std::future<void>> opening;
  for (void (*open)() : kOpening) {
    opening.push_back(std::async(std::launch::async, [&, open] {
      for (; !over; ++rounds) open();
    }));
  }
  int programs = 0;
  std::string list = usual;
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  for (; list == usual && std::chrono::steady_clock::now() < end; ++programs) list = inherited();
  over = true;
  for (std::future<void>& each : opening) each.get();
  expect(list == usual, "a program inherits:\n" + list);
  expect(surroundings() == before, "signals, environment, locale or mask have changed");
  std::printf("hygiene: %d programs started, while descriptors were opened in %d rounds\n",
              programs, rounds.load());
} catch (const std::exception& exception) {
  std::printf("hygiene: %s\n", exception.what());
  return 1;
}
