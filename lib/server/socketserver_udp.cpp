#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "../socket/raw_address.hpp"
#include "serving.hpp"

namespace thinsock {

namespace {

bool is_wildcard(const Address& address) {
  return address.family() == AF_INET6 ? address.host() == "::" : address.host() == "0.0.0.0";
}

sockaddr_in6 mapped(in_addr address) noexcept {
  sockaddr_in6 raw{};
  raw.sin6_family = AF_INET6;
  raw.sin6_addr.s6_addr[10] = raw.sin6_addr.s6_addr[11] = 0xff;
  std::memcpy(&raw.sin6_addr.s6_addr[12], &address, sizeof address);
  return raw;
}

// What an answer has to leave from. For what was sent to a broadcast address or a group, IPv4 names
// the interface's own; IPv6 does not.
Address destination_of(const Message& message, const Address& bound) {
  const auto ipv4 = message.get<in_pktinfo>(IPPROTO_IP, IP_PKTINFO);
  if (ipv4 && bound.family() == AF_INET) {
    auto raw = raw_of<sockaddr_in>(bound);
    raw.sin_addr = ipv4->ipi_spec_dst;
    return address_from(raw);
  }
  auto raw = ipv4 ? mapped(ipv4->ipi_spec_dst) : sockaddr_in6{};
  raw.sin6_port = raw_of<sockaddr_in6>(bound).sin6_port;
  if (ipv4) return address_from(raw);
  const auto ipv6 = message.get<in6_pktinfo>(IPPROTO_IPV6, IPV6_PKTINFO);
  if (!ipv6 || IN6_IS_ADDR_MULTICAST(&ipv6->ipi6_addr)) return Address();
  raw.sin6_family = AF_INET6;
  raw.sin6_addr = ipv6->ipi6_addr;
  if (IN6_IS_ADDR_LINKLOCAL(&raw.sin6_addr)) raw.sin6_scope_id = ipv6->ipi6_ifindex;
  return address_from(raw);
}

Ancillary leaving_from(const Address& address) {
  if (address.family() == AF_INET) {
    in_pktinfo info{};
    info.ipi_spec_dst = raw_of<sockaddr_in>(address).sin_addr;
    return {IPPROTO_IP, IP_PKTINFO, {&info, sizeof info}};
  }
  const auto raw = raw_of<sockaddr_in6>(address);
  const in6_pktinfo info{raw.sin6_addr, raw.sin6_scope_id};
  return {IPPROTO_IPV6, IPV6_PKTINFO, {&info, sizeof info}};
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

UDPServer::~UDPServer() { close_in_destructor(); }

void UDPServer::server_bind() {
  TCPServer::server_bind();
  tells_destination_ = is_internet(socket.family()) && is_wildcard(server_address);
  if (!tells_destination_) return;
  const bool ipv6 = socket.family() == AF_INET6;
  if (ipv6) socket.setsockopt(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
  if (!ipv6 || options.dualstack_ipv6) socket.setsockopt(IPPROTO_IP, IP_PKTINFO, 1);
}

std::pair<Request, Address> UDPServer::get_request() {
  std::pair<Request, Address> got;
  const std::error_code error = UDPServer::try_request(got.first, got.second);
  if (error) fail(error, "recvfrom " + server_address.str());
  return got;
}

std::error_code UDPServer::try_request(Request& request, Address& client_address) {
  std::error_code error;
  const std::size_t room = options.max_packet_size;
  const MutableBuffer buffer(buffer_.get(), room);
  std::size_t size;
  if (tells_destination_) {
    const Message message = socket.recvmsg_into(
        {buffer}, CMSG_SPACE(sizeof(in_pktinfo)) + CMSG_SPACE(sizeof(in6_pktinfo)), MSG_DONTWAIT,
        error);
    if (error) return error;
    size = message.size;
    client_address = message.address;
    request.local_address = destination_of(message, server_address);
  } else {
    const Received received = socket.recvfrom_into(buffer, MSG_DONTWAIT | MSG_TRUNC, error);
    if (error) return error;
    size = received.size;
    client_address = received.address;
  }
  request.truncated = size > room;
  request.packet.assign(buffer_.get(), std::min(size, room));
  return error;
}

void RequestContext::reply(ConstBuffer data) const {
  if (request.type() == SOCK_STREAM) {
    request.sendall(data);
  } else if (local_address.size() == 0) {
    request.sendto(data, client_address);
  } else {
    request.sendmsg({data}, {leaving_from(local_address)}, 0, client_address);
  }
}

}  // namespace thinsock
