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
// Lifetime: no request outlives the serve_forever that took it. Destroy a server, or an object of a
// derived class, only after serve_forever has returned and its thread is joined. handle_request of
// a threading server does not wait for its requests: call server_close() in the destructor of a
// derived class, or the program ends with a message. A server that is not derived from closes
// itself.
//
// Threads: one serve_forever or handle_request at a time. In a threading server the workers take
// the requests, so hooks may run in any of them; those of handle_request run in its caller's
// thread. shutdown(), request_shutdown() and server_close() may be called from any thread, handler
// or hook.
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

/// Python's class variables, and more: the last argument of every server, in this order,
/// {.allow_reuse_address = true, .max_threads = 64}.
struct ServerOptions {
  int address_family = AF_UNSPEC;    ///< AF_UNSPEC: the address decides; a name prefers IPv4.
  bool bind_and_activate = true;     ///< If false, call server_bind() and server_activate().
  bool allow_reuse_address = false;  ///< Bind even while old connections are in TIME_WAIT.
  bool allow_reuse_port = false;     ///< SO_REUSEPORT; ignored for a path.
  bool dualstack_ipv6 = false;       ///< IPv6 only: IPv4 clients too, as ::ffff:a.b.c.d.
  /// Unix: first remove a path whose socket no process has open.
  bool replace_stale_path = false;
  int request_queue_size = SOMAXCONN;   ///< The backlog of listen(2).
  std::size_t max_packet_size = 65535;  ///< Bytes of a datagram; see Request::truncated.

  Timeout timeout = std::nullopt;          ///< How long handle_request waits for a request.
  Timeout idle_timeout = std::nullopt;     ///< For each call on a connection.
  Timeout request_timeout = std::nullopt;  ///< One budget for all calls of a handler.
  /// How long requests may go on once serve_forever or server_close() ends them; idle ones
  /// (RequestContext::set_idle) end at once. Then they are cut off: children are killed; of
  /// handlers in threads the connection is shut down, every call of theirs that blocks, on whatever
  /// Socket, fails with std::errc::operation_canceled, and RequestContext::stop_token is stopped. A
  /// handler that sleeps or computes all the same is waited for, however long. A server without a
  /// mix-in answers in its loop: server_close() of another thread cuts that off, a CancelScope
  /// around serve_forever does so without any grace, and request_shutdown() if this is zero.
  Timeout shutdown_timeout = std::nullopt;
  bool daemon_threads = false;  ///< Threads get no grace, as if shutdown_timeout were zero.
  bool block_on_close = true;   ///< If false, children are not waited for at the end.

  /// Requests under way at once; 0 is no limit. Further clients wait in the backlog.
  std::size_t max_threads = 0;
  std::size_t max_children = 40;
  bool refuse_at_limit = false;  ///< Further clients are accepted and passed to handle_overload.
  std::size_t thread_stack_size = 0;  ///< In bytes, at least 64 KiB; 0: the system's default.
};

class BaseServer {
 public:
  BaseServer(RequestHandler handler, const ServerOptions& options);
  BaseServer(const BaseServer&) = delete;
  BaseServer& operator=(const BaseServer&) = delete;
  virtual ~BaseServer();

  // For the caller.

  /// Serves until shutdown() or a stop of the thread's CancelScope, then waits for the requests
  /// under way. Wakes only for requests, and every poll_interval for service_actions if one is
  /// given. Returns immediately if the server was closed; throws Error (EBUSY) if another thread
  /// serves.
  void serve_forever(Timeout poll_interval = std::nullopt);
  /// Handles one request, or calls handle_timeout after the shorter of options.timeout and the
  /// socket's own timeout. A shutdown ends it without either.
  void handle_request();
  /// Ends serve_forever, or the first one if none has run yet, and returns once no request is taken
  /// any more; in a hook, immediately. Has no effect after serve_forever has ended.
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

  // May be overridden. Their exceptions go to handle_error. What handle_error throws leaves
  // serve_forever, or is printed if a thread or child threw it.

  virtual bool verify_request(Request& request, const Address& client_address);
  virtual void process_request(Request& request, const Address& client_address);
  virtual void finish_request(Request& request, const Address& client_address);
  virtual void shutdown_request(Request& request);
  virtual void close_request(Request& request);
  /// Called while the exception is being handled (std::current_exception). Prints it on one line to
  /// standard error, but not that a client has gone (ECONNRESET, EPIPE, ENOTCONN) or that its
  /// request was cut off (ECANCELED). Failures to accept are reported here too, once, with an
  /// empty address.
  virtual void handle_error(Request& request, const Address& client_address);
  virtual void handle_timeout() {}
  /// Called for a client over the limit if options.refuse_at_limit. May send it a refusal
  /// (request.socket.sendall); the connection is closed afterwards.
  virtual void handle_overload(Request&, const Address&) {}
  /// Called after every request of serve_forever, and every poll_interval.
  virtual void service_actions() {}

  // For derived classes.

  virtual void server_bind() {}
  virtual void server_activate() {}
  virtual std::pair<Request, Address> get_request() = 0;

 protected:
  /// Call this first in the destructor of a class that others may derive from, with that class:
  /// close_in_destructor(typeid(My)). Closes the server; if a derived object is destroyed while
  /// requests may still run, ends the program with a message.
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
  virtual bool has_datagram() const noexcept { return false; }
  void take_requests(Timeout poll_interval);
  Event next_event(Timeout timeout);
  bool has_room() noexcept;
  bool handle_one(Request& request, Address& client_address);
  bool next_request(Request& request, Address& client_address);
  void back_off(bool tell);
  void back_off_after(long failure);
  void run_service_actions();
  bool finish_or_report(Request& request, const Address& client_address) noexcept;
  void shutdown_or_report(Request& request, const Address& client_address) noexcept;
  void report(Request& request, const Address& client_address) noexcept;
  void drain(bool closing) noexcept;

  const RequestHandler handler_;
  std::unique_ptr<State> state_;
};

/// Binds and listens in the constructor, so clients may connect once the object exists. A
/// constructor cannot call overrides: a class that overrides server_bind or server_activate passes
/// bind_and_activate = false and calls both in its own constructor.
class TCPServer : public BaseServer {
 public:
  TCPServer(AddressLike address, RequestHandler handler, const ServerOptions& options = {});
  ~TCPServer() override;

  int fileno() const noexcept override { return socket.fileno(); }
  int address_family() const noexcept { return socket.family(); }
  int socket_type() const noexcept override { return socket.type(); }

  Socket socket;  ///< A listener is non-blocking once activated; serve_forever waits.

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
  bool has_datagram() const noexcept override;

  std::unique_ptr<char[]> buffer_;
  bool tells_destination_ = false;
};

/// The last process that has the server's socket open removes the path, if it still leads to that
/// socket. Meanwhile it locks the directory (flock(2)), waiting at most a second for the lock.
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

/// Answers each request in a thread, from finish_request on. Idle threads wait for the next
/// request; one at a time calls the hooks, and spare ones end after 5 s. serve_forever throws if it
/// cannot start its first thread.
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

/// Answers each request in a child process, from finish_request on, which ends with _exit.
/// std::cout, std::clog and stdout are flushed before the fork and at the child's end. fork(2)
/// copies only the calling thread: start such a server before other threads.
template <class Server>
class ForkingMixIn : public Server {
 public:
  using Server::Server;
  ~ForkingMixIn() override { this->close_in_destructor(typeid(ForkingMixIn)); }

  void process_request(Request& request, const Address& client_address) override {
    this->start_child(request, client_address);
  }
  /// The process ids of children that have not been reaped yet.
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
