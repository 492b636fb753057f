// thinsock/socketserver.hpp - servers with the interface of Python's socketserver module.
//
//   BaseServer                      ThreadingMixIn<Server>, ForkingMixIn<Server>: any of the four
//     TCPServer                     with a thread or a process for each request, under the names
//       UnixStreamServer            ThreadingTCPServer, ForkingUnixDatagramServer, …
//       UDPServer                   Handlers: request_handler.hpp.
//         UnixDatagramServer
//
// Each request passes the chain of hooks, all virtual. The first three and service_actions are
// called for one request at a time, never concurrently:
//
//   get_request, verify_request, process_request   (what follows, in the thread or process)
//     finish_request                               the handler: constructed, setup, handle, finish
//       handle_error                               if any of them threw
//     shutdown_request, close_request
//   service_actions
//
// Lifetime: no request outlives the serve_forever that took it. Once that has returned, and its
// thread is joined, nothing runs in the server any more, so it and whatever is derived from it may
// be destroyed; until then not. handle_request of a threading server does not wait: there
// server_close() has to be called before a derived class's members go, and if that is forgotten the
// program is ended with a message, always, and not now and then by a race. A server that nobody
// derived from closes itself.
//
// Threads: one call of serve_forever or handle_request at a time. With threads, each takes the next
// request itself, so hooks do not always run in serve_forever's own thread; those of handle_request
// run in the thread that calls it. shutdown(), request_shutdown() and server_close() may be
// called from any, also from handlers and hooks.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

#include "thinsock/request_handler.hpp"
#include "thinsock/socket.hpp"

namespace thinsock {

class BoundPath;

/// Python's class variables, and more. The last argument of every server:
/// {.allow_reuse_address = true, .max_threads = 64}, in this order.
struct ServerOptions {
  int address_family = AF_UNSPEC;    ///< The address decides; a name prefers IPv4.
  bool bind_and_activate = true;     ///< Else call server_bind() and server_activate().
  bool allow_reuse_address = false;  ///< Bind even while old connections are in TIME_WAIT.
  bool allow_reuse_port = false;     ///< SO_REUSEPORT; ignored for a path.
  bool dualstack_ipv6 = false;       ///< IPv6 only: IPv4 clients too, as ::ffff:a.b.c.d.
  /// Unix: remove a path first whose socket no process has open any more.
  bool replace_stale_path = false;
  int request_queue_size = SOMAXCONN;   ///< Connections that may wait to be accepted.
  std::size_t max_packet_size = 65535;  ///< Bytes of a datagram; see Request::truncated.

  Timeout timeout = std::nullopt;          ///< How long handle_request waits for a request.
  Timeout idle_timeout = std::nullopt;     ///< A connection's own, for each call: one may drip on.
  Timeout request_timeout = std::nullopt;  ///< For all calls of a handler together, also the last.
  /// How long requests may go on once serve_forever or server_close() ends them; idle ones
  /// (RequestContext::set_idle) end at once. Then they are cut off: children are killed; of
  /// handlers in threads the connection is shut down, every call of theirs that blocks, on whatever
  /// Socket, fails with std::errc::operation_canceled, and RequestContext::stop_token is stopped. A
  /// handler that sleeps or computes all the same is waited for, however long. A server without a
  /// mix-in answers in its loop: server_close() of another thread cuts that off, a CancelScope
  /// around serve_forever does so without any grace, and request_shutdown() if this is zero.
  Timeout shutdown_timeout = std::nullopt;
  bool daemon_threads = false;  ///< No such grace for threads, as if it were zero.
  bool block_on_close = true;   ///< Else children are left to themselves in the end.

  /// How many requests may be under way, 0: any number. Clients beyond wait to be accepted.
  std::size_t max_threads = 0;
  std::size_t max_children = 40;
  bool refuse_at_limit = false;  ///< Clients beyond are accepted, for handle_overload to refuse.
  std::size_t thread_stack_size = 0;  ///< In bytes, at least 64 KiB; 0: the system's default.
};

class BaseServer {
 public:
  BaseServer(RequestHandler handler, const ServerOptions& options);
  BaseServer(const BaseServer&) = delete;
  BaseServer& operator=(const BaseServer&) = delete;
  virtual ~BaseServer();

  // For the caller.

  /// Until shutdown, or the end of the thread's CancelScope; then waits for the requests under way.
  /// Wakes up for nothing but requests, unless service_actions is wanted every poll_interval.
  /// Returns at once if the server was closed; EBUSY if another thread serves.
  void serve_forever(Timeout poll_interval = std::nullopt);
  /// One request, or handle_timeout after the timeout: options.timeout or the socket's own, the
  /// shorter. Ends without either if shut down.
  void handle_request();
  /// Ends serve_forever, or the first one if none has begun, and returns when it accepts no more;
  /// at once from its own hooks. Of no effect on one that has ended.
  void shutdown();
  /// The same without waiting. May be called by signal handlers.
  void request_shutdown() noexcept;
  /// Shuts down, stops listening, then waits for the requests under way, at most for
  /// shutdown_timeout. From a handler or hook it leaves that to serve_forever. Returns how many
  /// requests had to be cut off in all.
  virtual std::size_t server_close();
  virtual int fileno() const noexcept = 0;
  virtual int socket_type() const noexcept = 0;

  const ServerOptions options;
  Address server_address;  ///< With the real port once it is bound.

  // May be overridden. What they throw goes to handle_error. What that throws leaves serve_forever,
  // or is printed if it was in a thread or child.

  virtual bool verify_request(Request& request, const Address& client_address);
  virtual void process_request(Request& request, const Address& client_address);
  virtual void finish_request(Request& request, const Address& client_address);
  virtual void shutdown_request(Request& request);
  virtual void close_request(Request& request);
  /// Called while the exception is being handled (std::current_exception). Prints it on one line to
  /// standard error, but not that a client has gone (ECONNRESET, EPIPE, ENOTCONN) or that its
  /// request was cut off (ECANCELED). Failures to accept are told here too, once, with an empty
  /// address.
  virtual void handle_error(Request& request, const Address& client_address);
  virtual void handle_timeout() {}
  /// Refuses a client: at the limit, if options.refuse_at_limit. It may be told so,
  /// request.socket.sendall(…), and is closed after this.
  virtual void handle_overload(Request&, const Address&) {}
  /// After every request of serve_forever, and every poll_interval.
  virtual void service_actions() {}

  // For derived classes.

  virtual void server_bind() {}
  virtual void server_activate() {}
  virtual std::pair<Request, Address> get_request() = 0;

 protected:
  /// For the destructor of a class that others may derive from, which calls it first and names its
  /// class: close_in_destructor(typeid(My)). Closes the server; or ends the program with a message
  /// if the object was of a derived class, whose members are gone, while requests may still run.
  void close_in_destructor(const std::type_info& destroyed) noexcept;
  virtual void close_socket() noexcept {}
  void start_thread(Request& request, const Address& client_address);
  void start_child(Request& request, const Address& client_address);
  std::vector<pid_t> children() const;

 private:
  friend class RequestChildren;
  friend class RequestContext;
  friend class RequestThreads;
  struct State;
  class Serving;
  enum class Event { request, timeout, stop };

  virtual bool has_threads() const noexcept { return false; }
  virtual Socket& socket_of(Request& request) noexcept { return request.socket; }
  virtual Timeout own_timeout() const noexcept { return std::nullopt; }
  virtual void forget_in_child() noexcept {}
  void take_requests(Timeout poll_interval);
  Event wait(Timeout timeout);
  bool has_room() noexcept;
  bool handle_one(Request& request, Address& client_address);
  bool next_request(Request& request, Address& client_address);
  void back_off(bool tell);
  void run_service_actions();
  bool finish_or_report(Request& request, const Address& client_address) noexcept;
  void shutdown_or_report(Request& request, const Address& client_address) noexcept;
  void report(Request& request, const Address& client_address) noexcept;
  void wind_up(bool closing) noexcept;

  const RequestHandler handler_;
  std::unique_ptr<State> state_;
};

/// Binds and listens in the constructor, so that clients may connect as soon as there is an object.
/// A constructor calls its own class's hooks: who overrides server_bind or server_activate passes
/// bind_and_activate = false and calls both in his own.
class TCPServer : public BaseServer {
 public:
  TCPServer(AddressLike address, RequestHandler handler, const ServerOptions& options = {});
  ~TCPServer() override;

  int fileno() const noexcept override { return socket.fileno(); }
  int address_family() const noexcept { return socket.family(); }
  int socket_type() const noexcept override { return socket.type(); }

  Socket socket;  ///< Non-blocking once activated; serve_forever does the waiting.

  void server_bind() override;
  void server_activate() override;
  std::pair<Request, Address> get_request() override;

 protected:
  TCPServer(const Address& address, int type, RequestHandler handler, const ServerOptions& options);
  static Address internet_address(AddressLike address, int type, const ServerOptions& options);
  static Address unix_address(AddressLike address);
  void open();
  void close_socket() noexcept override;

 private:
  Timeout own_timeout() const noexcept override;
  void forget_in_child() noexcept override;

  std::unique_ptr<BoundPath> path_;
};

class UDPServer : public TCPServer {
 public:
  UDPServer(AddressLike address, RequestHandler handler, const ServerOptions& options = {});
  ~UDPServer() override;

  void server_bind() override;
  void server_activate() override {}
  std::pair<Request, Address> get_request() override;

 protected:
  UDPServer(const Address& address, int type, RequestHandler handler, const ServerOptions& options);

 private:
  Socket& socket_of(Request&) noexcept override { return socket; }

  std::unique_ptr<char[]> buffer_;
  bool tells_destination_ = false;
};

/// The path is removed when the last process that has the server's socket open closes it, if the
/// path still leads to that socket. Meanwhile its directory is locked, flock(2), at most waiting a
/// second for the lock.
class UnixStreamServer : public TCPServer {
 public:
  UnixStreamServer(AddressLike path, RequestHandler handler, const ServerOptions& options = {});
  ~UnixStreamServer() override;
};

class UnixDatagramServer : public UDPServer {
 public:
  UnixDatagramServer(AddressLike path, RequestHandler handler, const ServerOptions& options = {});
  ~UnixDatagramServer() override;
};

/// A thread for each request, from finish_request on. While requests are answered, other threads
/// wait for the next one, one at a time calls the hooks, and threads that are not needed end after
/// some seconds. serve_forever throws if the system has no thread to begin with.
template <class Server>
class ThreadingMixIn : public Server {
 public:
  using Server::Server;
  ~ThreadingMixIn() override { this->close_in_destructor(typeid(ThreadingMixIn)); }

  void process_request(Request& request, const Address& client_address) override {
    this->start_thread(request, client_address);
  }

 private:
  bool has_threads() const noexcept override { return true; }
};

/// A process for each request, from finish_request on, which ends with _exit. The buffers of
/// std::cout, std::clog and stdout are written before the fork and at its end. fork(2) copies the
/// calling thread only: start such a server before there are others.
template <class Server>
class ForkingMixIn : public Server {
 public:
  using Server::Server;
  ~ForkingMixIn() override { this->close_in_destructor(typeid(ForkingMixIn)); }

  void process_request(Request& request, const Address& client_address) override {
    this->start_child(request, client_address);
  }
  /// At most max_children; those that ended have been waited for.
  std::vector<pid_t> active_children() const { return this->children(); }
};

using ThreadingTCPServer = ThreadingMixIn<TCPServer>;
using ThreadingUDPServer = ThreadingMixIn<UDPServer>;
using ThreadingUnixStreamServer = ThreadingMixIn<UnixStreamServer>;
using ThreadingUnixDatagramServer = ThreadingMixIn<UnixDatagramServer>;
using ForkingTCPServer = ForkingMixIn<TCPServer>;
using ForkingUDPServer = ForkingMixIn<UDPServer>;
using ForkingUnixStreamServer = ForkingMixIn<UnixStreamServer>;
using ForkingUnixDatagramServer = ForkingMixIn<UnixDatagramServer>;

}  // namespace thinsock
