// A SocketStream that borrows a Socket, one that has no Socket, and one that is assigned to.
#include <fcntl.h>

#include <future>
#include <optional>
#include <type_traits>

#include "support.hpp"
#include "thinsock/stream.hpp"

using namespace test;
using namespace std::string_literals;
using std::errc;
using thinsock::SocketStream;

static_assert(std::is_default_constructible_v<SocketStream>);
static_assert(std::is_nothrow_move_assignable_v<SocketStream>);
static_assert(!std::is_copy_assignable_v<SocketStream>);
static_assert(std::is_constructible_v<SocketStream, Socket&>);
static_assert(!std::is_constructible_v<SocketStream, const Socket&>);
static_assert(!std::is_convertible_v<Socket&, SocketStream>);

namespace {

struct TwoPairs {
  Pair one = unix_pair(), two = unix_pair();
};

// Checks that the stream fails to read and write, and does not crash.
void check_closed(SocketStream& stream) {
  CHECK_FALSE(stream);
  CHECK(stream.readline().empty());
  CHECK(stream.get() == SocketStream::traits_type::eof());
  stream.clear();
  CHECK_FALSE(stream << "text" << 1 << std::flush);
  CHECK_FALSE(stream.error());
}

}  // namespace

TEST_CASE("a stream over a Socket opens no descriptor and uses that very Socket", "[stream]") {
  Pair pair = unix_pair();
  const std::size_t before = open_descriptors();
  SocketStream stream(pair.client);
  REQUIRE(open_descriptors() == before);
  REQUIRE(&stream.socket() == &pair.client);
  pair.server.sendall("question\n");
  REQUIRE(stream.readline() == "question\n");
  stream << "answer" << std::flush;
  REQUIRE(arrived(pair.server) == "answer");
}

TEST_CASE("a Socket outlives the stream that borrowed it", "[stream]") {
  Pair pair = stream_pair();
  {
    SocketStream stream(pair.client);
    stream << "from the stream";
  }
  REQUIRE(pair.server.recv(1024) == "from the stream");
  pair.client.sendall("from the Socket");
  REQUIRE(pair.server.recv(1024) == "from the Socket");
}

TEST_CASE("stream and Socket write in the order of their calls if the stream is flushed",
          "[stream][flush]") {
  Pair pair = unix_pair();
  SocketStream stream(pair.client);
  stream << "one " << std::flush;
  pair.client.sendall("two ");
  stream << "three" << std::flush;
  REQUIRE(arrived(pair.server) == "one two three");
}

TEST_CASE("a borrowed Socket's timeout counts, also one that is set later",
          "[stream][settimeout]") {
  Pair pair = unix_pair();
  SocketStream stream(pair.client);
  pair.client.settimeout(20ms);
  REQUIRE(stream.readline().empty());
  REQUIRE(stream.error() == errc::timed_out);
  pair.client.settimeout(0s);
  stream.clear();
  REQUIRE(stream.readline().empty());
  REQUIRE(stream.error() == errc::operation_would_block);
}

TEST_CASE("a borrowed Socket that is closed makes its stream fail", "[stream]") {
  Pair pair = unix_pair();
  SocketStream stream(pair.client);
  pair.client.close();
  SECTION("reading") { REQUIRE(stream.readline().empty()); }
  SECTION("writing") { REQUIRE_FALSE(stream << "text" << std::flush); }
  REQUIRE(stream.error() == errc::bad_file_descriptor);
}

TEST_CASE("two streams over one Socket read and write it in two threads", "[stream][threads]") {
  Pair pair = tcp_pair();
  auto echo = std::async(std::launch::async, [&] {
    SocketStream in(pair.server, "r"), out(pair.server, "w");
    for (std::string line; !(line = in.readline()).empty(); out.flush()) out << line;
  });
  SocketStream in(pair.client, "r"), out(pair.client, "w");
  auto written = std::async(std::launch::async, [&] {
    for (int i = 0; i < 1000; ++i) out << i << std::endl;
    return out.good();
  });
  int next = 0;
  while (next < 1000 && in.readline() == std::to_string(next) + '\n') ++next;
  REQUIRE(next == 1000);
  REQUIRE(written.get());
  pair.client.shutdown(SHUT_WR);
  echo.get();
}

TEST_CASE("close sends what is left and closes the borrowed Socket", "[stream][close]") {
  Pair pair = unix_pair();
  SocketStream stream(pair.client);
  stream << "last words";
  stream.close();
  REQUIRE(pair.client.fileno() == -1);
  REQUIRE(pair.server.recv(1024) == "last words");
  REQUIRE(pair.server.recv(1024).empty());
}

TEST_CASE("reading and writing have buffers of their own sizes", "[stream]") {
  Pair pair = unix_pair();
  SECTION("the write buffer") {
    const std::size_t wbufsize = GENERATE(0, 100);
    SocketStream stream(pair.client, "rw", 8192, wbufsize);
    stream << "text";
    REQUIRE(arrived(pair.server) == (wbufsize == 0 ? "text" : ""));
  }
  SECTION("the read buffer") {
    const std::size_t rbufsize = GENERATE(1, 4, 100);
    SocketStream stream(pair.client, "rw", rbufsize, 0);
    pair.server.sendall("0123456789");
    REQUIRE(stream.get() == '0');
    REQUIRE(arrived(pair.client).size() == 10 - std::min<std::size_t>(rbufsize, 10));
  }
}

TEST_CASE("a line takes less than rbufsize beyond its end from the Socket", "[stream][readline]") {
  const std::size_t rbufsize = GENERATE(0, 1, 4, 7);
  Pair pair = unix_pair();
  pair.server.sendall("a line longer than the buffer\nwhat follows it\n");
  auto file = pair.client.makefile("r", rbufsize);
  REQUIRE(file.readline() == "a line longer than the buffer\n");
  const std::string ahead(file.rdbuf()->in_avail(), '\0');
  REQUIRE(ahead.size() < std::max<std::size_t>(rbufsize, 1));
  REQUIRE(arrived(pair.client) == std::string("what follows it\n").substr(ahead.size()));
}

TEST_CASE("a stream with a wrong mode takes nothing from the Socket", "[stream]") {
  Pair pair = unix_pair();
  REQUIRE_THROWS_AS(SocketStream(pair.client, "a"), std::invalid_argument);
  REQUIRE_THROWS_AS(SocketStream(std::move(pair.client), "a"), std::invalid_argument);
  pair.client.sendall("text");
  REQUIRE(arrived(pair.server) == "text");
}

TEST_CASE("what is written after a timeout is sent in the end", "[stream][timeout]") {
  Pair pair = unix_pair();
  const bool borrowed = GENERATE(true, false);
  {
    SocketStream stream = borrowed ? SocketStream(pair.client) : pair.client.makefile();
    stream.socket().settimeout(5ms);
    REQUIRE(stream.readline().empty());
    stream.clear();
    stream << "bye";
  }
  REQUIRE(arrived(pair.server) == "bye");
}

TEST_CASE("an unbuffered stream that throws loses no byte to a timeout", "[stream][timeout]") {
  Pair pair = unix_pair();
  pair.client.settimeout(10ms);
  SocketStream stream(pair.client);
  stream.exceptions(std::ios::badbit);
  std::error_code error;
  std::size_t before = 0;
  while (!error) before += pair.client.send("-", MSG_DONTWAIT, error);
  stream << std::unitbuf << 'a';
  SECTION("the next write is a string") {
    REQUIRE_THROWS_AS(stream << "b", thinsock::TimeoutError);
  }
  SECTION("the next write is a character") {
    REQUIRE_THROWS_AS(stream << 'b', thinsock::TimeoutError);
  }
  for (std::size_t gone = 0; gone < before; ++gone) REQUIRE(pair.server.recv(1) == "-");
  stream.clear();
  stream << 'c';
  REQUIRE(arrived(pair.server) == "abc");
}

TEST_CASE("closing an unbuffered stream tells what its last write did not", "[stream][close]") {
  Pair pair = unix_pair();
  SocketStream stream(std::move(pair.client));
  stream.exceptions(std::ios::badbit);
  stream << std::unitbuf;
  pair.server.close();
  stream << "text";
  REQUIRE(stream.error() == errc::broken_pipe);
  REQUIRE_THROWS_MATCHES(stream.close(), thinsock::Error, Code(errc::broken_pipe));
}

TEST_CASE("a stream without a Socket neither reads nor writes", "[stream]") {
  const std::size_t before = open_descriptors();
  SocketStream stream;
  REQUIRE(open_descriptors() == before);
  check_closed(stream);
}

TEST_CASE("closing a stream without a Socket does nothing", "[stream][close]") {
  SocketStream stream;
  SECTION("one that never had any") {}
  SECTION("one that was moved from") {
    Pair pair = unix_pair();
    stream = SocketStream(pair.client);
    const SocketStream taken = std::move(stream);
  }
  REQUIRE_NOTHROW(stream.close());
}

TEST_CASE("a stream without a Socket can be given one", "[stream][move]") {
  Pair pair = unix_pair();
  SocketStream stream;
  if (GENERATE(true, false)) stream << "lost";
  stream = SocketStream(pair.client);
  REQUIRE(stream.good());
  stream << "text" << std::flush;
  REQUIRE(arrived(pair.server) == "text");
}

TEST_CASE("assignment sends and closes what the stream had", "[stream][move]") {
  TwoPairs pairs;
  const bool to_another = GENERATE(true, false);
  const int fd = pairs.one.client.fileno();
  SocketStream stream(std::move(pairs.one.client));
  stream << "last words";
  stream = to_another ? SocketStream(pairs.two.client) : SocketStream();
  REQUIRE_FALSE(is_open(fd));
  REQUIRE(pairs.one.server.recv(1024) == "last words");
  REQUIRE(pairs.one.server.recv(1024).empty());
  REQUIRE(arrived(pairs.two.server).empty());
}

TEST_CASE("assignment leaves a borrowed Socket open", "[stream][move]") {
  TwoPairs pairs;
  SocketStream stream(pairs.one.client);
  stream << "from the stream";
  stream = SocketStream(std::move(pairs.two.client));
  pairs.one.client.sendall(", from the Socket");
  REQUIRE(arrived(pairs.one.server) == "from the stream, from the Socket");
}

TEST_CASE("assignment from a stream whose peer has gone throws nothing", "[stream][move]") {
  TwoPairs pairs;
  SocketStream stream(std::move(pairs.one.client));
  stream.exceptions(std::ios::badbit);
  stream << "never read";
  pairs.one.server.close();
  stream = SocketStream(pairs.two.client);
  REQUIRE(stream.good());
  REQUIRE_FALSE(stream.error());
}

TEST_CASE("an assigned stream has the other's buffers, state, flags and exceptions",
          "[stream][move]") {
  TwoPairs pairs;
  SocketStream stream(pairs.one.client);
  {
    SocketStream other(pairs.two.client);
    pairs.two.server.sendall("one\ntwo\n");
    REQUIRE(other.readline() == "one\n");
    other << std::hex << "unsent ";
    other.exceptions(std::ios::badbit);
    other.setstate(std::ios::failbit);
    stream = std::move(other);
  }
  REQUIRE(&stream.socket() == &pairs.two.client);
  REQUIRE(stream.exceptions() == std::ios::badbit);
  REQUIRE(stream.fail());
  stream.clear();
  REQUIRE(stream.readline() == "two\n");
  stream << 255 << std::flush;
  REQUIRE(arrived(pairs.two.server) == "unsent ff");
}

TEST_CASE("an assigned stream tells of the other's error", "[stream][move]") {
  TwoPairs pairs;
  pairs.two.client.settimeout(1ms);
  SocketStream stream(pairs.one.client), other(pairs.two.client);
  other.readline();
  stream = std::move(other);
  REQUIRE(stream.error() == errc::timed_out);
  stream = SocketStream();
  REQUIRE_FALSE(stream.error());
}

TEST_CASE("an assigned stream may be unbuffered when its peer has gone", "[stream][move]") {
  // A write looks at the flags of this stream, and not of the one that was moved from.
  TwoPairs pairs;
  SocketStream stream(pairs.one.client);
  std::optional<SocketStream> other(std::in_place, pairs.two.client);
  *other << std::unitbuf;
  stream = std::move(*other);
  other.reset();
  pairs.two.server.close();
  REQUIRE_FALSE(stream << "text");
  REQUIRE(stream.error() == errc::broken_pipe);
}

TEST_CASE("a stream that was assigned from neither reads nor writes", "[stream][move]") {
  TwoPairs pairs;
  SocketStream stream(pairs.one.client), other(pairs.two.client);
  stream = std::move(other);
  check_closed(other);
  REQUIRE(arrived(pairs.one.server).empty());
  REQUIRE(arrived(pairs.two.server).empty());
}

TEST_CASE("a stream that was assigned from can be given another Socket", "[stream][move]") {
  TwoPairs pairs;
  SocketStream stream, other(pairs.two.client);
  stream = std::move(other);
  other = SocketStream(pairs.one.client);
  other << "one" << std::flush;
  stream << "two" << std::flush;
  REQUIRE(arrived(pairs.one.server) == "one");
  REQUIRE(arrived(pairs.two.server) == "two");
}

TEST_CASE("a stream assigned to itself goes on", "[stream][move]") {
  Pair pair = unix_pair();
  SocketStream stream(pair.client);
  SocketStream& same = stream;
  stream << "text";
  stream = std::move(same);
  REQUIRE(stream << " and more" << std::flush);
  REQUIRE(arrived(pair.server) == "text and more");
}

TEST_CASE("streams change places in a vector", "[stream][move]") {
  TwoPairs pairs;
  std::vector<SocketStream> streams;
  streams.emplace_back(pairs.one.client);
  streams.emplace_back(pairs.two.client);
  std::swap(streams[0], streams[1]);
  streams[0] << "two";
  streams.erase(streams.begin());
  REQUIRE(arrived(pairs.two.server) == "two");
  streams[0] << "one" << std::flush;
  REQUIRE(arrived(pairs.one.server) == "one");
}
