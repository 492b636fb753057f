// thinsock/request_handler.hpp - the code that answers a request: Python's request handlers.
//
// <thinsock/socketserver.hpp> includes this. For each request the server constructs a handler and
// calls its setup(), handle() and finish(), all in the thread or process that serves this request.
//
//   struct Echo : thinsock::BaseRequestHandler {
//     void handle() override {
//       for (std::string data; !(data = request.recv(1024)).empty();) request.sendall(data);
//     }
//   };
#pragma once

#include <concepts>
#include <functional>
#include <istream>
#include <memory>
#include <ostream>
#include <stop_token>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "thinsock/socket.hpp"
#include "thinsock/stream.hpp"

namespace thinsock {

class BaseServer;

/// One request to a server: a connection or a datagram.
struct Request {
  Socket socket{std::nullopt};  ///< The connection; no open Socket if this is a datagram.
  std::string packet{};         ///< The datagram; its first max_packet_size bytes if truncated.
  bool truncated = false;       ///< Whether the datagram was longer than max_packet_size.
  /// If a datagram server is bound to a wildcard address: the address that the datagram was sent
  /// to, from which an answer should leave. Empty otherwise, and if it was sent to an IPv6 group.
  Address local_address{};
};

/// What a handler knows of its request.
class RequestContext {
 public:
  RequestContext(Socket& socket, const Request& request, const Address& client_address,
                 BaseServer& server) noexcept;

  /// The connection. For a datagram it is the server's socket, which all handlers share: they may
  /// send on it at the same time, but must not change its options or timeout.
  Socket& request;
  const std::string& packet;  ///< This, truncated and local_address are as in Request.
  const bool truncated;
  const Address& local_address;
  const Address& client_address;  ///< Empty if a Unix client has no name.
  BaseServer& server;

  /// Sends all of data to the client: on a connection with sendall(), otherwise as one datagram
  /// that leaves from the address the request was sent to.
  void reply(ConstBuffer data) const;

  /// Marks the connection as idle: the handler only waits for the client's next request. A server
  /// that ends cuts idle connections off immediately, and the others after shutdown_timeout. Has no
  /// effect in a forked child, as stop_token() has none.
  void set_idle(bool idle = true) const noexcept;
  /// Stopped when the server cuts requests off: for waits on something other than a Socket. Calls
  /// on Sockets then fail by themselves with std::errc::operation_canceled.
  std::stop_token stop_token() const noexcept;

 protected:
  // Lets a handler's constructor compile without naming this virtual base. It is never run, because
  // only HandlerClass::Concrete can be instantiated, and that passes a RequestContext.
  RequestContext() noexcept : RequestContext(unreachable()) {}

 private:
  [[noreturn]] static const RequestContext& unreachable() noexcept;
};

/// The base of handler classes, of which each request gets an object: override handle(). What it
/// throws is passed to BaseServer::handle_error. Only a server can construct a handler, so its
/// constructor can already use the members of RequestContext.
class BaseRequestHandler : public virtual RequestContext {
 public:
  BaseRequestHandler() = default;
  BaseRequestHandler(const BaseRequestHandler&) = delete;
  BaseRequestHandler& operator=(const BaseRequestHandler&) = delete;
  virtual ~BaseRequestHandler() = default;

  virtual void setup() {}
  virtual void handle() {}
  /// Also called if setup() or handle() threw; if finish() throws as well, that is ignored.
  virtual void finish() {}

  /// Calls setup(), handle() and finish().
  void run();

 protected:
  /// Whether setup() or handle() has thrown.
  bool failed() const noexcept { return failed_; }

 private:
  // Keeps handlers abstract; HandlerClass::Concrete implements it.
  virtual void made_by_a_server() = 0;
  // Rethrows what setup() or handle() threw, or a more precise exception.
  [[noreturn]] virtual void rethrow();

  bool failed_ = false;
};

/// For connections. A read or write that fails throws its Error. setup() applies the four options
/// below, so set them before, usually in the constructor: Echo() { timeout = 5s; }
class StreamRequestHandler : public BaseRequestHandler {
 public:
  /// Throws std::invalid_argument if the request is a datagram.
  void setup() override;
  /// Sends what is still buffered in wfile, and ignores it if the client no longer receives.
  void finish() override;

 protected:
  std::size_t rbufsize = SocketStream::kBufferSize;  ///< In bytes.
  std::size_t wbufsize = SocketStream::kBufferSize;  ///< In bytes; 0 sends every write at once.
  Timeout timeout;                       ///< For each call; std::nullopt keeps the connection's.
  bool disable_nagle_algorithm = false;  ///< Sets TCP_NODELAY.

  Socket& connection = request;
  SocketStream rfile;  ///< rfile.readline(), std::getline(rfile, line), rfile >> n.
  /// What is written is sent when wbufsize is reached, by flush(), before rfile waits for the
  /// client, and by finish().
  std::ostream wfile{nullptr};

 private:
  [[noreturn]] void rethrow() override;

  std::shared_ptr<SocketBuf> buf_;  // Keeps wfile usable after rfile was moved from.
};

/// For datagrams: rfile reads the packet, and finish() sends what was written to wfile as one
/// datagram. It sends none if nothing was written, setup() or handle() has thrown, or the client
/// has no address.
class DatagramRequestHandler : public BaseRequestHandler {
 public:
  DatagramRequestHandler();
  ~DatagramRequestHandler() override;
  void finish() override;

 private:
  struct Buffers;
  std::unique_ptr<Buffers> buffers_;

 protected:
  Socket& socket = request;
  std::istream rfile;
  std::ostream wfile;
};

template <class H>
struct HandlerClass;

/// Whether a handler class overrides handle(). One that is private or overloaded cannot be looked
/// at, and is believed.
template <class H>
concept Handles = !requires {
  &H::handle;
}
|| requires {
  { &H::handle } -> std::convertible_to<void (H::*)()>;
  requires !std::same_as<decltype(&H::handle), void (BaseRequestHandler::*)()>;
};

/// The type of a server's handler argument: handler<Echo>, which constructs an Echo for each
/// request; handler<Echo>(arguments…), which constructs it from copies of the arguments (std::ref
/// for objects that all of them share); or a copyable function of (Socket&, const Address&) or of
/// (RequestContext&). A threading server calls it from many threads at once.
class RequestHandler {
 public:
  template <class H>
  RequestHandler(const HandlerClass<H>& handler_class) : RequestHandler(handler_class()) {}
  template <std::invocable<RequestContext&> F>
  RequestHandler(F function) : run_(std::move(function)) {}
  template <std::invocable<Socket&, const Address&> F>
  RequestHandler(F function)
      : run_([function = std::move(function)](RequestContext& context) mutable {
          function(context.request, context.client_address);
        }) {}

  /// Does not compile, because the function takes something else.
  template <class F>
  RequestHandler(F) {
    static_assert(never<F>,
                  "a handler is handler<Class>, or a function that takes "
                  "(Socket&, const Address&) or (RequestContext&)");
  }

  void operator()(RequestContext& context) const { run_(context); }

 private:
  std::function<void(RequestContext&)> run_;
};

/// The type of handler<H>.
template <class H>
struct HandlerClass {
  static_assert(std::derived_from<H, BaseRequestHandler>,
                "a handler must be publicly derived from BaseRequestHandler");
  static_assert(Handles<H>, "a handler class must have: void handle() override");
  static_assert(!std::is_final_v<H>, "a handler must not be final: servers derive from it");

  /// What a server constructs: an H that knows its request.
  class Concrete : public H {
   public:
    template <class... Args>
    explicit Concrete(const RequestContext& context, Args&... args)
        : RequestContext(context),
          H(args...) {}  // From copies of handler's arguments: std::ref(x) is for an X&.

   private:
    void made_by_a_server() override {}
  };

  template <class... Args>
  RequestHandler operator()(Args&&... args) const {
    static_assert((std::copy_constructible<std::decay_t<Args>> && ...),
                  "a handler's argument is copied: write std::ref(argument)");
    return [args = std::tuple<std::decay_t<Args>...>(std::forward<Args>(args)...)](
               RequestContext& context) {
      std::apply(
          [&](const auto&... each) {
            Concrete concrete(context, each...);
            static_cast<BaseRequestHandler&>(concrete).run();
          },
          args);
    };
  }
};

/// handler<Echo>: the handler argument of a server that answers with the class Echo.
template <class H>
inline constexpr HandlerClass<H> handler{};

}  // namespace thinsock
