#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <iostream>

#include "../system/platform.hpp"
#include "state.hpp"

using std::chrono::milliseconds;

namespace thinsock {

namespace {

// Flushes what the child would write again. Not all of stdio: fflush blocks on a stream that waits
// for input.
void flush_output() {
  std::cout.flush();
  std::clog.flush();
  std::fflush(stdout);
}

}  // namespace

bool RequestChildren::has_room() const noexcept {
  const std::size_t most = server_.options.max_children;
  return most == 0 || children_.size() < most;
}

void RequestChildren::start(Request& request, const Address& client_address) {
  {
    const std::lock_guard lock(mutex_);
    children_.reserve(children_.size() + 1);
  }
  flush_output();
  std::unique_lock lock(server_.state_->mutex);  // Else the child's copy might stay locked.
  const auto pid = static_cast<pid_t>(check(once(::fork), "fork"));
  lock.unlock();
  if (pid == 0) run(request, client_address);
  Descriptor pidfd = open_pidfd(pid);
  if (pidfd.fileno() != -1 && server_.state_->door->watch(pidfd.fileno()) < 0) pidfd.close();
  {
    const std::lock_guard lock(mutex_);
    children_.push_back({pid, std::move(pidfd)});
  }
  server_.close_request(request);
}

// The child keeps the request. It closes the bell, the door and a stream server's listener.
void RequestChildren::run(Request& request, const Address& client_address) noexcept {
  BaseServer::State& state = *server_.state_;
  state.bell.close();
  state.door.reset();
  current_scope = nullptr;
  children_.clear();
  server_.forget_in_child();
  const bool fine = server_.finish_or_report(request, client_address);
  server_.shutdown_or_report(request, client_address);
  try {
    flush_output();
  } catch (const std::ios::failure&) {  // Nothing could report it.
  }
  ::_exit(fine ? 0 : 1);
}

void RequestChildren::reap(Result ready) noexcept {
  if (children_.empty()) return;
  const std::lock_guard lock(mutex_);
  std::erase_if(children_, [&](const Child& child) {
    const int pidfd = child.pidfd.fileno();
    if (pidfd != -1 && pidfd != ready) return false;
    if (retried([&] { return ::waitpid(child.pid, nullptr, WNOHANG); }) == 0) return false;
    if (pidfd != -1) server_.state_->door->unwatch(pidfd);
    return true;
  });
}

Timeout RequestChildren::reap_interval() const noexcept {
  const bool blind =
      std::ranges::any_of(children_, [](const Child& child) { return child.pidfd.fileno() == -1; });
  return blind ? Timeout(milliseconds(20)) : Timeout();
}

// False if children are left at the deadline.
bool RequestChildren::wait_for_all(Deadline& deadline) {
  BaseServer::State& state = *server_.state_;
  while (!children_.empty()) {
    const bool over = !deadline.never() && deadline.remaining() == milliseconds(0);
    Deadline until(std::min(reap_interval(), deadline.never() ? Timeout() : deadline.remaining()));
    const Door::Passed passed = state.door->wait(until);
    if (passed.fd == state.bell.fileno()) state.bell.silence();
    reap(passed.fd);
    if (over) break;
  }
  return children_.empty();
}

std::size_t RequestChildren::finish(Timeout grace) {
  if (!server_.options.block_on_close || children_.empty()) return 0;
  server_.state_->door->shut();
  Deadline deadline(grace), never(std::nullopt);
  if (wait_for_all(deadline)) return 0;
  const std::size_t killed = children_.size();
  for (const Child& child : children_) ::kill(child.pid, SIGKILL);
  wait_for_all(never);
  return killed;
}

std::vector<pid_t> RequestChildren::pids() const {
  const std::lock_guard lock(mutex_);
  std::vector<pid_t> pids;
  for (const Child& child : children_) pids.push_back(child.pid);
  return pids;
}

}  // namespace thinsock
