// Handlers: how they are made and called.
#include <functional>
#include <memory>
#include <type_traits>

#include "handlers.hpp"
#include "python.hpp"

using namespace test;
using namespace std::string_literals;
using thinsock::BaseRequestHandler;
using thinsock::DatagramRequestHandler;
using thinsock::handler;
using thinsock::RequestContext;
using thinsock::StreamRequestHandler;
using thinsock::TCPServer;

namespace {

using Log = std::vector<std::string>;

enum class Step { none, constructor, setup, handle, finish };

// Logs its steps, throws in one of them, and perhaps in finish too.
class Steps : public BaseRequestHandler {
 public:
  Steps(Log& log, Step fails, bool finish_fails) : log_(log), fails_(fails), also_(finish_fails) {
    pass("constructor", fails_ == Step::constructor);
  }
  ~Steps() override { log_.push_back("destructor"); }
  void setup() override { pass("setup", fails_ == Step::setup); }
  void handle() override { pass("handle", fails_ == Step::handle); }
  void finish() override {
    log_.push_back(failed() ? "failed" : "fine");
    pass("finish", fails_ == Step::finish || also_);
  }

 private:
  void pass(const char* step, bool fails) {
    log_.push_back(step);
    if (fails) throw std::runtime_error(step);
  }

  Log& log_;
  Step fails_;
  bool also_;
};

// Returns the log of one request: the steps of the handler, then what was thrown.
Log steps(Step fails, bool finish_fails = false) {
  Log log;
  const auto error = error_of(handler<Steps>(std::ref(log), fails, finish_fails));
  try {
    if (error) std::rethrow_exception(error);
  } catch (const std::runtime_error& thrown) {
    log.push_back("threw "s + thrown.what());
  }
  return log;
}

// The handler in Python's documentation of socketserver.
struct MyTCPHandler : BaseRequestHandler {
  void handle() override { request.sendall(upper(request.recv(1024))); }
};

// Handlers that differ in how they are constructed.
struct Defaulted : BaseRequestHandler {
  Defaulted() = default;
  void handle() override { request.sendall("defaulted"); }
};
struct Initialised : BaseRequestHandler {
  std::string client = client_address.str();
  BaseServer* its_server = &server;
  Socket& connection = request;
  std::size_t size = packet.size();
  void handle() override { connection.sendall(client); }
};
struct Told : BaseRequestHandler {
  Told(std::string text, int number) : told(text + std::to_string(number)) {}
  explicit Told(const std::string& text) : told(text) {}
  void handle() override { request.sendall(told); }
  std::string told;
};
struct Heir : Told {
  using Told::Told;
};
struct Counting : StreamRequestHandler {
  explicit Counting(std::string copy) : copy_(copy += 'x') {}
  void handle() override { wfile << copy_; }
  std::string copy_;
};
struct Sharing : StreamRequestHandler {
  explicit Sharing(std::string& shared, const char* what) : shared_(shared), what_(what) {}
  void handle() override { wfile << (shared_ += what_); }
  std::string& shared_;
  std::string what_;
};
struct Base : BaseRequestHandler {
  void setup() override { request.sendall("setup "); }
};
struct Derived : Base {
  void setup() override {
    Base::setup();
    request.sendall("setup again ");
  }
  void handle() override { request.sendall("handle"); }
};
struct InConstructor : BaseRequestHandler {
  InConstructor() { request.sendall(static_cast<Server&>(server).name + client_address.host()); }
  void handle() override {}
};
// Has a function with the same name as one of the base class.
struct Busy : BaseRequestHandler {
  void setup() override { request.sendall("setup "); }
  void handle() override { run(); }
  void run() { request.sendall("run"); }
};

template <class H>
concept OnlyByServer = std::is_abstract_v<H> && !std::is_constructible_v<H> &&
                       !std::is_copy_constructible_v<H> && !std::is_move_constructible_v<H>;
static_assert(OnlyByServer<BaseRequestHandler> && OnlyByServer<StreamRequestHandler> &&
              OnlyByServer<DatagramRequestHandler> && OnlyByServer<MyTCPHandler> &&
              OnlyByServer<Defaulted> && OnlyByServer<Heir> && OnlyByServer<InConstructor>);
static_assert(!std::is_constructible_v<Told, std::string>);
static_assert(!std::is_default_constructible_v<RequestContext>);
static_assert(std::is_convertible_v<decltype(handler<MyTCPHandler>), RequestHandler>);

template <class S>
concept MadeOfBraces = requires {
  S({"127.0.0.1", 0}, handler<MyTCPHandler>, ServerOptions());
};

void function(Socket& request, const Address& client) { request.sendall(client.host()); }
void of_context(RequestContext& context) { context.reply(context.client_address.host()); }

}  // namespace

TEST_CASE("a handler is constructed, setup, handled, finished and destroyed",
          "[socketserver][handler]") {
  REQUIRE(steps(Step::none) ==
          Log{"constructor", "setup", "handle", "fine", "finish", "destructor"});
}

TEST_CASE("a handler whose constructor throws goes no further", "[socketserver][handler]") {
  REQUIRE(steps(Step::constructor) == Log{"constructor", "threw constructor"});
}

TEST_CASE("finish is called though setup or handle threw, and what came first is told",
          "[socketserver][handler][finish]") {
  const bool both = GENERATE(false, true);
  REQUIRE(steps(Step::setup, both) ==
          Log{"constructor", "setup", "failed", "finish", "destructor", "threw setup"});
  REQUIRE(steps(Step::handle, both) ==
          Log{"constructor", "setup", "handle", "failed", "finish", "destructor", "threw handle"});
}

TEST_CASE("what finish throws alone is told", "[socketserver][handler][finish]") {
  REQUIRE(steps(Step::finish) ==
          Log{"constructor", "setup", "handle", "fine", "finish", "destructor", "threw finish"});
}

TEST_CASE("a handler is made however its constructor is written", "[socketserver][handler]") {
  CHECK(answer(handler<Defaulted>) == "defaulted");
  CHECK(answer(handler<Defaulted>()) == "defaulted");
  CHECK(answer(handler<Initialised>).starts_with("127.0.0.1:"));
  CHECK(answer(handler<Told>("text")) == "text");
  CHECK(answer(handler<Told>("text"s, 1)) == "text1");
  CHECK(answer(handler<Heir>("text"s)) == "text");
  CHECK(answer(handler<Heir>("text", 2)) == "text2");
  CHECK(answer(handler<Derived>) == "setup setup again handle");
}

TEST_CASE("the request is there in a handler's constructor, and the server as what it is",
          "[socketserver][handler]") {
  REQUIRE(answer(handler<InConstructor>) == "derived127.0.0.1");
}

TEST_CASE("a handler may have a function named run", "[socketserver][handler]") {
  REQUIRE(answer(handler<Busy>) == "setup run");
}

TEST_CASE("each request has its own handler, and std::ref what they share",
          "[socketserver][handler]") {
  std::string shared;
  Server server(handler<Sharing>(std::ref(shared), "x"));
  REQUIRE(answer(server) == "x");
  REQUIRE(answer(server) == "xx");
  Server other(handler<Counting>(shared));
  REQUIRE(answer(other) == "xxx");
  REQUIRE(answer(other) == "xxx");
}

TEST_CASE("functions are handlers", "[socketserver][handler]") {
  CHECK(answer(function) == "127.0.0.1");
  CHECK(answer(&function) == "127.0.0.1");
  CHECK(answer(of_context) == "127.0.0.1");
  CHECK(answer([](Socket& request, const Address&) { request.sendall("x"); }) == "x");
  CHECK(answer([](Socket& request, Address) { return request.send("x"); }) == "x");
  CHECK(answer([](const RequestContext& context) { context.reply("x"); }) == "x");
  CHECK(answer([](auto& context) { context.reply(std::string(1, 'x')); }) == "x");
  CHECK(answer(std::function<void(Socket&, const Address&)>(function)) == "127.0.0.1");
}

TEST_CASE("a function keeps its state from one request to the next", "[socketserver][handler]") {
  Server by_socket(
      [n = 0](Socket& sk, const Address&) mutable { sk.sendall(std::to_string(++n)); });
  Server by_context([n = 0](RequestContext& all) mutable { all.reply(std::to_string(++n)); });
  for (const char* expected : {"1", "2", "3"}) {
    CHECK(answer(by_socket) == expected);
    CHECK(answer(by_context) == expected);
  }
}

TEST_CASE("reply sends all of it on a stream", "[socketserver][handler][reply]") {
  const std::string data = pattern(4 << 20);
  Server server([&](RequestContext& context) { context.reply(data); });
  const Serving serving(server);
  Socket client = client_of(server);
  const bool whole = client.recv_exactly(data.size()) == data;
  REQUIRE(whole);
  REQUIRE(client.recv(1).empty());
}

TEST_CASE("Python's tutorial client is answered as by Python's server",
          "[socketserver][handler][python]") {
  Server server(handler<MyTCPHandler>);
  const Serving serving(server);
  const std::string port = std::to_string(server.server_address.port());
  same("hello world",
       "s = patient(socket()); s.connect(('127.0.0.1', " + port +
           ")); s.sendall(b'hello world\\n'); return s.recv(1024), s.recv(1024)",
       [] { return std::tuple("HELLO WORLD\n"s, ""s); });
  same("lines",
       "import socketserver, threading; "
       "h = type('H', (socketserver.StreamRequestHandler,), {'handle': "
       "lambda self: [self.wfile.write(line.strip().upper()) for line in self.rfile]}); "
       "server = socketserver.TCPServer(('127.0.0.1', 0), h); "
       "c = patient(socket()); c.connect(server.server_address); "
       "c.sendall(b'one\\n two \\r\\n\\nthree'); c.shutdown(SHUT_WR); "
       "server.handle_request(); return c.recv(1024)",
       [] {
         return answer(stream([](auto& self) {
                         for (std::string word; self.rfile >> word;) self.wfile << upper(word);
                       }),
                       "one\n two \r\n\nthree");
       });
}

TEST_CASE("a server is made of host and port in braces, a handler and options", "[socketserver]") {
  CHECK(MadeOfBraces<thinsock::TCPServer>);
  CHECK(MadeOfBraces<thinsock::UDPServer>);
  CHECK(MadeOfBraces<thinsock::ThreadingUDPServer>);
}
