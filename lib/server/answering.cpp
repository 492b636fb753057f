#include "answering.hpp"

#include <algorithm>

#include "../socket/raw_address.hpp"
#include "../system/platform.hpp"

namespace thinsock {

// Only an Answering has a connection.
Answering* Answering::of_this_thread() noexcept {
  Scope* scope = current_scope;
  while (scope != nullptr && scope->connection == nullptr) scope = scope->outer;
  return static_cast<Answering*>(scope);
}

bool Answering::begin(const Request& request, const Address& client,
                      const std::atomic<Ends>& when) noexcept {
  const std::lock_guard lock(mutex_);
  active_ = true;
  idle_ = false;
  ends_ = when;
  fd_ = request.socket.fileno();
  client_ = &client;
  cookie_ = fd_ != -1 && client.family() == AF_UNIX ? cookie_of(fd_) : 0;
  connection = &request.socket;
  enter(true);
  return end_if_due();
}

void Answering::end() noexcept {
  const std::lock_guard lock(mutex_);
  active_ = false;
  leave();
}

bool Answering::must_end(Ends when) noexcept {
  const std::lock_guard lock(mutex_);
  ends_ = std::max(ends_, when);
  return end_if_due();
}

bool Answering::try_must_end(Ends when) noexcept {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return false;
  ends_ = std::max(ends_, when);
  return end_if_due();
}

void Answering::set_idle(bool idle) noexcept {
  const std::lock_guard lock(mutex_);
  idle_ = idle;
  end_if_due();
}

bool Answering::end_if_due() noexcept {
  if (!active_ || stopped || ends_ == Ends::when_answered) return false;
  if (ends_ == Ends::when_idle && !idle_) return false;
  cut();
  return !idle_;
}

// The handler may have closed fd_ and its number may be in use again, so the peer is compared
// first.
void Answering::cut() noexcept {
  Address peer;
  if (fd_ != -1 && name_into(peer, ::getpeername, fd_) == 0 && peer == *client_ &&
      (cookie_ == 0 || cookie_ == cookie_of(fd_))) {
    once([&] { return ::shutdown(fd_, SHUT_RDWR); });
  }
  stop();
}

}  // namespace thinsock
