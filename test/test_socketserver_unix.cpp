// Servers on Unix paths: when a server removes its path, and when it may replace another one.
#include <sys/wait.h>

#include <barrier>
#include <fstream>
#include <future>
#include <latch>
#include <optional>

#include "handlers.hpp"

using namespace test;
using std::errc;
using std::filesystem::path;
using thinsock::Error;
using thinsock::ForkingUnixStreamServer;
using thinsock::TCPServer;
using thinsock::ThreadingUnixStreamServer;
using thinsock::UDPServer;
using thinsock::UnixDatagramServer;
using thinsock::UnixStreamServer;

namespace {

namespace fs = std::filesystem;

const ServerOptions kReplacing{.replace_stale_path = true, .timeout = kPatience};
const Code kInUse(errc::address_in_use);

bool is_socket(const std::string& name) {
  return fs::symlink_status(name).type() == fs::file_type::socket;
}

// Leaves the socket file of a server that ended without removing it.
void leave_stale(const std::string& name, int type = SOCK_STREAM) {
  Socket sk(AF_UNIX, type);
  sk.bind(name);
  if (type == SOCK_STREAM) sk.listen();
}

Socket client_at(const AddressLike& name, int type = SOCK_STREAM) {
  Socket sk = patient(Socket(AF_UNIX, type));
  sk.connect(name);
  return sk;
}

// Whether a client that connects to this name reaches this server, and not another one.
bool is_reached(UnixStreamServer& server, const std::string& name) {
  const Socket client = client_at(name);
  std::error_code error;
  server.socket.settimeout(0s);
  return server.socket.accept(error).socket.fileno() != -1;
}

// Changes the working directory until the end of the scope.
class WorkingIn {
 public:
  explicit WorkingIn(const path& directory) { fs::current_path(directory); }
  WorkingIn(const WorkingIn&) = delete;
  ~WorkingIn() { fs::current_path(before_); }

 private:
  path before_ = fs::current_path();
};

// Eight threads try to get the path at once, and those that get it keep it until all have tried.
// Returns how many got it. The first `modest` threads do not replace a stale path.
int winners(const std::string& name, int modest) {
  std::barrier start(8);
  std::latch tried(8);
  std::atomic<int> count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, options = i < modest ? kOptions : kReplacing] {
      std::optional<UnixStreamServer> server;
      start.arrive_and_wait();
      const auto error = code_of([&] { server.emplace(name, kNothing, options); });
      if (error != errc::address_in_use) ++count;
      tried.arrive_and_wait();
    });
  }
  for (std::thread& thread : threads) thread.join();
  return count;
}

// The same with processes: each sends '+' or '-', and keeps the path until it receives a byte.
int winning_processes(const std::string& name) {
  std::vector<Pair> pipes;
  std::vector<pid_t> children;
  for (int i = 0; i < 8; ++i) {
    pipes.push_back(unix_pair());
    children.push_back(::fork());
    if (children.back() != 0) continue;
    ::alarm(30);
    std::optional<UnixStreamServer> server;
    Socket& parent = pipes.back().server;
    const std::string started = parent.recv(1);
    const auto error = code_of([&] { server.emplace(name, kNothing, kReplacing); });
    parent.send(error == errc::address_in_use ? "-" : "+");
    parent.recv(1);
    ::_exit(0);
  }
  for (Pair& pipe : pipes) pipe.client.send("x");
  int count = 0;
  for (Pair& pipe : pipes) count += pipe.client.recv(1) == "+";
  for (Pair& pipe : pipes) pipe.client.send("x");
  for (const pid_t child : children) REQUIRE(::waitpid(child, nullptr, 0) == child);
  return count;
}

}  // namespace

TEMPLATE_TEST_CASE("the path is removed when a server is closed", "[socketserver][server_close]",
                   UnixStreamServer, UnixDatagramServer, ThreadingUnixStreamServer,
                   ForkingUnixStreamServer) {
  const TempDir dir;
  TestType server(dir / "s", kNothing);
  REQUIRE(is_socket(dir / "s"));
  server.server_close();
  REQUIRE_FALSE(fs::exists(dir / "s"));
}

TEMPLATE_TEST_CASE("the path is removed with a server", "[socketserver]", UnixStreamServer,
                   UnixDatagramServer, ThreadingUnixStreamServer, ForkingUnixStreamServer) {
  const TempDir dir;
  { const TestType server(dir / "s", kNothing); }
  REQUIRE_FALSE(fs::exists(dir / "s"));
}

TEST_CASE("a path that another server has now stays", "[socketserver]") {
  const TempDir dir;
  std::optional<UnixStreamServer> first(std::in_place, dir / "s", kNothing);
  const bool closed_before = GENERATE(true, false);
  if (closed_before)
    first->server_close();
  else
    fs::remove(dir / "s");
  UnixStreamServer second(dir / "s", kNothing);
  first.reset();
  REQUIRE(is_reached(second, dir / "s"));
}

TEST_CASE("a path that is something else now stays", "[socketserver]") {
  const TempDir dir;
  std::optional<UnixStreamServer> server(std::in_place, dir / "s", kNothing);
  fs::rename(dir / "s", dir / "moved");
  SECTION("a file") { std::ofstream(dir / "s") << "text"; }
  SECTION("a directory") { fs::create_directory(dir / "s"); }
  SECTION("a symlink to the server's own socket") { fs::create_symlink("moved", dir / "s"); }
  SECTION("another socket") { leave_stale(dir / "s"); }
  const fs::file_type type = fs::symlink_status(dir / "s").type();
  server.reset();
  REQUIRE(fs::symlink_status(dir / "s").type() == type);
  REQUIRE(is_socket(dir / "moved"));
}

TEST_CASE("a server may be closed whose path is gone", "[socketserver][server_close]") {
  auto dir = std::make_unique<TempDir>();
  UnixStreamServer server(*dir / "s", kNothing);
  dir.reset();
  REQUIRE_NOTHROW(server.server_close());
}

// The absolute path is too long for the kernel's socket names.
TEST_CASE("a relative path is removed from elsewhere too", "[socketserver]") {
  const TempDir dir;
  const path deep = dir / std::string(150, 'd').c_str();
  fs::create_directory(deep);
  std::optional<UnixDatagramServer> server;
  {
    const WorkingIn here(deep);
    server.emplace("s", kNothing);
  }
  const WorkingIn elsewhere(dir / "");
  leave_stale("s");
  REQUIRE(is_socket(deep / "s"));
  server.reset();
  REQUIRE_FALSE(fs::exists(deep / "s"));
  REQUIRE(is_socket("s"));
}

TEST_CASE("an abstract name is served, and free when the server is closed", "[socketserver]") {
  std::string name("\0thinsock test ", 15);
  name += std::to_string(::getpid());
  const bool chosen_by_kernel = GENERATE(true, false);
  UnixStreamServer server(chosen_by_kernel ? std::string() : name, kNothing, kReplacing);
  const Address address = server.server_address;
  REQUIRE(address.path().front() == '\0');
  REQUIRE(is_reached(server, std::string(address.path())));
  REQUIRE_THROWS_MATCHES(UnixStreamServer(address, kNothing, kReplacing), Error, kInUse);
  server.server_close();
  REQUIRE_NOTHROW(UnixStreamServer(address, kNothing));
}

TEST_CASE("a stale path is in use unless it may be replaced", "[socketserver]") {
  const TempDir dir;
  const int type = GENERATE(SOCK_STREAM, SOCK_DGRAM);
  leave_stale(dir / "s", type);
  REQUIRE_THROWS_MATCHES(UnixStreamServer(dir / "s", kNothing), Error, kInUse);
  REQUIRE_THROWS_MATCHES(UnixDatagramServer(dir / "s", kNothing), Error, kInUse);
  REQUIRE(is_socket(dir / "s"));
}

TEST_CASE("replace_stale_path takes the path of a closed socket", "[socketserver]") {
  const TempDir dir;
  leave_stale(dir / "stream");
  leave_stale(dir / "datagram", SOCK_DGRAM);
  UnixStreamServer stream(dir / "stream", kNothing, kReplacing);
  UnixDatagramServer datagram(dir / "datagram", kNothing, kReplacing);
  REQUIRE(is_reached(stream, dir / "stream"));
  REQUIRE_NOTHROW(client_at(dir / "datagram", SOCK_DGRAM));
  stream.server_close();
  REQUIRE_FALSE(fs::exists(dir / "stream"));
}

TEST_CASE("replace_stale_path takes the path of a killed server", "[socketserver]") {
  const TempDir dir;
  Pair pipe = unix_pair();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(30);
    UnixStreamServer server(dir / "s", kNothing);
    pipe.server.send("x");
    for (;;) ::pause();
  }
  REQUIRE(pipe.client.recv(1) == "x");
  REQUIRE_THROWS_MATCHES(UnixStreamServer(dir / "s", kNothing, kReplacing), Error, kInUse);
  ::kill(child, SIGKILL);
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  UnixStreamServer server(dir / "s", kNothing, kReplacing);
  REQUIRE(is_reached(server, dir / "s"));
}

TEST_CASE("replace_stale_path leaves a live server its path", "[socketserver]") {
  const TempDir dir;
  UnixStreamServer stream(dir / "stream", kNothing, kOptions);
  UnixDatagramServer datagram(dir / "datagram", kNothing);
  for (const std::string& name : {dir / "stream", dir / "datagram"}) {
    CHECK_THROWS_MATCHES(UnixStreamServer(name, kNothing, kReplacing), Error, kInUse);
    CHECK_THROWS_MATCHES(UnixDatagramServer(name, kNothing, kReplacing), Error, kInUse);
  }
  stream.handle_request();  // Accepts the connection by which a server checked that this one lives.
  REQUIRE(is_reached(stream, dir / "stream"));
  REQUIRE_NOTHROW(client_at(dir / "datagram", SOCK_DGRAM));
}

TEST_CASE("replace_stale_path leaves a busy server its path", "[socketserver]") {
  const TempDir dir;
  SECTION("a stream's full backlog") {
    const FullListener full(dir / "s", AF_UNIX);
    REQUIRE_THROWS_MATCHES(UnixStreamServer(dir / "s", kNothing, kReplacing), Error, kInUse);
  }
  SECTION("a full queue of datagrams") {
    Socket sk(AF_UNIX, SOCK_DGRAM);
    sk.bind(dir / "s");
    Socket client = client_at(dir / "s", SOCK_DGRAM);
    for (std::error_code error; !error;) client.send("x", MSG_DONTWAIT, error);
    REQUIRE_THROWS_MATCHES(UnixDatagramServer(dir / "s", kNothing, kReplacing), Error, kInUse);
  }
  SECTION("datagrams of another peer alone") {
    Socket sk(AF_UNIX, SOCK_DGRAM), peer = named_socket(AF_UNIX);
    sk.bind(dir / "s");
    sk.connect(peer.getsockname());
    REQUIRE_THROWS_MATCHES(UnixDatagramServer(dir / "s", kNothing, kReplacing), Error, kInUse);
  }
  SECTION("neither a stream nor datagrams") {
    Socket sk(AF_UNIX, SOCK_SEQPACKET);
    sk.bind(dir / "s");
    sk.listen();
    REQUIRE_THROWS_MATCHES(UnixStreamServer(dir / "s", kNothing, kReplacing), Error, kInUse);
  }
  REQUIRE(is_socket(dir / "s"));
}

TEST_CASE("replace_stale_path leaves what is no socket", "[socketserver]") {
  const TempDir dir;
  leave_stale(dir / "stale");
  SECTION("a file") { std::ofstream(dir / "s") << "text"; }
  SECTION("a directory") { fs::create_directory(dir / "s"); }
  SECTION("a symlink to nothing") { fs::create_symlink("nothing", dir / "s"); }
  SECTION("a symlink to a stale socket") { fs::create_symlink("stale", dir / "s"); }
  const fs::file_type type = fs::symlink_status(dir / "s").type();
  REQUIRE_THROWS_MATCHES(UnixStreamServer(dir / "s", kNothing, kReplacing), Error, kInUse);
  REQUIRE(fs::symlink_status(dir / "s").type() == type);
  REQUIRE(is_socket(dir / "stale"));
}

TEST_CASE("replace_stale_path needs nothing to be replaced", "[socketserver]") {
  const TempDir dir;
  UnixStreamServer server(dir / "s", kNothing, kReplacing);
  REQUIRE(is_reached(server, dir / "s"));
}

TEST_CASE("of many threads that replace a stale path one gets it", "[socketserver][threads]") {
  const TempDir dir;
  for (int i = 0; i < 100; ++i) {
    leave_stale(dir / "s");
    REQUIRE(winners(dir / "s", 0) == 1);
    REQUIRE_FALSE(fs::exists(dir / "s"));
  }
}

TEST_CASE("a server that is being started is not taken for stale", "[socketserver][threads]") {
  const TempDir dir;
  for (int i = 0; i < 100; ++i) REQUIRE(winners(dir / "s", 4) == 1);
}

TEST_CASE("of many processes that replace a stale path one gets it", "[socketserver]") {
  const TempDir dir;
  leave_stale(dir / "s");
  // Each winner ends without removing its path, so that the next round finds it stale.
  for (int i = 0; i < 20; ++i) REQUIRE(winning_processes(dir / "s") == 1);
}

// The kernel may give the new socket file the inode number of the old one.
TEST_CASE("a server that is being closed leaves its successor's path", "[socketserver][threads]") {
  const TempDir dir;
  for (int i = 0; i < 300; ++i) {
    UnixStreamServer old(dir / "s", kNothing);
    std::optional<UnixStreamServer> successor;
    auto succeeds = std::async(std::launch::async, [&] {
      return eventually(
          [&] { return !code_of([&] { successor.emplace(dir / "s", kNothing, kReplacing); }); });
    });
    old.server_close();
    REQUIRE(succeeds.get());
    REQUIRE(is_socket(dir / "s"));
  }
}

TEST_CASE("an address of the wrong kind is an invalid argument", "[socketserver]") {
  using Wrong = std::invalid_argument;
  const AddressLike host("127.0.0.1", 0);
  const Address ipv6("::1", 0), name("/tmp/s");
  CHECK_THROWS_AS(TCPServer("/tmp/s", kNothing), Wrong);
  CHECK_THROWS_AS(TCPServer(name, kNothing), Wrong);
  CHECK_THROWS_AS(UDPServer("/tmp/s", kNothing), Wrong);
  CHECK_THROWS_AS(UDPServer(name, kNothing), Wrong);
  CHECK_THROWS_AS(UnixStreamServer(host, kNothing), Wrong);
  CHECK_THROWS_AS(UnixStreamServer(ipv6, kNothing), Wrong);
  CHECK_THROWS_AS(UnixDatagramServer(host, kNothing), Wrong);
  CHECK_THROWS_AS(UnixDatagramServer(ipv6, kNothing), Wrong);
  CHECK_THROWS_AS(UnixStreamServer(AddressLike(), kNothing), Wrong);
}

TEST_CASE("a server that fails to be activated leaves no path", "[socketserver]") {
  struct Failing : UnixStreamServer {
    explicit Failing(const std::string& name)
        : UnixStreamServer(name, kNothing, {.bind_and_activate = false}) {
      server_bind();
      server_activate();
    }
    void server_activate() override { throw std::runtime_error("not today"); }
  };
  const TempDir dir;
  REQUIRE_THROWS_WITH(Failing(dir / "s"), "not today");
  REQUIRE_FALSE(fs::exists(dir / "s"));
}

TEST_CASE("a Unix client has an address if it has a name", "[socketserver]") {
  const TempDir dir;
  Address seen("127.0.0.1", 1);
  UnixStreamServer server(
      dir / "s", [&](Socket&, const Address& client) { seen = client; }, kOptions);
  const Socket unnamed = client_at(dir / "s");
  server.handle_request();
  REQUIRE(seen.path().empty());
  Socket named = patient(Socket(AF_UNIX));
  named.bind(dir / "client");
  named.connect(dir / "s");
  server.handle_request();
  REQUIRE(seen == Address(dir / "client"));
}
