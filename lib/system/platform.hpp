// Calls that differ between kernels; each platform_*.cpp also implements Bell and Door. Every
// descriptor is opened close-on-exec.
#pragma once

#include <cstdint>
#include <utility>

#include "deadline.hpp"
#include "result.hpp"
#include "thinsock/address.hpp"
#include "thinsock/descriptor.hpp"

namespace thinsock {

Descriptor open_socket(int family, int type, int proto);
std::pair<Descriptor, Descriptor> open_socketpair(int family, int type, int proto);

/// One accept4(2), as answer_of takes it: the descriptor, or -1 and errno.
int accept_once(int fd, Address& peer, bool nonblocking) noexcept;

/// Calls sendfile(2), or splice(2) for a pipe, until count bytes are sent or the file ends. A
/// negative result is a failure. Never raises SIGPIPE, and leaves in a pipe what the socket does
/// not take. The socket must be non-blocking unless deadline.kernel_waits(fd).
Result send_file(int fd, int file, std::uint64_t offset, std::uint64_t count, std::uint64_t& sent,
                 Deadline& deadline) noexcept;

/// The peer of an internet connection that has ended or is under way, where getpeername(2) fails;
/// empty if there is none.
Address former_peer(int fd, int family) noexcept;

/// The socket's unique number (SO_COOKIE); 0 if fd is no socket.
std::uint64_t cookie_of(int fd) noexcept;

/// A pidfd, readable once the child has ended; empty if pidfd_open(2) fails.
Descriptor open_pidfd(int pid) noexcept;

}  // namespace thinsock
