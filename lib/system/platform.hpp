// What differs between kernels, one platform_*.cpp for each; bell.hpp and door.hpp belong here too.
// Every descriptor comes close-on-exec.
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

/// accept(2), made once; as answer_of takes it, -1 and errno for a failure.
int accept_once(int fd, Address& peer, bool nonblocking) noexcept;

/// Calls sendfile(2), or splice(2) for a pipe, until count bytes are sent or the file ends. A
/// negative result is a failure. Never raises SIGPIPE, and leaves in a pipe what the socket does
/// not take. The socket must be non-blocking unless deadline.kernel_waits(fd).
Result send_file(int fd, int file, std::uint64_t offset, std::uint64_t count, std::uint64_t& sent,
                 Deadline& deadline) noexcept;

/// The peer of an internet connection that has ended or is under way, which getpeername(2) does not
/// name; an empty Address if there is none.
Address former_peer(int fd, int family) noexcept;

/// A number that no other socket ever has; 0 if the descriptor is not a socket's.
std::uint64_t cookie_of(int fd) noexcept;

/// A descriptor that poll finds readable once the child process has ended; none if the system has
/// none to give.
Descriptor open_child(int pid) noexcept;

}  // namespace thinsock
