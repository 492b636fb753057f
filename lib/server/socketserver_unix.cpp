#include <stdexcept>

#include "thinsock/socketserver.hpp"

namespace thinsock {

Address TCPServer::unix_address(AddressLike address) {
  if (address.family() != AF_UNIX) {
    throw std::invalid_argument(address.str() + " is no path, which a Unix server needs");
  }
  return address.resolve(AF_UNIX);
}

UnixStreamServer::UnixStreamServer(AddressLike path, RequestHandler handler,
                                   const ServerOptions& given)
    : TCPServer(unix_address(path), SOCK_STREAM, std::move(handler), given) {
  open();
}

UnixStreamServer::~UnixStreamServer() { close_in_destructor(typeid(UnixStreamServer)); }

UnixDatagramServer::UnixDatagramServer(AddressLike path, RequestHandler handler,
                                       const ServerOptions& given)
    : UDPServer(unix_address(path), SOCK_DGRAM, std::move(handler), given) {
  open();
}

UnixDatagramServer::~UnixDatagramServer() { close_in_destructor(typeid(UnixDatagramServer)); }

}  // namespace thinsock
