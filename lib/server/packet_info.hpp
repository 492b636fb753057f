// Which of a host's addresses a datagram was sent to, and leaves from.
#pragma once

#include "thinsock/message.hpp"

namespace thinsock {

/// Makes the kernel tell for each datagram which address it was sent to.
void receive_packet_info(Socket& sk, bool ipv4_too);

/// The ancbufsize that recvmsg needs for it.
std::size_t packet_info_size() noexcept;

/// The address to answer from, with the bound port; empty if it is unknown or an IPv6 group.
Address destination_of(const Message& message, const Address& bound);

/// Makes sendmsg send from this address.
Ancillary leaving_from(const Address& address);

}  // namespace thinsock
