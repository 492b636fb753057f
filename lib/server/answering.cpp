#include "answering.hpp"

#include "../socket/raw_address.hpp"
#include "../system/platform.hpp"

namespace thinsock {

void Answering::begin(const Request& request, const Address& client) noexcept {
  const std::lock_guard lock(mutex_);
  fd_ = request.socket.fileno();
  client_ = &client;
  cookie_ = fd_ != -1 && client.family() == AF_UNIX ? cookie_of(fd_) : 0;
}

void Answering::end() noexcept {
  const std::lock_guard lock(mutex_);
  fd_ = -1;
}

bool Answering::cut() noexcept {
  const std::lock_guard lock(mutex_);
  return cut_locked();
}

bool Answering::try_cut() noexcept {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  return lock && cut_locked();
}

// The handler may have closed the connection, and then the descriptor's number may be another's.
bool Answering::cut_locked() noexcept {
  if (fd_ == -1) return false;
  Address peer;
  return name_into(peer, ::getpeername, fd_) == 0 && peer == *client_ &&
         (cookie_ == 0 || cookie_ == cookie_of(fd_)) &&
         once([&] { return ::shutdown(fd_, SHUT_RDWR); }) == 0;
}

}  // namespace thinsock
