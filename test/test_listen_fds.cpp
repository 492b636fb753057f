// listen_fds: the sockets that a supervisor passes to a service, from descriptor 3 on. Here the
// service is a child process.
#include "thinsock/listen_fds.hpp"

#include <cstdlib>

#include "child.hpp"

using namespace test;
using std::errc;
using thinsock::Error;
using thinsock::listen_fds;
using thinsock::ListenFd;

namespace {

// Expects listen_fds to throw an Error of this code, with the text in its what().
void expect_error(errc code, const std::string& text = "", int line = __builtin_LINE()) {
  try {
    listen_fds();
  } catch (const Error& error) {
    const std::string what = error.what();
    return expect(error.code() == code && what.find(text) != what.npos, what, line);
  }
  expect(false, "without an Error", line);
}

struct Variables {
  const char* fds = nullptr;
  const char* names = nullptr;
  const char* pid = nullptr;  // If null, the id of the child process.
};

// Moves the descriptors to 3, 4, … without close-on-exec, and closes all others.
void arrange(const std::vector<int>& passed) {
  constexpr int kAside = 200;
  std::vector<int> aside;
  for (const int fd : passed) aside.push_back(::fcntl(fd, F_DUPFD, kAside));
  for (int fd = 3; fd < kAside; ++fd) ::close(fd);
  for (std::size_t i = 0; i < aside.size(); ++i) {
    ::dup2(aside[i], 3 + static_cast<int>(i));
    ::close(aside[i]);
  }
}

void set(const char* variable, const char* value) {
  value != nullptr ? ::setenv(variable, value, 1) : ::unsetenv(variable);
}

// Calls body in a child process to which these descriptors and variables were passed.
void in_service(const std::vector<int>& passed, const Variables& variables,
                const std::function<void()>& body) {
  in_child([&] {
    arrange(passed);
    set("LISTEN_FDS", variables.fds);
    set("LISTEN_FDNAMES", variables.names);
    set("LISTEN_PID", variables.pid ? variables.pid : std::to_string(::getpid()).c_str());
    body();
  });
}

void expect_no_variables() {
  for (const char* variable : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) {
    expect(std::getenv(variable) == nullptr, variable);
  }
}

}  // namespace

TEST_CASE("listen_fds gives the sockets in order with their names", "[listen_fds]") {
  const Socket first = listener(), second = listener(AF_INET6);
  in_service({first.fileno(), second.fileno()}, {"2", "web:admin"}, [&] {
    const std::vector<ListenFd> fds = listen_fds();
    expect(fds.size() == 2);
    expect(fds[0].name == "web" && fds[1].name == "admin");
    expect(fds[0].socket.fileno() == 3 && fds[1].socket.fileno() == 4);
    expect(fds[0].socket.getsockname() == first.getsockname());
    expect(fds[1].socket.getsockname() == second.getsockname());
    expect(fds[1].socket.family() == AF_INET6);
  });
}

TEST_CASE("a passed socket without a name is unknown", "[listen_fds]") {
  const Socket first = listener(), second = listener();
  const char* names = GENERATE(as<const char*>{}, nullptr, "", "web", "web:");
  in_service({first.fileno(), second.fileno()}, {"2", names}, [=] {
    const std::vector<ListenFd> fds = listen_fds();
    const bool named = names != nullptr && *names != '\0';
    expect(fds.at(0).name == (named ? "web" : "unknown"), fds.at(0).name);
    expect(fds.at(1).name == "unknown", fds.at(1).name);
  });
}

TEST_CASE("names for more sockets than were passed do no harm", "[listen_fds]") {
  const Socket lst = listener();
  in_service({lst.fileno()}, {"1", "web:admin:::"}, [] {
    const std::vector<ListenFd> fds = listen_fds();
    expect(fds.size() == 1 && fds[0].name == "web");
  });
}

TEST_CASE("passed sockets are close-on-exec from then on", "[listen_fds]") {
  const Socket lst = listener();
  in_service({lst.fileno()}, {"1"}, [] {
    expect(::fcntl(3, F_GETFD) == 0);
    const std::vector<ListenFd> fds = listen_fds();
    expect(::fcntl(3, F_GETFD) == FD_CLOEXEC);
  });
}

TEST_CASE("passed sockets are owned from then on", "[listen_fds]") {
  const Socket lst = listener();
  in_service({lst.fileno()}, {"1"}, [] {
    listen_fds();
    expect(!is_open(3));
  });
}

TEST_CASE("a passed listener accepts who came before", "[listen_fds]") {
  const TempDir dir;
  const Socket lst = GENERATE(0, 1) == 0 ? listener() : thinsock::create_server(dir / "socket");
  Socket client = patient(Socket(lst.family()));
  client.connect(lst.getsockname());
  client.sendall("hello");
  in_service({lst.fileno()}, {"1"}, [] {
    std::vector<ListenFd> fds = listen_fds();
    fds.at(0).socket.settimeout(kPatience);
    Socket server = patient(fds[0].socket.accept().socket);
    expect(server.recv_exactly(5) == "hello");
    server.sendall("there");
  });
  REQUIRE(client.recv_exactly(5) == "there");
}

TEST_CASE("each of two passed listeners serves its own clients", "[listen_fds]") {
  const Socket web = listener(), admin = listener();
  Socket user = patient(Socket()), keeper = patient(Socket());
  keeper.connect(admin.getsockname());
  user.connect(web.getsockname());
  in_service({web.fileno(), admin.fileno()}, {"2", "web:admin"}, [] {
    for (ListenFd& passed : listen_fds()) {
      passed.socket.settimeout(kPatience);
      patient(passed.socket.accept().socket).sendall(passed.name);
    }
  });
  REQUIRE(user.recv(9) == "web");
  REQUIRE(keeper.recv(9) == "admin");
}

TEST_CASE("a passed datagram socket receives", "[listen_fds]") {
  Socket udp = named_socket();
  named_socket().sendto("hello", udp.getsockname());
  in_service({udp.fileno()}, {"1", "dns"}, [] {
    std::vector<ListenFd> fds = listen_fds();
    expect(fds.at(0).socket.type() == SOCK_DGRAM);
    fds[0].socket.settimeout(kPatience);
    expect(fds[0].socket.recv(9) == "hello");
  });
}

TEST_CASE("a passed listener keeps its non-blocking mode", "[listen_fds]") {
  Socket lst = listener();
  const bool blocking = GENERATE(true, false);
  lst.setblocking(blocking);
  in_service({lst.fileno()}, {"1"},
             [=] { expect(listen_fds().at(0).socket.getblocking() == blocking); });
}

TEST_CASE("a second listen_fds gives none and leaves the first ones open", "[listen_fds]") {
  const Socket lst = listener();
  in_service({lst.fileno()}, {"1", "web"}, [] {
    const std::vector<ListenFd> fds = listen_fds();
    expect(fds.size() == 1);
    expect_no_variables();
    expect(listen_fds().empty());
    expect(is_open(3));
  });
}

TEST_CASE("what is meant for another process is not taken", "[listen_fds]") {
  const Socket lst = listener();
  const char* pid = GENERATE(as<const char*>{}, "1", "0", "", "-1", "abc", "99999999999", " 1 ");
  in_service({lst.fileno()}, {"1", "web", pid}, [] {
    expect(listen_fds().empty());
    expect_no_variables();
    expect(::fcntl(3, F_GETFD) == 0);
  });
}

TEST_CASE("a LISTEN_PID with something behind it is another one", "[listen_fds]") {
  const Socket lst = listener();
  const char* rest = GENERATE(as<const char*>{}, " ", "x", "0", ".0");
  in_service({lst.fileno()}, {"1"}, [=] {
    ::setenv("LISTEN_PID", (std::to_string(::getpid()) + rest).c_str(), 1);
    expect(listen_fds().empty());
    expect(::fcntl(3, F_GETFD) == 0);
  });
}

TEST_CASE("without the variables there are no sockets", "[listen_fds]") {
  const Socket lst = listener();
  in_service({lst.fileno()}, {}, [] {
    expect(listen_fds().empty());
    ::setenv("LISTEN_FDS", "1", 1);  // LISTEN_PID is not set.
    expect(listen_fds().empty());
    expect(::fcntl(3, F_GETFD) == 0);
  });
}

TEST_CASE("a LISTEN_FDS of nothing or zero gives none", "[listen_fds]") {
  const Socket lst = listener();
  const char* count = GENERATE(as<const char*>{}, "", "0");
  in_service({lst.fileno()}, {count, "web"}, [] {
    expect(listen_fds().empty());
    expect_no_variables();
    expect(::fcntl(3, F_GETFD) == 0);
  });
}

TEST_CASE("a LISTEN_FDS that makes no sense is EINVAL", "[listen_fds]") {
  const Socket lst = listener();
  const char* count =
      GENERATE(as<const char*>{}, "-1", "abc", "1x", " 1", "+1", "1.0", "2147483645", "2147483647",
               "2147483648", "99999999999", "99999999999999999999");
  in_service({lst.fileno()}, {count}, [=] {
    expect_error(errc::invalid_argument, count);
    expect_no_variables();
    expect(is_open(3));
    expect(listen_fds().empty());
  });
}

TEST_CASE("a descriptor that is not open is EBADF, and those before it are closed",
          "[listen_fds]") {
  const Socket lst = listener();
  const char* count = GENERATE(as<const char*>{}, "2", "1000", "2147483644");
  in_service({lst.fileno()}, {count}, [] {
    expect_error(errc::bad_file_descriptor);
    expect(!is_open(3));
    expect_no_variables();
  });
}

TEST_CASE("a descriptor that is no socket is ENOTSOCK, and those before it are closed",
          "[listen_fds]") {
  const Socket lst = listener();
  int pipe[2];
  REQUIRE(::pipe2(pipe, O_CLOEXEC) == 0);
  in_service({lst.fileno(), pipe[0], lst.fileno()}, {"3"}, [] {
    expect_error(errc::not_a_socket);
    expect(!is_open(3));
    expect(is_open(4) && is_open(5));
  });
  ::close(pipe[0]);
  ::close(pipe[1]);
}

TEST_CASE("a stream socket that does not listen is EINVAL, and those before it are closed",
          "[listen_fds]") {
  const Socket lst = listener();
  const Pair connected = GENERATE(true, false) ? tcp_pair() : unix_pair();
  in_service({lst.fileno(), connected.server.fileno(), lst.fileno()}, {"3"}, [] {
    expect_error(errc::invalid_argument, "4");
    expect(!is_open(3));
    expect(is_open(5));
  });
}

TEST_CASE("after a failure listen_fds can be called again", "[listen_fds]") {
  const Socket lst = listener();
  in_service({lst.fileno()}, {"-1"}, [] {
    expect_error(errc::invalid_argument);
    ::setenv("LISTEN_FDS", "1", 1);
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    expect(listen_fds().size() == 1);
  });
}
