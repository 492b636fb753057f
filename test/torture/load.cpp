// Loads a server of each kind with idle connections that then all speak at once, and with
// connections one after the other, and looks at what is left of them: `load [IDLE [SEQUENCE]]`.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "thinsock/thinsock.hpp"

using namespace std::chrono_literals;
using namespace thinsock;
using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

namespace {

constexpr auto kPatience = 30s;
// A server may grow by kTolerance KiB, and for what libc keeps of each thread by 1 KiB for every
// kIdleOfKib idle connections. A leak of 100 bytes in each of 3,000 connections is 300 KiB.
constexpr long kTolerance = 100, kIdleOfKib = 50;

// --- the server, a process of its own ---

void echo(Socket& sk, const Address&) {
  for (std::string data; !(data = sk.recv(100)).empty();) sk.sendall(data);
}

template <class Server>
void serve(AddressLike address, int out) {
  const CancelScope until_sigterm({SIGTERM});
  Server server(address, echo, {.max_children = 0});
  const Address& bound = server.server_address;
  if (::write(out, &bound, sizeof bound) != sizeof bound) return;
  server.serve_forever();
}

struct Kind {
  const char* name;
  void (*serve)(AddressLike address, int out);
  Address address;
  int most_idle;  // 0: it serves one client after the other.
};
const Kind kKinds[] = {
    {"TCPServer", serve<TCPServer>, Address("127.0.0.1", 0), 0},
    {"ThreadingTCPServer", serve<ThreadingTCPServer>, Address("127.0.0.1", 0), 1'000'000},
    {"ThreadingUnixStreamServer", serve<ThreadingUnixStreamServer>, Address(""), 1'000'000},
    {"ForkingTCPServer", serve<ForkingTCPServer>, Address("127.0.0.1", 0), 100},
};

class Process {
 public:
  explicit Process(const Kind& kind) {
    auto [reading, writing] = thinsock::socketpair();
    pid_ = ::fork();
    if (pid_ == 0) {
      kind.serve(kind.address, writing.fileno());
      ::_exit(0);
    }
    reading.settimeout(kPatience);
    reading.recv_exactly_into({&address, sizeof address});
  }
  Process(const Process&) = delete;
  ~Process() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }

  struct Use {
    long kib = 0, threads = 0, children = 0, descriptors = 0;
  };
  Use use() const {
    const auto folder = std::filesystem::path("/proc") / std::to_string(pid_);
    Use use;
    std::ifstream status(folder / "status");
    for (std::string word; status >> word;) {
      if (word == "VmRSS:") status >> use.kib;
      if (word == "Threads:") status >> use.threads;
    }
    std::ifstream children(folder / "task" / std::to_string(pid_) / "children");
    use.children = std::distance(std::istream_iterator<pid_t>(children), {});
    use.descriptors = std::distance(std::filesystem::directory_iterator(folder / "fd"), {});
    return use;
  }

  Address address;

 private:
  pid_t pid_;
};

// --- its clients ---

void expect(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(what);
}

void connect_in_sequence(const Address& address, int count) {
  for (int i = 0; i < count; ++i) {
    Socket client = create_connection(address, kPatience);
    client.sendall("x");
    expect(client.recv(2) == "x", "a client in the sequence is not answered");
  }
}

std::vector<Socket> connect_idle(const Address& address, int count) {
  std::vector<Socket> clients;
  for (int i = 0; i < count; ++i) clients.push_back(create_connection(address, kPatience));
  return clients;
}

void let_all_speak(std::vector<Socket>& clients) {
  for (Socket& client : clients) client.sendall("hello");
  for (Socket& client : clients)
    expect(client.recv_exactly(5) == "hello", "an idle client is not answered");
}

double seconds_of(const auto& action) {
  const auto start = Clock::now();
  action();
  return Seconds(Clock::now() - start).count();
}

// Waits until the server has no more threads, children and descriptors than before, and sees that
// it goes on answering meanwhile. Its spare threads end after a while.
Process::Use use_afterwards(const Process& server, const Process::Use& before, double& slowest) {
  const auto end = Clock::now() + kPatience;
  for (;;) {
    slowest = std::max(slowest, seconds_of([&] { connect_in_sequence(server.address, 1); }));
    std::this_thread::sleep_for(20ms);
    const Process::Use now = server.use();
    if (now.threads <= before.threads && now.children == 0 && now.descriptors <= before.descriptors)
      return now;
    expect(Clock::now() < end, "threads, children or descriptors are left");
  }
}

// The most connections for which this process has descriptors.
int most_connections() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 1'000'000)) - 100;
}

bool bears(const Kind& kind, int idle, int sequence) try {
  const Process server(kind);
  double slowest = 0;
  connect_in_sequence(server.address, 1);
  const Process::Use fresh = server.use();
  {
    std::vector<Socket> clients = connect_idle(server.address, idle);
    let_all_speak(clients);
  }
  // What the server has now it may keep: libc keeps the memory of threads for later ones.
  const Process::Use before = use_afterwards(server, fresh, slowest);
  std::printf("load: %s:", kind.name);
  if (idle > 0) {
    std::vector<Socket> clients = connect_idle(server.address, idle);
    let_all_speak(clients);
    const long each = (server.use().kib - before.kib) / idle;
    std::printf(" %d idle, %ld KiB each, all answered in", idle, each);
    std::printf(" %.2f s;", seconds_of([&] { let_all_speak(clients); }));
  }
  const double took = seconds_of([&] { connect_in_sequence(server.address, sequence); });
  const Process::Use after = use_afterwards(server, before, slowest);
  const long grown = after.kib - before.kib;
  std::printf(" %d in sequence, %.0f a second; left: no threads, children or descriptors, %+ld KiB",
              sequence, sequence / took, grown);
  std::printf("; slowest echo %.0f ms\n", slowest * 1000);
  expect(grown <= kTolerance + idle / kIdleOfKib, "memory is left");
  return true;
} catch (const std::exception& exception) {
  std::printf("load: %s: %s\n", kind.name, exception.what());
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IONBF, 0);  // A forked server must not print it again.
  const int most = most_connections();
  const int idle = std::min(argc > 1 ? std::atoi(argv[1]) : 500, most);
  const int sequence = argc > 2 ? std::atoi(argv[2]) : 3000;
  bool fine = true;
  for (const Kind& kind : kKinds) fine &= bears(kind, std::min(idle, kind.most_idle), sequence);
  return fine ? 0 : 1;
}
