// What create_server and the servers have in common.
#pragma once

#include "thinsock/socket.hpp"

namespace thinsock {

/// Sets what Python's create_server sets before it binds: SO_REUSEPORT and IPV6_V6ONLY.
void prepare_listener(Socket& sk, bool reuse_port, bool dualstack_ipv6);

}  // namespace thinsock
