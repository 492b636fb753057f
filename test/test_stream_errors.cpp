// How a SocketStream fails: modes, timeouts, resets, exceptions. test_stream.cpp has what it moves.
#include <fcntl.h>

#include "child.hpp"
#include "streams.hpp"

using namespace test;
using namespace std::string_literals;
using std::errc;
using thinsock::Error;
using thinsock::TimeoutError;

TEST_CASE("putback of another byte than the one read is refused", "[stream]") {
  auto [stream, peer] = connection();
  peer.sendall("abc");
  REQUIRE(stream.get() == 'a');
  REQUIRE(stream.putback('x').bad());
  stream.clear();
  REQUIRE(taken(stream, 2) == "bc");
}

TEST_CASE("any other mode is an invalid_argument and leaks no descriptor", "[stream][makefile]") {
  Pair pair = unix_pair();
  const std::size_t before = open_descriptors();
  for (const std::string& mode : {""s, "b"s, "a"s, "r+"s, "rx"s, "R"s, "r\0"s, " r"s}) {
    CAPTURE(mode);
    REQUIRE_THROWS_AS(pair.client.makefile(mode), std::invalid_argument);
  }
  REQUIRE(open_descriptors() == before);
  REQUIRE(pair.client.send("still open") == 10);
}

TEST_CASE("makefile of a closed Socket fails with EBADF", "[stream][makefile]") {
  Socket sk;
  sk.close();
  REQUIRE_THROWS_MATCHES(sk.makefile(), Error, Code(errc::bad_file_descriptor));
}

TEST_CASE("writing to a read-only stream sets badbit and sends nothing", "[stream][makefile]") {
  auto [stream, peer] = connection("r", GENERATE(0, 8192));
  REQUIRE((stream << "text").bad());
  stream.clear();
  REQUIRE(stream.put('x').bad());
  stream.clear();
  stream << std::flush;
  REQUIRE(arrived(peer).empty());
  peer.sendall("can be read\n");
  REQUIRE(stream.readline() == "can be read\n");
}

TEST_CASE("reading from a write-only stream is refused and takes nothing", "[stream]") {
  Pair pair = unix_pair();
  SocketStream stream = pair.client.makefile("w");
  pair.server.sendall("line\n");
  stream << "pending";
  REQUIRE(stream.get() == EOF);
  stream.clear();
  REQUIRE(stream.readline().empty());
  REQUIRE(stream.bad());
  REQUIRE(stream.error() == errc::bad_file_descriptor);
  stream.clear();
  REQUIRE(taken(stream, 10'000).empty());
  REQUIRE(arrived(pair.server).empty());
  REQUIRE(pair.client.recv(1024) == "line\n");
}

TEST_CASE("readline on a failed stream takes nothing", "[readline]") {
  auto [stream, peer] = connection();
  peer.sendall("one\n");
  stream.setstate(std::ios::failbit);
  REQUIRE(stream.readline().empty());
  stream.clear();
  REQUIRE(stream.readline() == "one\n");
}

TEST_CASE("close closes the descriptor, and then reads and writes fail with EBADF", "[close]") {
  auto [stream, peer] = connection();
  const int fd = stream.socket().fileno();
  stream.close();
  REQUIRE(stream);
  REQUIRE(::fcntl(fd, F_GETFD) == -1);
  REQUIRE(stream.readline().empty());
  REQUIRE(stream.bad());
  REQUIRE(stream.error() == errc::bad_file_descriptor);
  stream.clear();
  REQUIRE((stream << "text" << std::flush).bad());
  REQUIRE(stream.error() == errc::bad_file_descriptor);
}

TEST_CASE("a second close does nothing", "[close]") {
  auto [stream, peer] = connection();
  stream.close();
  stream.close();
  REQUIRE(stream);
}

TEST_CASE("close reports what it could not send", "[close]") {
  auto [stream, peer] = connection();
  stream << "text";
  peer.close();
  stream.close();
  REQUIRE(stream.bad());
  REQUIRE(stream.error() == errc::broken_pipe);
}

TEST_CASE("a stream whose peer is gone is destroyed without an exception or a signal", "[stream]") {
  sigset_t pipe_signal;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &pipe_signal, nullptr);
  Pair pair = GENERATE(true, false) ? tcp_pair() : unix_pair();
  {
    SocketStream stream = pair.client.makefile();
    stream << "text";
    reset(std::move(pair.server));
    wait_for(pair.client, 0);
    // TCP reports ECONNRESET first. From then on it reports EPIPE and, without MSG_NOSIGNAL, raises
    // SIGPIPE.
    REQUIRE_THROWS_AS(pair.client.sendall("x"), Error);
  }
  const timespec now{};
  const int signal = ::sigtimedwait(&pipe_signal, nullptr, &now);
  ::pthread_sigmask(SIG_UNBLOCK, &pipe_signal, nullptr);
  REQUIRE(signal == -1);
}

TEST_CASE("a stream that flushes after each output survives its peer", "[stream][flush]") {
  // Runs in a child process: libstdc++ flushes in a destructor, where an exception would end it.
  in_child([] {
    auto [stream, peer] = connection();
    peer.close();
    stream << std::unitbuf << "text";
    expect(stream.bad() && stream.error() == errc::broken_pipe);
  });
}

TEST_CASE("what the peer said can be read though nothing can be sent", "[stream][flush]") {
  auto [stream, peer] = connection();
  peer.sendall("413\nunread");
  peer.shutdown(SHUT_RD);
  stream << "text";
  REQUIRE(stream.readline() == "413\n");
  REQUIRE(stream);
  REQUIRE(stream.error() == errc::broken_pipe);
  peer.close();
  SECTION("and the failure is reported at the end") {
    REQUIRE(stream.readline().empty());
    REQUIRE(stream.bad());
    REQUIRE(stream.error() == errc::broken_pipe);
  }
  SECTION("or by a flush") { REQUIRE(stream.flush().bad()); }
  stream.clear();
  REQUIRE(taken(stream, 100) == "unread");
  REQUIRE(stream.eof());
  REQUIRE_FALSE(stream.bad());
}

TEST_CASE("what the peer said can be read though it reads nothing", "[stream][flush][timeout]") {
  auto [stream, peer] = connection();
  stream.socket().settimeout(400ms);
  peer.sendall("413\n");
  stream << std::string(10 << 20, 'x');
  REQUIRE(stream.error() == errc::timed_out);
  stream.clear();
  REQUIRE(stream.readline() == "413\n");
  const Stopwatch watch;
  REQUIRE(stream.readline().empty());
  REQUIRE(watch.elapsed() < 790ms);  // One timeout, not two.
  REQUIRE(stream.error() == errc::timed_out);
}

TEST_CASE("a read that times out is bad with timed_out, and never early", "[stream][timeout]") {
  auto [stream, peer] = connection();
  stream.socket().settimeout(100ms);
  const Stopwatch watch;
  std::string word;
  int number = 0;
  SECTION("readline") { stream.readline(); }
  SECTION("std::getline") { std::getline(stream, word); }
  SECTION("read") { taken(stream, 10); }
  SECTION("a large read") { taken(stream, 10'000); }
  SECTION("get") { stream.get(); }
  SECTION(">> a string") { stream >> word; }
  SECTION(">> a number") { stream >> number; }
  const auto elapsed = watch.elapsed();
  REQUIRE(elapsed >= 100ms);
  REQUIRE(elapsed < 1100ms);
  REQUIRE(stream.bad());
  REQUIRE_FALSE(stream.eof());
  REQUIRE(stream.error() == errc::timed_out);

  peer.sendall("12 and more\n");
  stream.clear();
  REQUIRE(stream >> number);
  REQUIRE(number == 12);
  REQUIRE(stream.readline() == " and more\n");
}

TEST_CASE("readline loses and doubles nothing over any number of timeouts", "[timeout]") {
  auto [stream, peer] = connection("r", GENERATE(1, 4, 8192));
  stream.socket().settimeout(10ms);
  for (const std::string part : {"one\nth", "is ", "", "line is long"}) {
    peer.sendall(part);
    if (stream.readline() == "one\n") REQUIRE(stream.readline().empty());
    REQUIRE(stream.bad());
    REQUIRE(stream.error() == errc::timed_out);
    stream.clear();
  }
  peer.sendall("\nlast\n");
  REQUIRE(stream.readline() == "this line is long\n");
  REQUIRE(stream.readline() == "last\n");
}

TEST_CASE("std::getline leaves the part before a timeout in its string", "[stream][timeout]") {
  auto [stream, peer] = connection("r", GENERATE(1, 8192));
  stream.socket().settimeout(10ms);
  std::string part, rest;
  peer.sendall("first ");
  std::getline(stream, part);
  REQUIRE(stream.error() == errc::timed_out);
  stream.clear();
  peer.sendall("rest\n");
  REQUIRE(std::getline(stream, rest));
  REQUIRE(part + rest == "first rest");
}

TEST_CASE("read keeps the part that came before a timeout", "[stream][timeout]") {
  auto [stream, peer] = connection("r", GENERATE(1, 4, 8192));
  stream.socket().settimeout(10ms);
  peer.sendall("first ");
  REQUIRE(taken(stream, 10) == "");
  REQUIRE(stream.bad());
  REQUIRE(stream.error() == errc::timed_out);
  stream.clear();
  peer.sendall("rest");
  REQUIRE(taken(stream, 10) == "first rest");
}

TEST_CASE("a read that a failure cuts short is bad, not just at its end", "[stream][read]") {
  Pair pair = tcp_pair();
  SocketStream stream = pair.client.makefile("r", GENERATE(4, 8192));
  pair.server.sendall("part");
  REQUIRE(stream.peek() == 'p');
  stream.socket().settimeout(10ms);
  SECTION("by a timeout") {
    taken(stream, 10);
    REQUIRE(stream.bad());
  }
  SECTION("by a reset") {
    reset(std::move(pair.server));
    taken(stream, 10);
    REQUIRE(stream.bad());
  }
  SECTION("with exceptions") {
    stream.exceptions(std::ios::badbit);
    REQUIRE_THROWS_AS(taken(stream, 10), TimeoutError);
  }
}

TEST_CASE("a non-blocking stream fails at once and can be read later", "[stream][timeout]") {
  auto [stream, peer] = connection();
  stream.socket().settimeout(0s);
  REQUIRE(stream.readline().empty());
  REQUIRE(stream.bad());
  REQUIRE(stream.error() == errc::operation_would_block);
  stream.clear();
  peer.sendall("line\n");
  REQUIRE(stream.readline() == "line\n");
}

TEST_CASE("after a timeout flush goes on where it stopped", "[stream][flush][timeout]") {
  auto [stream, peer] = connection("w", 1 << 20);
  stream.socket().settimeout(20ms);
  const std::string data = pattern(1 << 20);
  REQUIRE(stream << data);
  REQUIRE_FALSE(stream.flush());
  REQUIRE(stream.bad());
  REQUIRE(stream.error() == errc::timed_out);
  std::string sent;
  for (int tries = 0; tries < 1000 && sent.size() < data.size(); ++tries) {
    for (std::string part; !(part = arrived(peer)).empty();) sent += part;
    stream.clear();
    stream.flush();
  }
  REQUIRE(stream.good());
  const bool same = sent == data;
  REQUIRE(same);
}

TEST_CASE("after a timeout flush sends what the failed write was given", "[stream][timeout]") {
  auto [stream, peer] = connection("w");
  const std::size_t piece = GENERATE(1000, 1 << 20);
  stream.socket().settimeout(20ms);
  const std::string data = pattern(piece);
  std::string written, sent;
  while (stream << data) written += data;
  written += data;
  REQUIRE(stream.error() == errc::timed_out);
  for (int tries = 0; tries < 1000 && sent.size() < written.size(); ++tries) {
    const std::size_t before = sent.size();
    for (std::string part; !(part = arrived(peer)).empty();) sent += part;
    if (sent.size() == before && stream) break;
    stream.clear();
    stream.flush();
  }
  REQUIRE(sent.size() == written.size());
  const bool same = sent == written;
  REQUIRE(same);
}

TEST_CASE("a reset is bad with connection_reset, and keeps what came before", "[stream]") {
  Pair pair = tcp_pair();
  SocketStream stream = pair.client.makefile();
  pair.server.sendall("one\ntw");
  REQUIRE(pair.client.recv(6, MSG_PEEK | MSG_WAITALL) == "one\ntw");
  REQUIRE(stream.readline() == "one\n");
  reset(std::move(pair.server));
  REQUIRE(stream.readline().empty());
  REQUIRE(stream.bad());
  REQUIRE_FALSE(stream.eof());
  REQUIRE(stream.error() == errc::connection_reset);
  stream.clear();
  REQUIRE(taken(stream, 2) == "tw");
}

TEST_CASE("error is none again after the next success", "[stream][error]") {
  auto [stream, peer] = connection();
  REQUIRE_FALSE(stream.error());
  stream.socket().settimeout(10ms);
  REQUIRE(stream.get() == EOF);
  REQUIRE(stream.error() == errc::timed_out);
  stream.clear();
  SECTION("a read") {
    peer.sendall("x");
    REQUIRE(stream.get() == 'x');
  }
  SECTION("a write") { stream << "x" << std::flush; }
  REQUIRE_FALSE(stream.error());
}

TEST_CASE("error is none while what a failed read left is read", "[stream][error]") {
  auto [stream, peer] = connection();
  stream.socket().settimeout(10ms);
  peer.sendall("x");
  REQUIRE(stream.readline().empty());
  REQUIRE(stream.error() == errc::timed_out);
  stream.clear();
  REQUIRE(stream.get() == 'x');
  REQUIRE_FALSE(stream.error());
}

TEST_CASE("with exceptions(badbit) a read throws the Error itself", "[stream][exceptions]") {
  auto [stream, peer] = connection();
  stream.socket().settimeout(10ms);
  stream.exceptions(std::ios::badbit);
  std::string line;
  char byte;
  SECTION("readline") { REQUIRE_THROWS_AS(stream.readline(), TimeoutError); }
  SECTION("std::getline") { REQUIRE_THROWS_AS(std::getline(stream, line), TimeoutError); }
  SECTION("read") { REQUIRE_THROWS_AS(stream.read(&byte, 1), TimeoutError); }
  SECTION("get") { REQUIRE_THROWS_AS(stream.get(), TimeoutError); }
  SECTION(">>") { REQUIRE_THROWS_AS(stream >> line, TimeoutError); }
  REQUIRE(stream.bad());
  stream.clear();
  peer.sendall("line\n");
  REQUIRE(stream.readline() == "line\n");
}

TEST_CASE("with exceptions(badbit) a write throws the Error itself", "[stream][exceptions]") {
  auto [stream, peer] = connection();
  stream.exceptions(std::ios::badbit);
  stream << "text";
  peer.close();
  const Code broken_pipe(errc::broken_pipe);
  SECTION("flush") { REQUIRE_THROWS_MATCHES(stream.flush(), Error, broken_pipe); }
  SECTION("std::endl") { REQUIRE_THROWS_MATCHES(stream << std::endl, Error, broken_pipe); }
  SECTION("close") { REQUIRE_THROWS_MATCHES(stream.close(), Error, broken_pipe); }
  SECTION("a read") { REQUIRE_THROWS_MATCHES(stream.get(), Error, broken_pipe); }
  SECTION("a large <<") {
    REQUIRE_THROWS_MATCHES(stream << std::string(10'000, 'x'), Error, broken_pipe);
  }
  REQUIRE(stream.bad());
}

TEST_CASE("a reset under exceptions(badbit) is an Error and no TimeoutError", "[exceptions]") {
  Pair pair = tcp_pair();
  SocketStream stream = pair.client.makefile();
  stream.exceptions(std::ios::badbit);
  reset(std::move(pair.server));
  REQUIRE_THROWS_MATCHES(stream.readline(), Error, Code(errc::connection_reset));
}

TEST_CASE("the end of the stream throws only under eofbit or failbit", "[exceptions]") {
  auto [stream, peer] = connection();
  peer.close();
  std::string line;
  SECTION("badbit") {
    stream.exceptions(std::ios::badbit);
    REQUIRE_NOTHROW(stream.readline());
    REQUIRE(stream.eof());
  }
  SECTION("eofbit: readline") {
    stream.exceptions(std::ios::eofbit);
    REQUIRE_THROWS_AS(stream.readline(), std::ios::failure);
  }
  SECTION("failbit: readline") {
    stream.exceptions(std::ios::failbit);
    REQUIRE_THROWS_AS(stream.readline(), std::ios::failure);
  }
  SECTION("failbit: std::getline") {
    stream.exceptions(std::ios::failbit);
    REQUIRE_THROWS_AS(std::getline(stream, line), std::ios::failure);
  }
}

TEST_CASE("malformed input throws under failbit and stays to be read", "[stream][exceptions]") {
  auto [stream, peer] = connection();
  stream.exceptions(std::ios::failbit);
  peer.sendall("word\n");
  int number = 0;
  REQUIRE_THROWS_AS(stream >> number, std::ios::failure);
  stream.clear();
  REQUIRE(stream.readline() == "word\n");
}
