// Makes every call of the library fail, in turn, with each error that its manual page lists, once
// and four times in a row: `faults [SCENARIO...]`.
//
// Each case is a process of its own. It must end in time, with an Error or as if nothing had
// happened, and leave no descriptor, thread or child. A server must serve afterwards.
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <future>
#include <iterator>
#include <span>
#include <string>
#include <thread>

#include "faulty_calls.hpp"
#include "thinsock/thinsock.hpp"

using namespace std::chrono_literals;
using namespace thinsock;
using torture::Spared;

namespace {

constexpr unsigned kHung = 20;  // Seconds.
constexpr int kAtOnce = 8;      // Scenarios, which mostly wait.

[[noreturn]] void fail(const std::string& why) { throw std::logic_error(why); }

void expect(bool holds, const char* what) {
  if (!holds) fail(what);
}

// --- scenarios: each uses the library in another way, and checks what it gets ---

Socket patient(Socket sk) {
  sk.settimeout(5s);
  return sk;
}

std::pair<Socket, Socket> connected_pair() {
  Socket listener = patient(create_server({"127.0.0.1", 0}));
  Socket client = create_connection(listener.getsockname(), 5s);
  return {std::move(client), patient(listener.accept().socket)};
}

void talk(Socket& one, Socket& other) {
  one.sendall("hello");
  expect(other.recv_exactly(5) == "hello", "recv_exactly");
  other.sendall({"he", "llo"});
  char buffer[5];
  one.recv_exactly_into(buffer);
  expect(std::string(buffer, 5) == "hello", "recv_exactly_into");
  one.send("x");
  expect(other.recv(100) == "x", "recv");
  one.shutdown(SHUT_WR);
  expect(other.recv(20000).empty(), "end of file");
}

void tcp() {
  auto [one, other] = connected_pair();
  talk(one, other);
  one.close();
}

void blocking() {
  auto [one, other] = connected_pair();
  one.settimeout(std::nullopt);
  other.settimeout(std::nullopt);
  talk(one, other);
}

void in_a_scope() {
  std::stop_source source;
  const CancelScope scope(source.get_token(), 5s);
  auto [one, other] = connected_pair();
  talk(one, other);
}

void stopped() {
  std::stop_source source;
  auto [one, other] = socketpair();
  const CancelScope scope(source.get_token());
  std::jthread stopping([&] {
    const Spared spared;
    std::this_thread::sleep_for(1ms);
    source.request_stop();
  });
  try {
    one.recv(1);
    fail("recv has not been stopped");
  } catch (const Error& error) {
    if (error.code() != std::errc::operation_canceled) throw;
  }
}

void signalled() {
  auto [one, other] = socketpair();
  const CancelScope scope({SIGUSR1});
  std::raise(SIGUSR1);
  std::error_code error;
  char byte;
  one.recv_into({&byte, 1}, error);
  expect(error == std::errc::operation_canceled && scope.signal() == SIGUSR1, "signal()");
}

void streams() {
  auto [one, other] = connected_pair();
  SocketStream out = one.makefile(), in(std::move(other));
  out.exceptions(std::ios::badbit);
  in.exceptions(std::ios::badbit);
  out << "first\nsecond\n" << std::string(20000, 'x') << '\n' << std::flush;
  std::string line;
  expect(in.readline() == "first\n", "readline");
  expect(std::getline(in, line) && line == "second", "getline");
  expect(in.readline().size() == 20001, "a long line");
  out.close();
  one.close();
  expect(in.readline().empty() && in.eof(), "end of file");
}

void datagrams() {
  Socket one(AF_INET, SOCK_DGRAM), other(AF_INET, SOCK_DGRAM);
  one.settimeout(5s);
  other.settimeout(5s);
  one.bind({"127.0.0.1", 0});
  other.bind({"127.0.0.1", 0});
  one.sendto("x", other.getsockname());
  const auto [data, address] = other.recvfrom(100);
  expect(data == "x" && address == one.getsockname(), "recvfrom");
  other.sendmsg({"a", "b"}, {}, 0, address);
  expect(one.recvmsg(100, 100).data == "ab", "recvmsg");
  one.connect(other.getsockname());
  expect(select({other}, {one}, {}, 5s).writable.size() == 1, "select");
}

void descriptors() {
  auto [one, other] = socketpair();
  one.settimeout(5s);
  other.settimeout(5s);
  send_fds(one, {"x"}, {one.fileno(), other.fileno()});
  Message message = recv_fds(other, 10, 2);
  expect(message.data == "x" && message.fds.size() == 2, "recv_fds");
  Socket::fromfd(message.fds[0].fileno()).dup().sendall("y");
  expect(other.recv(1) == "y", "fromfd and dup");
}

void files() {
  auto [one, other] = connected_pair();
  const Descriptor file(::memfd_create("torture", MFD_CLOEXEC));
  expect(::ftruncate(file.fileno(), 100000) == 0, "ftruncate");
  int ends[2];
  expect(::pipe2(ends, O_CLOEXEC) == 0, "pipe2");
  const Descriptor reading(ends[0]);
  {
    const Descriptor writing(ends[1]);
    expect(::write(writing.fileno(), "piped", 5) == 5, "write");
  }
  std::thread receiving([&other = other] {
    const Spared spared;
    while (!other.recv(65536).empty()) {
    }
  });
  struct Joined {
    std::thread& thread;
    Socket& sk;
    ~Joined() {
      const Spared spared;
      sk.close();
      thread.join();
    }
  } joined{receiving, one};
  expect(one.sendfile(file.fileno(), 10) == 99990, "sendfile");
  expect(one.sendfile(reading.fileno()) == 5, "sendfile from a pipe");
}

// A path of this process. A failed case leaves none to a later process of the same number.
class TemporaryPath {
 public:
  TemporaryPath() { remove(); }
  TemporaryPath(const TemporaryPath&) = delete;
  ~TemporaryPath() { remove(); }

  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("torture." + std::to_string(::getpid()));

 private:
  void remove() const {
    const Spared spared;
    std::filesystem::remove(path);
  }
};

void unix_path() {
  const TemporaryPath temporary;
  const auto& path = temporary.path;
  Socket listener = patient(create_server(path));
  Socket one = create_connection(path, 5s);
  Socket other = patient(listener.accept().socket);
  talk(one, other);
}

void names() {
  const auto list = thinsock::getaddrinfo("127.0.0.1", "80", 0, SOCK_STREAM);
  expect(list.size() == 1 && list[0].address.port() == 80, "getaddrinfo");
  expect(thinsock::getnameinfo(list[0].address, NI_NUMERICHOST | NI_NUMERICSERV).service == "80",
         "getnameinfo");
  expect(thinsock::gethostbyname("localhost") == "127.0.0.1", "gethostbyname");
  thinsock::gethostbyname_ex("localhost");
  thinsock::gethostbyaddr("127.0.0.1");
  getfqdn();
  expect(thinsock::getservbyname("http") == 80 && thinsock::getservbyport(80) == "http",
         "services");
  thinsock::getprotobyname("tcp");
  expect(!thinsock::if_nameindex().empty() && thinsock::if_nametoindex("lo") > 0, "interfaces");
}

void options() {
  Socket sk, datagram(AF_INET, SOCK_DGRAM);
  sk.set_nodelay();
  sk.set_keepalive(10s, 5s, 3);
  sk.set_linger(1s);
  sk.set_sendbuf(10000);
  sk.set_inheritable(true);
  datagram.set_broadcast();
  datagram.join_multicast("239.1.1.1", "127.0.0.1");
  datagram.set_multicast_interface("127.0.0.1");
  datagram.set_multicast_ttl(2);
  expect(sk.get_nodelay() && sk.get_keepalive() && sk.get_linger() == 1s && sk.get_inheritable() &&
             datagram.get_broadcast() && datagram.get_multicast_ttl() == 2,
         "options");
  expect(!sk.str().empty() && sk.proto() == IPPROTO_TCP, "str");
}

void happy_eyeballs() {
  Socket listener = patient(create_server({"127.0.0.1", 0}));
  const Socket one = create_connection({"localhost", listener.getsockname().port()}, 5s, {}, 10ms);
  patient(listener.accept().socket).close();
}

// --- servers ---

struct Echo : BaseRequestHandler {
  void handle() override {
    if (request.type() == SOCK_DGRAM) return reply(packet);
    request.sendall(request.recv(1024));
  }
};

struct LineEcho : StreamRequestHandler {
  void handle() override { wfile << rfile.readline(); }
};

std::string what(const std::exception_ptr& thrown) try {
  std::rethrow_exception(thrown);
} catch (const std::exception& exception) {
  return exception.what();
}

// Whether the server answers one client. Some requests may fail, but not all.
bool answers(const BaseServer& server) {
  for (int attempt = 0; attempt < 30; ++attempt) {
    try {
      Socket client(server.server_address.family(), server.socket_type());
      client.settimeout(100ms);
      if (client.family() == AF_UNIX && client.type() == SOCK_DGRAM) client.bind("");
      client.connect(server.server_address);
      client.sendall("x\n");
      if (client.recv(1) == "x") return true;
    } catch (const Error&) {
    }
  }
  return false;
}

void serve_forever(BaseServer& server, const std::stop_token&) { server.serve_forever(); }

void serve_in_a_scope(BaseServer& server, const std::stop_token&) {
  std::optional<CancelScope> scope;
  {
    const Spared spared;
    scope.emplace(5s);
  }
  server.serve_forever();
}

void with_actions(BaseServer& server, const std::stop_token&) { server.serve_forever(1ms); }

void by_handle_request(BaseServer& server, const std::stop_token& token) {
  while (!token.stop_requested()) server.handle_request();
}

template <class Server, class Handler = Echo>
void serve(AddressLike address, void (*loop)(BaseServer&, const std::stop_token&)) {
  struct Silent : Server {
    using Server::Server;
    ~Silent() override { this->server_close(); }
    void handle_error(Request&, const Address&) override {}
  } server(address, handler<Handler>,
           {.allow_reuse_address = true, .idle_timeout = 2s, .shutdown_timeout = 2s});
  std::exception_ptr failure;
  std::jthread serving;
  {
    const Spared spared;
    serving = std::jthread([&](const std::stop_token& token) {
      try {
        loop(server, token);
      } catch (...) {
        failure = std::current_exception();
      }
    });
  }
  bool fine = false;
  {
    const Spared spared;
    fine = answers(server) && answers(server) && answers(server);
    serving.request_stop();
    server.request_shutdown();
    serving.join();
  }
  // It throws if it cannot start its first thread.
  if (failure && what(failure).starts_with("thread:")) std::rethrow_exception(failure);
  if (failure) fail("serve_forever has ended: " + what(failure));
  expect(fine, "the server does not serve afterwards");
}

template <class Server, auto loop = serve_forever, class Handler = Echo>
void serve_tcp() {
  serve<Server, Handler>({"127.0.0.1", 0}, loop);
}
template <class Server>
void serve_all_addresses() {
  serve<Server>({"", 0}, serve_forever);
}
template <class Server>
void serve_unix() {
  const TemporaryPath temporary;
  serve<Server>(temporary.path, serve_forever);
}

// Gives its requests to the base class in other threads.
struct HandingOver : ThreadingTCPServer {
  using ThreadingTCPServer::ThreadingTCPServer;
  void process_request(Request& request, const Address& client) override {
    std::async(std::launch::async, [&] {
      ThreadingTCPServer::process_request(request, client);
    }).get();
  }
};

struct Scenario {
  std::string_view name;
  void (*run)();
};
constexpr Scenario kScenarios[] = {
    {"tcp", tcp},
    {"blocking", blocking},
    {"in_a_scope", in_a_scope},
    {"stopped", stopped},
    {"signalled", signalled},
    {"streams", streams},
    {"datagrams", datagrams},
    {"descriptors", descriptors},
    {"files", files},
    {"unix_path", unix_path},
    {"names", names},
    {"options", options},
    {"happy_eyeballs", happy_eyeballs},
    {"TCPServer", serve_tcp<TCPServer>},
    {"UDPServer", serve_tcp<UDPServer>},
    {"ThreadingTCPServer", serve_tcp<ThreadingTCPServer>},
    {"ThreadingUDPServer", serve_tcp<ThreadingUDPServer>},
    {"ForkingTCPServer", serve_tcp<ForkingTCPServer>},
    {"ForkingUDPServer", serve_tcp<ForkingUDPServer>},
    {"UnixStreamServer", serve_unix<UnixStreamServer>},
    {"ThreadingUnixStreamServer", serve_unix<ThreadingUnixStreamServer>},
    {"ForkingUnixStreamServer", serve_unix<ForkingUnixStreamServer>},
    {"UnixDatagramServer", serve_unix<UnixDatagramServer>},
    {"ThreadingUnixDatagramServer", serve_unix<ThreadingUnixDatagramServer>},
    {"TCPServer in a scope", serve_tcp<TCPServer, serve_in_a_scope>},
    {"ThreadingTCPServer in a scope", serve_tcp<ThreadingTCPServer, serve_in_a_scope>},
    {"ForkingTCPServer in a scope", serve_tcp<ForkingTCPServer, serve_in_a_scope>},
    {"ThreadingTCPServer with service_actions", serve_tcp<ThreadingTCPServer, with_actions>},
    {"TCPServer by handle_request", serve_tcp<TCPServer, by_handle_request>},
    {"ThreadingTCPServer by handle_request", serve_tcp<ThreadingTCPServer, by_handle_request>},
    {"ForkingTCPServer by handle_request", serve_tcp<ForkingTCPServer, by_handle_request>},
    {"UDPServer on all addresses", serve_all_addresses<UDPServer>},
    {"ThreadingUDPServer on all addresses", serve_all_addresses<ThreadingUDPServer>},
    {"ThreadingTCPServer of lines", serve_tcp<ThreadingTCPServer, serve_forever, LineEcho>},
    {"ForkingTCPServer of lines", serve_tcp<ForkingTCPServer, serve_forever, LineEcho>},
    {"ThreadingTCPServer that hands over", serve_tcp<HandingOver>},
};

// --- cases ---

long entries_of(const char* folder) {
  return std::distance(std::filesystem::directory_iterator(folder), {});
}

bool one_thread_is_left() {
  for (int i = 0; i < 1000 && entries_of("/proc/self/task") > 1; ++i)
    std::this_thread::sleep_for(1ms);  // A joined thread may be listed for a moment.
  return entries_of("/proc/self/task") == 1;
}

// Runs the scenario while a call fails. Returns what is wrong, or nothing.
std::string problem_of(const Scenario& scenario, bool must_succeed,
                       const std::function<void()>& arm) try {
  const long before = entries_of("/proc/self/fd");
  std::string error;
  // In a thread, because a scope's descriptor belongs to its thread.
  std::thread([&] {
    arm();
    try {
      scenario.run();
    } catch (const std::logic_error& wrong) {
      error = wrong.what();
    } catch (const std::exception& refused) {
      if (must_succeed) error = std::string("noticed: ") + refused.what();
    }
    torture::stop();
  }).join();
  if (!error.empty()) return error;
  if (entries_of("/proc/self/fd") != before) return "a descriptor is left";
  if (!one_thread_is_left()) return "a thread is left";
  if (::waitpid(-1, nullptr, WNOHANG) != -1) return "a child is left";
  return "";
} catch (const std::exception& exception) {
  return std::string("unexpected: ") + exception.what();
}

// The same in a process of its own.
std::string run_apart(const Scenario& scenario, bool must_succeed,
                      const std::function<void()>& arm) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return "pipe2";
  const Descriptor reading(ends[0]);
  Descriptor writing(ends[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(kHung);
    const std::string problem = problem_of(scenario, must_succeed, arm);
    [[maybe_unused]] const auto written = ::write(writing.fileno(), problem.data(), problem.size());
    ::_exit(problem.empty() ? 0 : 1);
  }
  const Spared spared;
  writing.close();
  std::string problem;
  char buffer[500];
  for (long size; (size = ::read(reading.fileno(), buffer, sizeof buffer)) > 0;)
    problem.append(buffer, static_cast<std::size_t>(size));
  int status = 0;
  ::waitpid(child, &status, 0);
  torture::stop();
  if (WIFSIGNALED(status)) {
    return WTERMSIG(status) == SIGALRM ? "hangs"
                                       : "ended by signal " + std::to_string(WTERMSIG(status));
  }
  return status == 0 || !problem.empty() ? problem : "ended with a status";
}

struct Totals {
  int calls = 0, errors = 0, cases = 0, failed = 0;
};

// All cases of one scenario.
void torment(const Scenario& scenario, Totals& totals) {
  const std::string problem = run_apart(scenario, true, torture::count);
  if (!problem.empty()) {
    std::printf("%s, without any fault: %s\n", scenario.name.data(), problem.c_str());
    ++totals.failed;
    return;
  }
  const std::vector<int> counts = torture::counted();
  const int before = totals.cases;
  for (std::size_t call = 0; call < counts.size(); ++call) {
    const auto& [name, errors, waits_after_again] = torture::calls()[call];
    totals.calls += counts[call];
    for (const int error : errors) {
      if (error == 0) break;
      const bool must_succeed = error == EINTR || (error == EAGAIN && waits_after_again);
      totals.errors += counts[call];
      for (int number = 1; number <= counts[call]; ++number) {
        for (const int times : {1, 4}) {
          const std::string wrong =
              run_apart(scenario, must_succeed, [&] { torture::fail(call, number, times, error); });
          ++totals.cases;
          if (wrong.empty()) continue;
          ++totals.failed;
          std::printf("%s: %s %d fails %d times with %d: %s\n", scenario.name.data(), name, number,
                      times, error, wrong.c_str());
        }
      }
    }
  }
  std::printf("%s: %d cases\n", scenario.name.data(), totals.cases - before);
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const std::vector<std::string_view> chosen(argv + 1, argv + argc);
  constexpr std::size_t kSize = std::size(kScenarios) * sizeof(Totals);
  void* memory = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  const std::span totals(static_cast<Totals*>(memory), std::size(kScenarios));
  int running = 0;
  for (std::size_t i = 0; i < std::size(kScenarios); ++i) {
    if (!chosen.empty() && std::ranges::count(chosen, kScenarios[i].name) == 0) continue;
    if (running == kAtOnce) {
      ::wait(nullptr);
      --running;
    }
    totals[i].failed = 1;  // Unless the process gets to its end.
    const pid_t child = ::fork();
    ++running;
    if (child == 0) {
      torture::set_up();
      totals[i].failed = 0;
      torment(kScenarios[i], totals[i]);
      std::_Exit(0);
    }
  }
  while (::wait(nullptr) != -1) continue;
  Totals all;
  for (const Totals& each : totals) {
    all.calls += each.calls;
    all.errors += each.errors;
    all.cases += each.cases;
    all.failed += each.failed;
  }
  std::printf("%d calls, %d errors of them, once and four times = %d cases, %d ok\n", all.calls,
              all.errors, all.cases, all.cases - all.failed);
  return all.failed == 0 ? 0 : 1;
}
