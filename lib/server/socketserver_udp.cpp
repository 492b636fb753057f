#include <algorithm>

#include "../socket/raw_address.hpp"
#include "packet_info.hpp"
#include "thinsock/socketserver.hpp"

namespace thinsock {

namespace {

bool is_wildcard(const Address& address) {
  return address.family() == AF_INET6 ? address.host() == "::" : address.host() == "0.0.0.0";
}

}  // namespace

UDPServer::UDPServer(const Address& address, int type, RequestHandler handler,
                     const ServerOptions& given)
    : TCPServer(address, type, std::move(handler), given),
      buffer_(std::make_unique_for_overwrite<char[]>(given.max_packet_size)) {}

UDPServer::UDPServer(AddressLike address, RequestHandler handler, const ServerOptions& given)
    : UDPServer(internet_address(address, SOCK_DGRAM, given), SOCK_DGRAM, std::move(handler),
                given) {
  open();
}

UDPServer::~UDPServer() { close_in_destructor(typeid(UDPServer)); }

void UDPServer::server_bind() {
  TCPServer::server_bind();
  tells_destination_ = is_internet(socket.family()) && is_wildcard(server_address);
  if (tells_destination_) receive_packet_info(socket, options.dualstack_ipv6);
}

std::pair<Request, Address> UDPServer::get_request() {
  std::pair<Request, Address> got;
  auto& [request, client_address] = got;
  const std::size_t room = options.max_packet_size;
  const MutableBuffer buffer(buffer_.get(), room);
  std::size_t size;
  if (tells_destination_) {
    const Message message = socket.recvmsg_into({buffer}, packet_info_size(), MSG_DONTWAIT);
    size = message.size;
    client_address = message.address;
    request.local_address = destination_of(message, server_address);
  } else {
    const Received received = socket.recvfrom_into(buffer, MSG_DONTWAIT | MSG_TRUNC);
    size = received.size;
    client_address = received.address;
  }
  request.truncated = size > room;
  request.packet.assign(buffer_.get(), std::min(size, room));
  return got;
}

// While datagrams queue up this is cheaper than to wait for them.
bool UDPServer::has_datagram() const noexcept {
  return ::recv(fileno(), nullptr, 0, MSG_PEEK | MSG_DONTWAIT) == 0;
}

}  // namespace thinsock
