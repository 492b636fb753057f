// The hooks of a server are Python's, in Python's order: both are recorded and compared.
#include <chrono>
#include <mutex>

#include "python.hpp"
#include "thinsock/socketserver.hpp"

using namespace test;
using namespace thinsock;

namespace {

// scenario(kind, what) returns the hooks of a server of this class, in the order of their calls.
constexpr const char* kScenario = R"(
import socketserver
HOOKS = ('server_bind server_activate get_request verify_request process_request finish_request '
         'shutdown_request close_request handle_error handle_timeout service_actions '
         'server_close').split()

def recorder(base, what, calls):
    def hook(name):
        def record(self, *arguments):
            calls.append(name)
            if name == 'service_actions': self._BaseServer__shutdown_request = True
            if name == 'handle_error': return None
            if name == 'verify_request' and what == 'refused': return False
            return getattr(base, name)(self, *arguments)
        return record
    return type('Recorder', (base,), {name: hook(name) for name in HOOKS})

def handler(what, calls):
    class Handler(socketserver.BaseRequestHandler):
        def setup(self): calls.append('setup')
        def finish(self): calls.append('finish')
        def handle(self):
            calls.append('handle')
            if what == 'throws': raise ValueError
    return Handler

def scenario(kind, what):
    calls = []
    base = getattr(socketserver, kind)
    server = recorder(base, what, calls)(('127.0.0.1', 0), handler(what, calls), False)
    server.server_bind()
    server.server_activate()
    server.timeout = 0.01 if what == 'late' else 5
    client = patient(socket(server.address_family, server.socket_type))
    client.connect(server.server_address)
    if what == 'late': client.detach() if client.type == SOCK_DGRAM else server.socket.accept()
    else: client.send(b'x')
    if what == 'for ever': server.serve_forever(5)
    else: server.handle_request()
    server.server_close()
    parallel = ('service_actions', 'server_close') if 'Thread' in kind else ()
    return ' '.join(name for name in calls if name not in parallel)
)";

std::string python_literal(std::string_view code) {
  std::string hex;
  for (const unsigned char c : code) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", c);
    hex += digits;
  }
  return "bytes.fromhex('" + hex + "')";
}

// The names of the hooks that were called. Those of a threading server's own thread are left out,
// as their place among the hooks of the request's thread is not fixed.
class Calls {
 public:
  void add(const char* name) {
    const std::lock_guard lock(mutex_);
    text_ += (text_.empty() ? "" : " ") + std::string(name);
  }
  std::string text() const { return text_; }

 private:
  std::mutex mutex_;
  std::string text_;
};

struct Handler : BaseRequestHandler {
  Handler(Calls& all, const std::string& happens) : calls(all), what(happens) {}
  void setup() override { calls.add("setup"); }
  void finish() override { calls.add("finish"); }
  void handle() override {
    calls.add("handle");
    if (what == "throws") throw std::runtime_error("reason");
  }
  Calls& calls;
  std::string what;
};

template <class Base>
struct Recorder : Base {
  Recorder(const std::string& happens, const ServerOptions& given)
      : Base(AddressLike("127.0.0.1", 0), handler<Handler>(std::ref(calls), happens), given),
        what(happens) {}
  ~Recorder() override { Base::server_close(); }

  void server_bind() override { calls.add("server_bind"), Base::server_bind(); }
  void server_activate() override { calls.add("server_activate"), Base::server_activate(); }
  std::pair<Request, Address> get_request() override {
    calls.add("get_request");
    return Base::get_request();
  }
  bool verify_request(Request&, const Address&) override {
    calls.add("verify_request");
    return what != "refused";
  }
  void process_request(Request& request, const Address& client) override {
    calls.add("process_request"), Base::process_request(request, client);
  }
  void finish_request(Request& request, const Address& client) override {
    calls.add("finish_request"), Base::finish_request(request, client);
  }
  void shutdown_request(Request& request) override {
    calls.add("shutdown_request"), Base::shutdown_request(request);
  }
  void close_request(Request& request) override {
    calls.add("close_request"), Base::close_request(request);
  }
  void handle_error(Request&, const Address&) override { calls.add("handle_error"); }
  void handle_timeout() override { calls.add("handle_timeout"); }
  void service_actions() override {
    if (!kThreads) calls.add("service_actions");
    this->request_shutdown();
  }
  std::size_t server_close() override {
    if (!kThreads) calls.add("server_close");
    return Base::server_close();
  }

  static constexpr bool kThreads = std::is_base_of_v<ThreadingTCPServer, Base>;
  Calls calls;
  std::string what;
};

template <class Server>
std::string recorded(const std::string& what) {
  const Timeout timeout = what == "late" ? Timeout(10ms) : Timeout(kPatience);
  Recorder<Server> server(what, {.bind_and_activate = false, .timeout = timeout});
  server.server_bind();
  server.server_activate();
  Socket client = patient(Socket(server.address_family(), server.socket_type()));
  client.connect(server.server_address);
  if (what == "late") {
    if (client.type() == SOCK_STREAM) (void)server.socket.accept();
  } else {
    client.send("x");
  }
  what == "for ever" ? server.serve_forever(kPatience) : server.handle_request();
  server.server_close();
  return server.calls.text();
}

template <class Server>
void check_recordings(const std::string& kind) {
  for (const std::string what : {"served", "throws", "refused", "late", "for ever"}) {
    const std::string body = "return scenario('" + kind + "', '" + what + "')";
    same(kind + ", " + what, body, [&] { return recorded<Server>(what); });
  }
}

}  // namespace

TEST_CASE("the hooks are called in Python's order", "[socketserver][python]") {
  if (!python().found()) return;
  REQUIRE(python().ask("exec(" + python_literal(kScenario) + ", globals())") == "None");
  check_recordings<TCPServer>("TCPServer");
  check_recordings<UDPServer>("UDPServer");
  check_recordings<ThreadingTCPServer>("ThreadingTCPServer");
  check_recordings<ForkingTCPServer>("ForkingTCPServer");
}

TEST_CASE("a whole request passes every hook once", "[socketserver]") {
  REQUIRE(recorded<TCPServer>("served") ==
          "server_bind server_activate get_request verify_request process_request finish_request "
          "setup handle finish shutdown_request close_request server_close");
  REQUIRE(recorded<TCPServer>("throws") ==
          "server_bind server_activate get_request verify_request process_request finish_request "
          "setup handle finish handle_error shutdown_request close_request server_close");
}
