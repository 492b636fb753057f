// Socket::sendfile: what it sends, how much a failed call has sent, and what it leaves unchanged.
#include <fcntl.h>

#include <csignal>
#include <fstream>
#include <future>
#include <string_view>

#include "support.hpp"
#include "thinsock/message.hpp"

using namespace test;
using std::errc;
using thinsock::Descriptor;
using thinsock::Error;
using thinsock::TimeoutError;

namespace {

// More than the buffers of any socket hold.
const std::string& big_text() {
  static const std::string text = pattern(8 << 20);
  return text;
}

// A file that holds the text, removed at the end of the scope.
class File {
 public:
  explicit File(std::string_view text, int mode = O_RDONLY) {
    std::ofstream(name_) << text;
    fd_ = Descriptor(::open(name_.c_str(), mode | O_CLOEXEC));
    REQUIRE(fd_.fileno() != -1);
  }
  operator int() const { return fd_.fileno(); }

 private:
  TempDir dir_;
  std::string name_ = dir_ / "file";
  Descriptor fd_;
};

// Closes the client, and returns what the server has received.
std::string received(Pair& pair) {
  pair.client.close();
  return rest_of(pair.server);
}

// Receives in another thread until the end of file, so that more can be sent than the buffers hold.
// That thread then closes the server's end.
std::future<std::string> receive_all(Pair& pair) {
  return std::async(std::launch::async, [server = std::move(pair.server)]() mutable {
    Socket reader = std::move(server);
    return rest_of(reader);
  });
}

struct Pipe {
  Pipe() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    read_end = Descriptor(ends[0]);
    write_end = Descriptor(ends[1]);
  }
  void write(std::string_view text) {
    REQUIRE(::write(write_end.fileno(), text.data(), text.size()) ==
            static_cast<ssize_t>(text.size()));
  }
  Descriptor read_end;
  Descriptor write_end;
};

// Closes the server's end, a TCP socket with a reset, and waits until the client's end is told.
void abort(Pair& pair) {
  const linger at_once{1, 0};
  pair.server.setsockopt(SOL_SOCKET, SO_LINGER, {&at_once, sizeof at_once});
  pair.server.close();
  wait_for(pair.client, 0);
}

// Returns the failure of a sendfile that must not succeed.
template <class Failure = Error>
Failure failed_sendfile(Socket& sk, int file) {
  try {
    sk.sendfile(file);
  } catch (const Failure& failure) {
    return failure;
  }
  FAIL("sendfile did not fail");
  throw std::logic_error("not reached");
}

bool peer_is_gone(const Error& error) {
  return error.code() == errc::broken_pipe || error.code() == errc::connection_reset;
}

sigset_t set_of(int signal) {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, signal);
  return set;
}

bool is_blocked(int signal) {
  sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return ::sigismember(&mask, signal);
}

bool is_pending(int signal) {
  sigset_t pending;
  ::sigpending(&pending);
  return ::sigismember(&pending, signal);
}

// Blocks a signal in this thread until the end of the scope, and then discards it if it is pending.
class Blocked {
 public:
  explicit Blocked(int signal) : set_(set_of(signal)) {
    ::pthread_sigmask(SIG_BLOCK, &set_, &before_);
  }
  Blocked(const Blocked&) = delete;
  Blocked& operator=(const Blocked&) = delete;
  ~Blocked() {
    const timespec at_once{};
    ::sigtimedwait(&set_, nullptr, &at_once);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t set_;
  sigset_t before_;
};

}  // namespace

TEST_CASE("sendfile sends the whole file and returns its size", "[socket][sendfile]") {
  Pair pair = stream_pair();
  REQUIRE(pair.client.sendfile(File("0123456789")) == 10);
  REQUIRE(received(pair) == "0123456789");
}

TEST_CASE("sendfile sends the part it is asked for", "[socket][sendfile]") {
  Pair pair = stream_pair();
  const File file("0123456789");
  SECTION("from an offset") {
    REQUIRE(pair.client.sendfile(file, 4) == 6);
    REQUIRE(received(pair) == "456789");
  }
  SECTION("count bytes") {
    REQUIRE(pair.client.sendfile(file, 0, 3) == 3);
    REQUIRE(received(pair) == "012");
  }
  SECTION("count bytes from an offset") {
    REQUIRE(pair.client.sendfile(file, 4, 3) == 3);
    REQUIRE(received(pair) == "456");
  }
  SECTION("to the end where count goes beyond it") {
    REQUIRE(pair.client.sendfile(file, 8, 1 << 20) == 2);
    REQUIRE(received(pair) == "89");
  }
}

TEST_CASE("sendfile sends nothing where there is nothing", "[socket][sendfile]") {
  Pair pair = stream_pair();
  SECTION("an empty file") { REQUIRE(pair.client.sendfile(File("")) == 0); }
  SECTION("a count of zero") { REQUIRE(pair.client.sendfile(File("0123"), 0, 0) == 0); }
  SECTION("an offset at the end") { REQUIRE(pair.client.sendfile(File("0123"), 4) == 0); }
  SECTION("an offset beyond the end") { REQUIRE(pair.client.sendfile(File("0123"), 1 << 20) == 0); }
  REQUIRE(received(pair).empty());
}

TEST_CASE("sendfile neither heeds nor moves the file's position", "[socket][sendfile]") {
  Pair pair = stream_pair();
  const File file("0123456789");
  REQUIRE(::lseek(file, 7, SEEK_SET) == 7);
  REQUIRE(pair.client.sendfile(file, 2, 3) == 3);
  REQUIRE(::lseek(file, 0, SEEK_CUR) == 7);
  REQUIRE(received(pair) == "234");
}

TEST_CASE("sendfile delivers more than the buffers hold, byte for byte", "[socket][sendfile]") {
  Pair pair = stream_pair();
  const File file(big_text());
  if (GENERATE(false, true)) pair.client.settimeout(std::nullopt);
  std::optional<Interrupter> interrupter;
  SECTION("undisturbed") {}
  SECTION("despite signals") { interrupter.emplace(); }
  auto reader = receive_all(pair);
  REQUIRE(pair.client.sendfile(file) == big_text().size());
  pair.client.close();
  REQUIRE(reader.get() == big_text());
}

TEST_CASE("sendfile waits until the timeout and tells how much has gone",
          "[socket][sendfile][timeout]") {
  Pair pair = stream_pair();
  const File file(big_text());
  pair.client.settimeout(300ms);
  std::optional<Interrupter> interrupter;
  SECTION("undisturbed") {}
  SECTION("despite signals") { interrupter.emplace(); }
  const Stopwatch watch;
  const auto error = failed_sendfile<TimeoutError>(pair.client, file);
  CHECK(watch.elapsed() >= 300ms);
  CHECK(watch.elapsed() < 1300ms);
  REQUIRE(error.transferred() > 0);
  REQUIRE(received(pair) == big_text().substr(0, error.transferred()));
}

TEST_CASE("the timeout of sendfile covers the whole call", "[socket][sendfile][timeout]") {
  Pair pair = stream_pair();
  const File file(big_text());
  pair.client.settimeout(300ms);
  std::promise<void> failed;
  // The reader takes a little every few milliseconds: too little for the call to end in time.
  auto reader = std::async(std::launch::async, [&] {
    std::string all;
    const auto end = failed.get_future();
    while (end.wait_for(20ms) == std::future_status::timeout) all += pair.server.recv(1 << 15);
    return all + rest_of(pair.server);
  });
  const Stopwatch watch;
  const auto error = failed_sendfile<TimeoutError>(pair.client, file);
  const auto elapsed = watch.elapsed();
  pair.client.close();
  failed.set_value();
  CHECK(elapsed >= 300ms);
  CHECK(elapsed < 1300ms);
  REQUIRE(reader.get() == big_text().substr(0, error.transferred()));
}

TEST_CASE("the timeout ends sendfile even if the peer never lets it wait",
          "[socket][sendfile][timeout]") {
  Pair pair = stream_pair();
  const File file("", O_RDWR);
  REQUIRE(::ftruncate(file, std::int64_t(1) << 36) == 0);  // The whole file is a hole.
  pair.client.settimeout(200ms);
  auto reader = std::async(std::launch::async, [&] {
    std::string buffer(1 << 20, '\0');
    std::uint64_t all = 0;
    while (const std::size_t size = pair.server.recv_into(buffer)) all += size;
    return all;
  });
  const Stopwatch watch;
  const auto error = failed_sendfile<TimeoutError>(pair.client, file);
  const auto elapsed = watch.elapsed();
  pair.client.close();
  CHECK(elapsed >= 200ms);
  CHECK(elapsed < 1200ms);
  REQUIRE(reader.get() == error.transferred());
}

TEST_CASE("sendfile goes on where a timeout ended it", "[socket][sendfile][timeout]") {
  Pair pair = stream_pair();
  const File file(big_text());
  pair.client.settimeout(100ms);
  const std::size_t gone = failed_sendfile<TimeoutError>(pair.client, file).transferred();
  pair.client.settimeout(kPatience);
  auto reader = receive_all(pair);
  REQUIRE(pair.client.sendfile(file, gone) == big_text().size() - gone);
  pair.client.close();
  REQUIRE(reader.get() == big_text());
}

TEST_CASE("sendfile to a peer that has gone is an error, not a signal", "[socket][sendfile]") {
  struct sigaction action {};
  ::sigaction(SIGPIPE, nullptr, &action);
  REQUIRE(action.sa_handler == SIG_DFL);  // SIGPIPE would end this program.
  Pair pair = stream_pair();
  const File file(big_text());
  if (GENERATE(false, true)) pair.client.settimeout(std::nullopt);
  SECTION("before the call") {
    abort(pair);
    const Error reset = failed_sendfile(pair.client, file);
    REQUIRE(peer_is_gone(reset));
    REQUIRE(reset.transferred() == 0);
    REQUIRE(failed_sendfile(pair.client, file).code() == errc::broken_pipe);
  }
  SECTION("during the call") {
    const auto reader = std::async(std::launch::async, [&] {
      Socket server = std::move(pair.server);
      (void)server.recv_exactly(1 << 20);
    });
    const Error error = failed_sendfile(pair.client, file);
    REQUIRE(peer_is_gone(error));
    REQUIRE(error.transferred() >= 1 << 20);
    REQUIRE(error.transferred() < big_text().size());
  }
  REQUIRE_FALSE(is_pending(SIGPIPE));
}

TEST_CASE("sendfile of an unconnected socket is an error, not a signal", "[socket][sendfile]") {
  Socket sk = patient(Socket());
  REQUIRE_THROWS_AS(sk.sendfile(File("x")), Error);
  REQUIRE_FALSE(is_pending(SIGPIPE));
}

TEST_CASE("sendfile leaves the thread's signal mask as it was", "[socket][sendfile]") {
  const bool sigpipe_blocked = GENERATE(false, true);
  const Blocked sigusr2(SIGUSR2);
  std::optional<Blocked> sigpipe;
  if (sigpipe_blocked) sigpipe.emplace(SIGPIPE);
  Pair pair = unix_pair();
  SECTION("success") { REQUIRE(pair.client.sendfile(File("x")) == 1); }
  SECTION("failure") {
    pair.server.close();
    REQUIRE(failed_sendfile(pair.client, File("x")).code() == errc::broken_pipe);
  }
  REQUIRE(is_blocked(SIGUSR2));
  REQUIRE(is_blocked(SIGPIPE) == sigpipe_blocked);
  REQUIRE_FALSE(is_pending(SIGPIPE));
}

TEST_CASE("sendfile leaves a SIGPIPE that was pending before", "[socket][sendfile]") {
  const bool process_wide = GENERATE(false, true);
  const bool fails = GENERATE(false, true);
  const Blocked sigpipe(SIGPIPE);
  if (process_wide) {
    ::kill(::getpid(), SIGPIPE);
  } else {
    ::raise(SIGPIPE);
  }
  REQUIRE(is_pending(SIGPIPE));
  Pair pair = unix_pair();
  if (fails) {
    pair.server.close();
    REQUIRE(failed_sendfile(pair.client, File("x")).code() == errc::broken_pipe);
  } else {
    REQUIRE(pair.client.sendfile(File("x")) == 1);
  }
  CAPTURE(process_wide, fails);
  REQUIRE(is_pending(SIGPIPE));
}

TEST_CASE("sendfile needs a stream that may wait", "[socket][sendfile]") {
  const File file("0123");
  SECTION("datagrams") {
    Pair pair = unix_pair(GENERATE(SOCK_DGRAM, SOCK_SEQPACKET));
    REQUIRE_THROWS_AS(pair.client.sendfile(file), std::invalid_argument);
    REQUIRE(pair.client.send("x") == 1);
    REQUIRE(pair.server.recv(16) == "x");
  }
  SECTION("non-blocking") {
    Pair pair = unix_pair();
    pair.client.settimeout(0s);
    REQUIRE_THROWS_AS(pair.client.sendfile(file), std::invalid_argument);
    pair.client.settimeout(kPatience);
    REQUIRE(pair.client.sendfile(file) == 4);
    REQUIRE(received(pair) == "0123");
  }
}

TEST_CASE("sendfile reads a pipe to its end or for count bytes", "[socket][sendfile]") {
  Pair pair = stream_pair();
  Pipe pipe;
  pipe.write("0123456789");
  SECTION("to its end") {
    pipe.write_end.close();
    REQUIRE(pair.client.sendfile(pipe.read_end.fileno()) == 10);
    REQUIRE(received(pair) == "0123456789");
  }
  SECTION("for count bytes") {
    REQUIRE(pair.client.sendfile(pipe.read_end.fileno(), 0, 4) == 4);
    REQUIRE(received(pair) == "0123");
  }
}

TEST_CASE("sendfile delivers a full pipe byte for byte", "[socket][sendfile]") {
  Pair pair = stream_pair();
  Pipe pipe;
  constexpr int kSize = 1 << 20;
  REQUIRE(::fcntl(pipe.write_end.fileno(), F_SETPIPE_SZ, kSize) == kSize);
  const std::string text = big_text().substr(0, kSize);
  pipe.write(text);
  pipe.write_end.close();
  auto reader = receive_all(pair);
  REQUIRE(pair.client.sendfile(pipe.read_end.fileno()) == text.size());
  pair.client.close();
  REQUIRE(reader.get() == text);
}

TEST_CASE("the timeout of sendfile covers a pipe into which nobody writes",
          "[socket][sendfile][timeout]") {
  Pair pair = unix_pair();
  pair.client.settimeout(300ms);
  Pipe pipe;
  std::promise<void> ended;
  // Closes the pipe after a while: a sendfile that waits for nothing but the pipe then fails the
  // test, and does not hang it.
  const auto writer = std::async(std::launch::async, [&] {
    ended.get_future().wait_for(2s);
    pipe.write_end.close();
  });
  const Stopwatch watch;
  CHECK_THROWS_AS(pair.client.sendfile(pipe.read_end.fileno()), TimeoutError);
  CHECK(watch.elapsed() >= 300ms);
  CHECK(watch.elapsed() < 1300ms);
  ended.set_value();
}

TEST_CASE("what sendfile could not send stays in the pipe", "[socket][sendfile][timeout]") {
  Pair pair = stream_pair();
  pair.client.settimeout(50ms);
  pair.client.set_sendbuf(4096);
  Pipe pipe;
  constexpr int kSize = 1 << 20;
  REQUIRE(::fcntl(pipe.write_end.fileno(), F_SETPIPE_SZ, kSize) == kSize);
  const std::string text = big_text().substr(0, kSize);
  pipe.write(text);
  pipe.write_end.close();
  const int file = pipe.read_end.fileno();
  const std::size_t gone = failed_sendfile<TimeoutError>(pair.client, file).transferred();
  REQUIRE(gone > 0);
  pair.client.settimeout(kPatience);
  auto reader = receive_all(pair);
  REQUIRE(pair.client.sendfile(file) == text.size() - gone);
  pair.client.close();
  REQUIRE(reader.get() == text);
}

TEST_CASE("sendfile waits for a non-blocking pipe", "[socket][sendfile]") {
  Pair pair = stream_pair();
  if (GENERATE(false, true)) pair.client.settimeout(std::nullopt);
  Pipe pipe;
  REQUIRE(::fcntl(pipe.read_end.fileno(), F_SETFL, O_NONBLOCK) == 0);
  auto written = std::async(std::launch::async, [&] {
    pause_for(20ms);
    const ssize_t size = ::write(pipe.write_end.fileno(), "text", 4);
    pipe.write_end.close();
    return size;
  });
  REQUIRE(pair.client.sendfile(pipe.read_end.fileno()) == 4);
  REQUIRE(written.get() == 4);
  REQUIRE(received(pair) == "text");
}

TEST_CASE("sendfile reads what the kernel makes up", "[socket][sendfile]") {
  Pair pair = stream_pair();
  const Descriptor version(::open("/proc/version", O_RDONLY | O_CLOEXEC));
  std::string text;
  std::getline(std::ifstream("/proc/version"), text, '\0');
  REQUIRE(pair.client.sendfile(version.fileno()) == text.size());
  REQUIRE(received(pair) == text);
}

TEST_CASE("sendfile reports a file it cannot read", "[socket][sendfile]") {
  Pair pair = stream_pair();
  SECTION("a directory") {
    const Descriptor directory(::open("/", O_RDONLY | O_CLOEXEC));
    REQUIRE_THROWS_MATCHES(pair.client.sendfile(directory.fileno()), Error,
                           Code(errc::is_a_directory));
  }
  SECTION("no descriptor") {
    REQUIRE_THROWS_MATCHES(pair.client.sendfile(-1), Error, Code(errc::bad_file_descriptor));
  }
  SECTION("a file opened for writing") {
    REQUIRE_THROWS_MATCHES(pair.client.sendfile(File("x", O_WRONLY)), Error,
                           Code(errc::bad_file_descriptor));
  }
  SECTION("a pipe's other end") {
    const Pipe pipe;
    REQUIRE_THROWS_MATCHES(pair.client.sendfile(pipe.write_end.fileno()), Error,
                           Code(errc::bad_file_descriptor));
  }
  SECTION("an offset beyond what a file can have") {
    REQUIRE_THROWS_AS(pair.client.sendfile(File("x"), UINT64_MAX), Error);
  }
  REQUIRE(pair.client.sendfile(File("still usable")) == 12);
  REQUIRE(received(pair) == "still usable");
}

TEST_CASE("sendfile of a closed socket fails with EBADF", "[socket][sendfile]") {
  Socket sk = unix_pair().client;
  SECTION("under a timeout") { sk.close(); }
  SECTION("blocking") {
    sk.settimeout(std::nullopt);
    sk.close();
  }
  REQUIRE_THROWS_MATCHES(sk.sendfile(File("x")), Error, Code(errc::bad_file_descriptor));
}

TEST_CASE("sendfile leaves the socket blocking", "[socket][sendfile]") {
  Pair pair = stream_pair();
  REQUIRE_FALSE(nonblocking(pair.client));
  SECTION("after success") { REQUIRE(pair.client.sendfile(File("x")) == 1); }
  SECTION("after a timeout") {
    pair.client.settimeout(50ms);
    failed_sendfile<TimeoutError>(pair.client, File(big_text()));
  }
  SECTION("after an error") { REQUIRE_THROWS_AS(pair.client.sendfile(-1), Error); }
  SECTION("after a pipe") {
    Pipe pipe;
    pipe.write_end.close();
    REQUIRE(pair.client.sendfile(pipe.read_end.fileno()) == 0);
  }
  REQUIRE_FALSE(nonblocking(pair.client));
}

TEST_CASE("sendfile leaks no descriptor", "[socket][sendfile]") {
  Pair pair = unix_pair();
  const File file("0123");
  const std::size_t before = open_descriptors();
  pair.client.sendfile(file);
  REQUIRE_THROWS_AS(pair.client.sendfile(-1), Error);
  REQUIRE(open_descriptors() == before);
}
