// thinsock/thinsock.hpp - everything. A file that uses sockets alone compiles faster with
// socket.hpp.
#pragma once

#include "thinsock/address.hpp"
#include "thinsock/buffer.hpp"
#include "thinsock/cancel.hpp"
#include "thinsock/descriptor.hpp"
#include "thinsock/error.hpp"
#include "thinsock/format.hpp"
#include "thinsock/listen_fds.hpp"
#include "thinsock/message.hpp"
#include "thinsock/request_handler.hpp"
#include "thinsock/resolve.hpp"
#include "thinsock/select.hpp"
#include "thinsock/socket.hpp"
#include "thinsock/socketserver.hpp"
#include "thinsock/stream.hpp"
#include "thinsock/timeout.hpp"
#include "thinsock/version.hpp"
