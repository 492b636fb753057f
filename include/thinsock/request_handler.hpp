// thinsock/request_handler.hpp - what a server does with a request: Python's request handlers.
//
// Included by <thinsock/socketserver.hpp>. A handler is constructed, setup, handled and finished
// for one request, in the thread or process that the server has for it.
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
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include "thinsock/socket.hpp"
#include "thinsock/stream.hpp"

#pragma GCC visibility push(default)  // The library hides all else.
namespace thinsock {

class BaseServer;

/// What is to be answered: a connection, or a datagram.
struct Request {
  Socket socket{std::nullopt};  ///< The connection; closed if it is a datagram.
  std::string packet{};         ///< The datagram, whole unless it is truncated.
  bool truncated = false;       ///< It was longer than max_packet_size.
  /// Of a datagram server that is bound to every address: the one this was sent to. Else empty, and
  /// for an IPv6 group.
  Address local_address{};
};

/// A request as handlers see it.
class RequestContext {
 public:
  RequestContext(Socket& socket, const Request& request, const Address& client_address,
                 BaseServer& server) noexcept;

  /// The connection; for a datagram the server's own socket, which all handlers share: they may
  /// send at the same time, but its options and timeout are not theirs.
  Socket& request;
  const std::string& packet;
  const bool truncated;
  const Address& local_address;
  const Address& client_address;  ///< Empty for a Unix client without a name.
  BaseServer& server;

  /// All of it, to the client: sendall(); or as one datagram, from the address that was asked.
  void reply(ConstBuffer data) const;

 protected:
  // Never runs: handlers are abstract but for the class in which a server makes them.
  RequestContext() noexcept : RequestContext(none()) {}

 private:
  [[noreturn]] static const RequestContext& none() noexcept;
};

/// One object for each request; override handle. Whatever it throws ends up in
/// BaseServer::handle_error. It can be made by a server only, so the members of RequestContext are
/// there from its constructor on.
class BaseRequestHandler : public virtual RequestContext {
 public:
  BaseRequestHandler() = default;
  BaseRequestHandler(const BaseRequestHandler&) = delete;
  BaseRequestHandler& operator=(const BaseRequestHandler&) = delete;
  virtual ~BaseRequestHandler() = default;

  virtual void setup() {}
  virtual void handle() {}
  /// Called also if setup or handle threw; what it throws itself then counts for nothing.
  virtual void finish() {}

  /// setup, handle, finish.
  void run();

 protected:
  /// Whether setup or handle has thrown.
  bool failed() const noexcept { return failed_; }

 private:
  virtual void made_by_a_server() = 0;
  [[noreturn]] virtual void rethrow();

  bool failed_ = false;
};

/// For streams. A failing read or write throws its Error. What setup() needs is set before, as a
/// rule in the constructor: Echo() { timeout = 5s; }
class StreamRequestHandler : public BaseRequestHandler {
 public:
  void setup() override;
  /// Sends what is left in wfile, if the client still takes it.
  void finish() override;

 protected:
  std::size_t rbufsize = SocketStream::kBufferSize;  ///< In bytes.
  std::size_t wbufsize = SocketStream::kBufferSize;  ///< 0: every write is sent as it is.
  Timeout timeout;                                   ///< None leaves the connection's own.
  bool disable_nagle_algorithm = false;

  Socket& connection = request;
  SocketStream rfile;  ///< rfile.readline(), std::getline(rfile, line), rfile >> n.
  /// Sent when full, by flush(), before rfile has to wait, and at the end.
  std::ostream wfile{nullptr};

 private:
  [[noreturn]] void rethrow() override;
};

/// For datagrams: reads the packet from rfile and answers with what is written to wfile, unless
/// that is nothing, handle() has thrown, or the client has no address.
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

/// What a server does with a request: handler<Echo>; or handler<Echo>(arguments…), whose copies
/// each new Echo is constructed from (std::ref for what they share); or a function of
/// (Socket&, const Address&) or of (RequestContext&), which can be copied. A threading server calls
/// it from many threads at once.
class RequestHandler {
 public:
  template <class H>
  RequestHandler(const HandlerClass<H>& made) : RequestHandler(made()) {}
  template <std::invocable<RequestContext&> F>
  RequestHandler(F function) : run_(std::move(function)) {}
  template <std::invocable<Socket&, const Address&> F>
  RequestHandler(F function)
      : run_([function = std::move(function)](RequestContext& context) mutable {
          function(context.request, context.client_address);
        }) {}

  void operator()(RequestContext& context) const { run_(context); }

 private:
  std::function<void(RequestContext&)> run_;
};

template <class H>
struct HandlerClass {
  static_assert(std::derived_from<H, BaseRequestHandler>,
                "a handler is publicly derived from BaseRequestHandler");
  static_assert(!std::is_final_v<H>, "a server derives from the handlers it makes");

  class Made : public H {
   public:
    template <class... Args>
    explicit Made(const RequestContext& context, Args&... args)
        : RequestContext(context), H(args...) {}

   private:
    void made_by_a_server() override {}
  };

  template <class... Args>
  RequestHandler operator()(Args... args) const {
    return [args = std::tuple<Args...>(std::move(args)...)](RequestContext& context) {
      std::apply(
          [&](const auto&... each) {
            Made made(context, each...);
            static_cast<BaseRequestHandler&>(made).run();
          },
          args);
    };
  }
};

template <class H>
inline constexpr HandlerClass<H> handler{};

}  // namespace thinsock
#pragma GCC visibility pop
