// What a SocketStream moves, when it sends, how long it lives, and how it fails.
#include <fcntl.h>
#include <sys/ioctl.h>

#include <cstdio>
#include <future>
#include <iomanip>
#include <numeric>

#include "streams.hpp"

using namespace test;
using namespace std::string_literals;
using std::errc;
using thinsock::Error;

TEST_CASE("<< sends formatted values and >> reads them", "[stream]") {
  auto [stream, peer] = connection();
  stream << 42 << ' ' << std::setprecision(2) << 2.5 << " word\n" << std::flush;
  REQUIRE(peer.recv(1024) == "42 2.5 word\n");

  int number = 0;
  double fraction = 0;
  std::string word;
  peer.sendall("  7 -1.5 text\n");
  REQUIRE(stream >> number >> fraction >> word);
  REQUIRE(number == 7);
  REQUIRE(fraction == -1.5);
  REQUIRE(word == "text");
}

TEST_CASE("std::getline splits what comes into lines", "[stream]") {
  auto [stream, peer] = connection("r", GENERATE(1, 3, 8192));
  peer.sendall("one\r\n\nthree\nlast");
  peer.close();
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  REQUIRE(lines == std::vector{"one\r"s, ""s, "three"s, "last"s});
}

TEST_CASE("get, peek, unget, putback, ignore and read go through the bytes in order", "[stream]") {
  auto [stream, peer] = connection();
  peer.sendall("abcdefgh");
  REQUIRE(stream.peek() == 'a');
  REQUIRE(stream.get() == 'a');
  REQUIRE(stream.unget().get() == 'a');
  REQUIRE(stream.get() == 'b');
  REQUIRE(stream.putback('b').get() == 'b');
  REQUIRE(stream.ignore(10, 'd').gcount() == 2);
  REQUIRE(taken(stream, 4) == "efgh");
}

TEST_CASE("unget after a read past the buffer does not bring back an older byte", "[stream]") {
  auto [stream, peer] = connection("r", 4);
  peer.sendall("0123456789");
  REQUIRE(stream.get() == '0');
  REQUIRE(taken(stream, 9) == "123456789");
  stream.unget();
  REQUIRE((!stream || stream.get() == '9'));
}

TEST_CASE("readsome gives what is buffered and waits for nothing", "[stream]") {
  auto [stream, peer] = connection();
  char buffer[16];
  REQUIRE(stream.readsome(buffer, sizeof buffer) == 0);
  peer.sendall("abc");
  REQUIRE(stream.get() == 'a');
  REQUIRE(stream.readsome(buffer, sizeof buffer) == 2);
  REQUIRE(std::string(buffer, 2) == "bc");
  REQUIRE(stream.readsome(buffer, sizeof buffer) == 0);
}

TEST_CASE("every byte value goes through unchanged", "[stream]") {
  auto [stream, peer] = connection();
  std::string all(256, '\0');
  std::iota(all.begin(), all.end(), '\0');
  stream << all << std::flush;
  REQUIRE(peer.recv_exactly(256) == all);
  peer.sendall(all);
  for (int byte = 0; byte < 256; ++byte) REQUIRE(stream.get() == byte);
  peer.sendall("\xff\0\xff\n"s);
  REQUIRE(stream.readline() == "\xff\0\xff\n"s);
}

TEST_CASE("a mode says whether the stream reads, writes or both", "[stream][makefile]") {
  const std::string mode = GENERATE("r", "w", "rw", "wr", "rb", "wb", "rwb", "bwr");
  auto [stream, peer] = connection(mode);
  peer.sendall("x");
  REQUIRE((stream.get() == 'x') == (mode.find('r') != mode.npos));
  stream.clear();
  REQUIRE(!(stream << "y" << std::flush).bad() == (mode.find('w') != mode.npos));
}

TEST_CASE("the stream's Socket is a close-on-exec duplicate with the timeout", "[stream]") {
  Pair pair = unix_pair();
  pair.client.settimeout(1234ms);
  SocketStream stream = pair.client.makefile();
  REQUIRE(stream.socket().fileno() != pair.client.fileno());
  REQUIRE(stream.socket().gettimeout() == 1234ms);
  REQUIRE_FALSE(stream.socket().get_inheritable());
}

TEST_CASE("what is written is sent by the flush, not before", "[stream][flush]") {
  auto [stream, peer] = connection();
  stream << "text";
  REQUIRE(arrived(peer).empty());
  SECTION("flush") { stream.flush(); }
  SECTION("std::endl") { stream << std::endl; }
  SECTION("close") { stream.close(); }
  SECTION("the destructor") { SocketStream last = std::move(stream); }
  SECTION("a read") {
    peer.sendall("x");
    REQUIRE(stream.get() == 'x');
  }
  SECTION("a readline") {
    peer.sendall("\n");
    REQUIRE(stream.readline() == "\n");
  }
  REQUIRE(arrived(peer).substr(0, 4) == "text");
}

TEST_CASE("a read from what is buffered sends nothing", "[stream][flush]") {
  auto [stream, peer] = connection();
  peer.sendall("one\ntwo\n");
  REQUIRE(stream.readline() == "one\n");
  stream << "text";
  REQUIRE(stream.readline() == "two\n");
  REQUIRE(arrived(peer).empty());
}

TEST_CASE("a question needs no flush before its answer is read", "[stream][flush]") {
  auto [stream, peer] = connection();
  auto answers = std::async(std::launch::async, [&peer = peer] {
    SocketStream other = peer.makefile();
    for (std::string line; !(line = other.readline()).empty();) other << "re: " << line;
  });
  for (const std::string question : {"one\n", "two\n", "three\n"}) {
    stream << question;
    REQUIRE(stream.readline() == "re: " + question);
  }
  stream.close();
  answers.get();
}

TEST_CASE("nothing can be written and read, from and to nowhere", "[stream]") {
  auto [stream, peer] = connection();
  stream << "te" << std::string_view() << "xt";
  stream.read(nullptr, 0);
  REQUIRE(stream.flush());
  REQUIRE(arrived(peer) == "text");
}

TEST_CASE("without a buffer every write is sent at once", "[stream][flush]") {
  auto [stream, peer] = connection("w", 0);
  stream << "text";
  REQUIRE(arrived(peer) == "text");
  stream.put('c');
  REQUIRE(arrived(peer) == "c");
  stream.write("\0x", 2);
  REQUIRE(arrived(peer) == "\0x"s);
}

TEST_CASE("a full buffer is sent to make room", "[stream][flush]") {
  auto [stream, peer] = connection("w", 4);
  stream << "abc";
  REQUIRE(arrived(peer).empty());
  stream << "de";
  REQUIRE(arrived(peer) == "abc");
  stream.put('f').put('g').put('h');
  REQUIRE(arrived(peer) == "defg");
  stream << "longer than the buffer";
  REQUIRE(arrived(peer) == "hlonger than the buffer");
}

TEST_CASE("pieces of any size pass buffers of any size unchanged", "[stream]") {
  const std::size_t buffering = GENERATE(0, 1, 2, 7, 8192);
  const std::size_t piece = GENERATE(1, 3, 1000, 10'000);
  CAPTURE(buffering, piece);
  auto [stream, peer] = connection("rw", buffering);
  const std::string data = pattern(10'000);
  peer.sendall(data);
  std::string read, sent;
  while (read.size() < data.size() && stream) {
    const std::string part = taken(stream, std::min(piece, data.size() - read.size()));
    stream.write(part.data(), static_cast<std::streamsize>(part.size()));
    read += part;
    sent += arrived(peer);  // Otherwise many small messages fill it.
  }
  stream.flush();
  sent += arrived(peer);
  const bool same = read == data && sent == data;
  REQUIRE(same);
}

TEST_CASE("4 MiB go out and come back byte-identical", "[stream]") {
  const std::string data = pattern(4 << 20);
  Pair pair = tcp_pair();
  auto echo = std::async(std::launch::async,
                         [&] { pair.server.sendall(pair.server.recv_exactly(data.size())); });
  SocketStream stream = pair.client.makefile();
  const std::size_t piece = GENERATE(1000, 8192, 1 << 20, 4 << 20);
  for (std::size_t at = 0; at < data.size(); at += piece) stream << data.substr(at, piece);
  const bool same = taken(stream, data.size()) == data;
  REQUIRE(same);
  echo.get();
}

TEST_CASE("the end of the stream sets eofbit and is no error", "[stream]") {
  auto [stream, peer] = connection();
  peer.close();
  SECTION("get") { REQUIRE(stream.get() == EOF); }
  SECTION("read") { REQUIRE(taken(stream, 10).empty()); }
  SECTION("readline") { REQUIRE(stream.readline().empty()); }
  REQUIRE(stream.eof());
  REQUIRE(stream.fail());
  REQUIRE_FALSE(stream.bad());
  REQUIRE_FALSE(stream.error());
}

TEST_CASE("a read that the end cuts short gives what there was", "[stream]") {
  auto [stream, peer] = connection("r", GENERATE(2, 8192));
  peer.sendall("abcde");
  peer.close();
  REQUIRE(taken(stream, 10) == "abcde");
  REQUIRE(stream.eof());
  REQUIRE_FALSE(stream.bad());
}

TEST_CASE("readline returns each line with its newline, and the last as it is", "[readline]") {
  auto [stream, peer] = connection("r", GENERATE(1, 2, 8192));
  peer.sendall("one\n\nthree\r\nla\0st"s);
  peer.close();
  for (const std::string& line : {"one\n"s, "\n"s, "three\r\n"s, "la\0st"s}) {
    REQUIRE(stream.readline() == line);
    REQUIRE(stream);
  }
  REQUIRE(stream.readline().empty());
  REQUIRE(stream.eof());
}

TEST_CASE("readline, >> and read take turns", "[readline]") {
  auto [stream, peer] = connection();
  peer.sendall("first line\n12 rest of it\nbytes");
  int number = 0;
  REQUIRE(stream.readline() == "first line\n");
  REQUIRE(stream >> number);
  REQUIRE(number == 12);
  REQUIRE(stream.readline() == " rest of it\n");
  REQUIRE(taken(stream, 5) == "bytes");
}

TEST_CASE("readline stops at the limit and goes on behind it", "[readline]") {
  auto [stream, peer] = connection("r", GENERATE(1, 4, 8192));
  peer.sendall("abcdefgh\nnext\n");
  REQUIRE(stream.readline(3) == "abc");
  REQUIRE(stream.readline(0).empty());
  REQUIRE(stream);
  REQUIRE(stream.readline(5) == "defgh");
  REQUIRE(stream.readline(1) == "\n");
  REQUIRE(stream.readline(100) == "next\n");
}

TEST_CASE("readline takes little more than its limit from the kernel", "[readline]") {
  auto [stream, peer] = connection();
  const std::size_t limit = GENERATE(10, 8192, 20'000);
  peer.sendall(std::string(100'000, 'x'));
  REQUIRE(stream.readline(limit) == std::string(limit, 'x'));
  int left = 0;
  REQUIRE(::ioctl(stream.socket().fileno(), FIONREAD, &left) == 0);
  REQUIRE(100'000 - left <= static_cast<int>(2 * limit + 8192));
}

TEST_CASE("readline returns a line of 10 MiB whole", "[readline]") {
  auto [stream, peer] = connection();
  std::string line(10 << 20, 'x');
  line += '\n';
  auto sent = std::async(std::launch::async, [&, &peer = peer] { peer.sendall(line + "next\n"); });
  const bool same = stream.readline() == line;
  REQUIRE(same);
  REQUIRE(stream.readline() == "next\n");
  sent.get();
}

TEST_CASE("the connection stays open until its last stream and Socket are closed", "[makefile]") {
  Pair pair = unix_pair();
  {
    SocketStream reader = pair.client.makefile("r");
    SocketStream writer = pair.client.makefile("w");
    pair.client.close();
    writer << "from the stream" << std::flush;
    REQUIRE(pair.server.recv(1024) == "from the stream");
    writer.close();
    REQUIRE_THROWS_MATCHES(pair.server.recv(1, MSG_DONTWAIT), Error,
                           Code(errc::operation_would_block));
    pair.server.sendall("to the stream\n");
    REQUIRE(reader.readline() == "to the stream\n");
  }
  REQUIRE(pair.server.recv(1).empty());
}

TEST_CASE("a Socket goes on after its stream is gone", "[makefile]") {
  Pair pair = unix_pair();
  pair.client.makefile() << "from the stream";
  pair.client.sendall(", from the Socket");
  REQUIRE(arrived(pair.server) == "from the stream, from the Socket");
}

TEST_CASE("a stream made from a Socket itself takes over its descriptor", "[stream]") {
  Pair pair = unix_pair();
  const int fd = pair.client.fileno();
  {
    SocketStream stream(std::move(pair.client));
    REQUIRE(stream.socket().fileno() == fd);
    stream << "last words";
  }
  REQUIRE_FALSE(is_open(fd));
  REQUIRE(pair.server.recv(1024) == "last words");
  REQUIRE(pair.server.recv(1024).empty());
}

TEST_CASE("a moved stream keeps its buffers, state and exceptions", "[stream][move]") {
  auto [old, peer] = connection();
  peer.sendall("one\ntwo\n");
  REQUIRE(old.readline() == "one\n");
  old << std::hex << "unsent ";
  old.exceptions(std::ios::badbit);
  old.setstate(std::ios::failbit);
  SocketStream stream = std::move(old);
  REQUIRE(stream.fail());
  REQUIRE(stream.exceptions() == std::ios::badbit);
  stream.clear();
  REQUIRE(stream.readline() == "two\n");
  stream << 255 << std::flush;
  REQUIRE(arrived(peer) == "unsent ff");
}

TEST_CASE("one thread reads while another writes", "[stream][threads]") {
  Pair pair = tcp_pair();
  SocketStream reader = pair.client.makefile("r");
  SocketStream writer = pair.client.makefile("w");
  auto echo = std::async(std::launch::async, [&] {
    for (std::string data; !(data = pair.server.recv(65536)).empty();) pair.server.sendall(data);
  });
  auto written = std::async(std::launch::async, [&] {
    for (int i = 0; i < 20'000; ++i) writer << "line " << i << '\n';
    writer.flush();
    return writer.good();
  });
  int matching = 0;
  while (matching < 20'000 && reader.readline() == "line " + std::to_string(matching) + '\n') {
    ++matching;
  }
  REQUIRE(matching == 20'000);
  REQUIRE(written.get());
  pair.client.shutdown(SHUT_WR);
  echo.get();
}

TEST_CASE("a stream speaks lines with Python's makefile", "[stream][python]") {
  // This test waits longer than others, because an interpreter has to start.
  Socket lst = listener();
  lst.settimeout(30s);
  const std::string script =
      "import socket\n"
      "sk = socket.create_connection((\"127.0.0.1\", " +
      std::to_string(lst.getsockname().port()) +
      "), 30)\n"
      "with sk, sk.makefile(\"rwb\") as f:\n"
      "    f.write(b\"hello\\n\")\n"
      "    f.flush()\n"
      "    for line in f:\n"
      "        f.write(line.upper())\n"
      "        f.flush()\n"
      "    f.write(b\"no newline\")\n";
  std::FILE* python = ::popen(("python3 -c '" + script + "'").c_str(), "r");
  REQUIRE(python != nullptr);
  {
    SocketStream stream(patient(lst.accept().socket));
    stream.socket().settimeout(30s);
    CHECK(stream.readline() == "hello\n");
    for (const std::string line : {"one\n", "t\xc3\xa4o\n", "\n"}) {
      stream << line;
      std::string upper = line;
      for (char& c : upper) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
      CHECK(stream.readline() == upper);
    }
    stream.flush();
    stream.socket().shutdown(SHUT_WR);
    CHECK(stream.readline() == "no newline");
    CHECK(stream.readline().empty());
    CHECK(stream.eof());
  }
  REQUIRE(::pclose(python) == 0);
}
