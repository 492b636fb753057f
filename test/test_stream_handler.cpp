// The streams of handlers: rfile and wfile, over a connection and over a datagram.
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <fstream>
#include <iomanip>
#include <optional>

#include "handlers.hpp"

using namespace test;
using namespace std::string_literals;
using std::errc;
using thinsock::BaseRequestHandler;
using thinsock::DatagramRequestHandler;
using thinsock::Error;
using thinsock::handler;
using thinsock::RequestContext;
using thinsock::StreamRequestHandler;
using thinsock::Timeout;
using thinsock::TimeoutError;
using thinsock::UDPServer;
using thinsock::UnixDatagramServer;
using thinsock::UnixStreamServer;

TEST_CASE("rfile gives lines and values, wfile takes them", "[socketserver][handler][stream]") {
  CHECK(answer(stream([](auto& self) {
                 for (std::string line; !(line = self.rfile.readline()).empty();)
                   self.wfile << '<' << line << '>';
               }),
               "one\n\nlast") == "<one\n><\n><last>");
  CHECK(answer(stream([](auto& self) {
                 for (std::string line; std::getline(self.rfile, line);)
                   self.wfile << line << std::endl;
               }),
               "one\n\nlast") == "one\n\nlast\n");
  CHECK(answer(stream([](auto& self) {
                 int sum = 0;
                 for (int n; self.rfile >> n;) sum += n;
                 self.wfile << std::setw(6) << std::setfill('0') << std::hex << sum;
               }),
               " 250\n5 ") == "0000ff");
}

TEST_CASE("the client's end of the stream is no error", "[socketserver][handler][stream]") {
  REQUIRE(answer(stream([](auto& self) {
                   while (!self.rfile.readline().empty()) continue;
                   self.wfile << self.rfile.eof() << self.rfile.readline().size();
                   self.wfile << self.rfile.get() << self.rfile.bad();
                 }),
                 "text") == "10-10");
}

TEST_CASE("reading sends what was written before", "[socketserver][handler][stream][flush]") {
  Server server(stream([](auto& self) {
    for (std::string line; self.wfile << "? ", !(line = self.rfile.readline()).empty();)
      self.wfile << line;
  }));
  const Serving serving(server);
  Socket client = patient(Socket());
  client.connect(server.server_address);
  for (const std::string text : {"one\n", "two\n"}) {
    REQUIRE(client.recv_exactly(2) == "? ");
    client.sendall(text);
    REQUIRE(client.recv_exactly(4) == text);
  }
}

TEST_CASE("wbufsize and rbufsize are those of the constructor", "[socketserver][handler][stream]") {
  struct Sized : StreamRequestHandler {
    Sized(std::size_t r, std::size_t w, Socket& other) : client(other) {
      rbufsize = r, wbufsize = w;
    }
    void handle() override {
      wfile << "ab" << 'c';
      CHECK(arrived(client) == (wbufsize == 0 ? "abc" : wbufsize == 2 ? "ab" : ""));
      CHECK(rfile.get() == '0');
      CHECK(arrived(connection).size() == 10 - std::min<std::size_t>(rbufsize, 10));
    }
    Socket& client;
  };
  const std::size_t r = GENERATE(1, 4, 8192), w = GENERATE(0, 2, 8192);
  Socket client = patient(Socket(AF_UNIX));
  UnixStreamServer server("", handler<Sized>(r, w, std::ref(client)), kOptions);
  client.connect(server.server_address);
  client.sendall("0123456789");
  server.handle_request();
}

TEST_CASE("a handler's timeout is the connection's, and ends a read",
          "[socketserver][handler][timeout]") {
  struct Impatient : StreamRequestHandler {
    Impatient() { timeout = 20ms; }
    void handle() override {
      CHECK(connection.gettimeout() == 20ms);
      rfile.readline();
    }
  };
  REQUIRE_THROWS_AS(std::rethrow_exception(error_of(handler<Impatient>, "unfinished")),
                    TimeoutError);
  Timeout own = 0s;
  answer(stream([&](auto& self) { own = self.connection.gettimeout(); }));
  REQUIRE(own == kPatience);
}

TEST_CASE("a handler that was let down by a read still tells the client",
          "[socketserver][handler][timeout]") {
  struct Polite : StreamRequestHandler {
    Polite() { timeout = 5ms; }
    void handle() override {
      try {
        rfile.readline();
      } catch (const TimeoutError&) {
        wfile << "bye";
      }
    }
  };
  Server server(handler<Polite>);
  REQUIRE(answer(server, "unfinished", false) == "bye");
}

TEST_CASE("disable_nagle_algorithm sets TCP_NODELAY", "[socketserver][handler][stream]") {
  struct Nodelay : StreamRequestHandler {
    explicit Nodelay(bool on) { disable_nagle_algorithm = on; }
    void handle() override { wfile << connection.getsockopt(IPPROTO_TCP, TCP_NODELAY); }
  };
  REQUIRE(answer(handler<Nodelay>(true)) == "1");
  REQUIRE(answer(handler<Nodelay>(false)) == "0");
}

TEST_CASE("a client that resets the connection ends a read by an Error",
          "[socketserver][handler][stream]") {
  const auto run = stream([](auto& self) { self.rfile.readline(); });
  REQUIRE_THROWS_MATCHES(std::rethrow_exception(error_of(run, "", true)), Error,
                         Code(errc::connection_reset));
}

TEST_CASE("a client that has gone before finish is no error", "[socketserver][handler][finish]") {
  const bool buffered = GENERATE(true, false);
  const auto error = error_of(stream([&](auto& self) {
                                self.wfile << (buffered ? "text" : "");
                                if (!buffered) self.connection.close();
                              }),
                              "", true);
  REQUIRE(error == nullptr);
}

TEST_CASE("a stream handler refuses datagrams", "[socketserver][handler][stream]") {
  struct Server : thinsock::UDPServer {
    using thinsock::UDPServer::UDPServer;
    void handle_error(Request&, const Address&) override { error = std::current_exception(); }
    std::exception_ptr error;
  };
  Server server({"127.0.0.1", 0}, stream([](auto&) {}), kOptions);
  Socket client = patient(Socket(AF_INET, SOCK_DGRAM));
  client.sendto("x", server.server_address);
  server.handle_request();
  REQUIRE_THROWS_AS(std::rethrow_exception(server.error), std::invalid_argument);
}

TEST_CASE("writing to a client that has gone throws an Error", "[socketserver][handler][stream]") {
  const bool unitbuf = GENERATE(false, true);
  const auto error = error_of(stream([=](auto& self) {
                                if (unitbuf) self.wfile << std::unitbuf;
                                for (int i = 0; i < 10'000; ++i) self.wfile << "some text";
                              }),
                              "", true);
  REQUIRE(error != nullptr);
}

TEST_CASE("writing on after a failure still says what it was", "[socketserver][handler][stream]") {
  const auto error = error_of(stream([](auto& self) {
                                try {
                                  for (int i = 0; i < 10'000; ++i) self.wfile << "some text";
                                } catch (const Error&) {
                                  self.wfile << "more";
                                }
                              }),
                              "", true);
  REQUIRE(error != nullptr);
  REQUIRE_THROWS_AS(std::rethrow_exception(error), Error);
}

TEST_CASE("another stream's failure stays what it is", "[socketserver][handler][stream]") {
  const bool client_gone = GENERATE(false, true);
  const auto error = error_of(stream([=](auto& self) {
                                try {
                                  if (client_gone) self.wfile << std::string(1 << 20, 'x');
                                } catch (const Error&) {
                                }
                                std::ifstream settings;
                                settings.exceptions(std::ios::failbit);
                                settings.open("/no such file");
                              }),
                              "", client_gone);
  REQUIRE_THROWS_AS(std::rethrow_exception(error), std::ios_base::failure);
}

TEST_CASE("a handler may move its rfile", "[socketserver][handler][stream]") {
  REQUIRE(answer(stream([](auto& self) {
                   std::string line;
                   {
                     thinsock::SocketStream file = std::move(self.rfile);
                     line = file.readline();
                   }
                   self.wfile << line << std::flush << std::unitbuf << "more";
                 }),
                 "text\n") == "text\nmore");
}

TEST_CASE("what was written is sent though handle throws", "[socketserver][handler][finish]") {
  Server server(stream([](auto& self) {
    self.wfile << "partial";
    throw std::runtime_error("reason");
  }));
  REQUIRE(answer(server) == "partial");
  REQUIRE_THROWS_AS(std::rethrow_exception(server.error), std::runtime_error);
}

TEST_CASE("rfile and wfile cost no descriptor", "[socketserver][handler][stream]") {
  std::size_t plain = 0, with_streams = 0;
  answer([&](Socket&, const Address&) { plain = open_descriptors(); });
  answer(stream([&](auto& self) {
    self.rfile.readline();
    with_streams = open_descriptors();
  }));
  REQUIRE(with_streams == plain);
}

namespace {

// The answer of a handler to a datagram, if there is one, and whether the handler threw.
struct Answered {
  std::optional<std::string> text;
  bool failed = false;
};

template <class Base>
struct DatagramServer : Base {
  using Base::Base;
  void handle_error(Request&, const Address&) override { failed = true; }
  bool failed = false;
};

template <class H>
Answered ask(std::string_view packet, int family = AF_INET, bool named = true) {
  DatagramServer<UDPServer> udp(AddressLike("127.0.0.1", 0), handler<H>, kOptions);
  DatagramServer<UnixDatagramServer> unix(AddressLike(""), handler<H>, kOptions);
  BaseServer& server = family == AF_INET ? static_cast<BaseServer&>(udp) : unix;
  Socket client = named ? named_socket(family) : Socket(family, SOCK_DGRAM);
  client.sendto(packet, server.server_address);
  server.handle_request();
  Answered answered{{}, udp.failed || unix.failed};
  std::string data(1024, '\0');
  std::error_code none;
  // Loopback delivers a datagram before its send returns.
  const auto got = client.recvfrom_into(data, MSG_DONTWAIT, none);
  if (!none) answered.text = data.substr(0, got.size);
  return answered;
}

struct Upper : DatagramRequestHandler {
  void handle() override {
    for (std::string line; std::getline(rfile, line);) wfile << upper(line) << packet.size();
    if (packet == "throw") throw std::runtime_error("reason");
  }
};

struct Replies : BaseRequestHandler {
  void handle() override {
    reply(packet + " and ");
    request.sendto("again", client_address);
  }
};

struct WithoutStreams : DatagramRequestHandler {
  void setup() override {}
  void handle() override {}
};

}  // namespace

TEST_CASE("a datagram is read from rfile and answered by wfile",
          "[socketserver][handler][datagram]") {
  const int family = GENERATE(AF_INET, AF_UNIX);
  REQUIRE(ask<Upper>("one\ntwo", family).text == "ONE7TWO7");
}

TEST_CASE("a datagram is not answered if nothing is written", "[socketserver][handler][datagram]") {
  const Answered answered = ask<Upper>("");
  REQUIRE(answered.text == std::nullopt);
  REQUIRE_FALSE(answered.failed);
}

TEST_CASE("a datagram is not answered if handle throws", "[socketserver][handler][datagram]") {
  const Answered answered = ask<Upper>("throw");
  REQUIRE(answered.text == std::nullopt);
  REQUIRE(answered.failed);
}

TEST_CASE("a client without a name gets no answer, which is no error",
          "[socketserver][handler][datagram]") {
  const Answered answered = ask<Upper>("text", AF_UNIX, false);
  REQUIRE(answered.text == std::nullopt);
  REQUIRE_FALSE(answered.failed);
}

TEST_CASE("a datagram is answered by reply too", "[socketserver][handler][datagram][reply]") {
  const int family = GENERATE(AF_INET, AF_UNIX);
  REQUIRE(ask<Replies>("text", family).text == "text and ");
}

TEST_CASE("a datagram handler may leave its streams alone", "[socketserver][handler][datagram]") {
  const Answered answered = ask<WithoutStreams>("text");
  REQUIRE(answered.text == std::nullopt);
  REQUIRE_FALSE(answered.failed);
}
