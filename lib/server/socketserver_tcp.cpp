#include <chrono>
#include <stdexcept>

#include "../socket/listener.hpp"
#include "bound_path.hpp"
#include "thinsock/socketserver.hpp"

using std::chrono::nanoseconds;

namespace thinsock {

TCPServer::TCPServer(const Address& address, int type, RequestHandler handler,
                     const ServerOptions& given)
    : BaseServer(std::move(handler), given), socket(address.family(), type) {
  server_address = address;
}

TCPServer::TCPServer(AddressLike address, RequestHandler handler, const ServerOptions& given)
    : TCPServer(internet_address(address, SOCK_STREAM, given), SOCK_STREAM, std::move(handler),
                given) {
  open();
}

TCPServer::~TCPServer() { close_in_destructor(typeid(TCPServer)); }

// Looks a name up as IPv4, as Python does, then as IPv6; in the other order for dualstack_ipv6.
Address TCPServer::internet_address(AddressLike address, int type, const ServerOptions& options) {
  if (address.family() == AF_UNIX) {
    throw std::invalid_argument(address.str() +
                                " is a path: that takes a UnixStreamServer or UnixDatagramServer");
  }
  if (options.address_family != AF_UNSPEC) return address.resolve(options.address_family, type);
  if (address.family() != AF_UNSPEC) return address.resolve(address.family(), type);
  const bool numeric = address.host().find(':') != std::string_view::npos;
  const bool ipv6 = numeric || options.dualstack_ipv6;
  try {
    return address.resolve(ipv6 ? AF_INET6 : AF_INET, type);
  } catch (const ResolveError&) {
    if (numeric) throw;
  }
  return address.resolve(ipv6 ? AF_INET : AF_INET6, type);
}

void TCPServer::open() {
  if (!options.bind_and_activate) return;
  server_bind();
  server_activate();
}

void TCPServer::server_bind() {
  if (options.allow_reuse_address) socket.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1);
  prepare_listener(socket, options.allow_reuse_port, options.dualstack_ipv6);
  if (socket.family() == AF_UNIX) {
    path_ = std::make_unique<BoundPath>(socket, server_address, options.replace_stale_path);
  } else {
    socket.bind(server_address);
  }
  server_address = socket.getsockname();
}

void TCPServer::server_activate() {
  socket.listen(options.request_queue_size);
  socket.settimeout(nanoseconds(0));
}

std::pair<Request, Address> TCPServer::get_request() {
  auto [connection, client_address] = socket.accept();
  return {Request{.socket = std::move(connection)}, client_address};
}

// A listener is always non-blocking; that zero is no timeout.
Timeout TCPServer::own_timeout() const noexcept {
  const Timeout own = socket.gettimeout();
  return own == nanoseconds(0) ? Timeout() : own;
}

// A child closes the listener. A datagram is answered through the server's socket.
void TCPServer::forget_in_child() noexcept {
  if (socket_type() == SOCK_STREAM) Socket(std::move(socket));
}

void TCPServer::close_socket() noexcept {
  Socket(std::move(socket));
  path_.reset();
}

}  // namespace thinsock
