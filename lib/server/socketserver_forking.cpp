#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <iostream>

#include "serving.hpp"

using std::chrono::milliseconds;

namespace thinsock {

/// The processes of a server. poll tells when one has ended.
class RequestChildren : public Requests {
 public:
  explicit RequestChildren(BaseServer& server) : server_(server) {}

  bool has_room() override;
  bool loop_waits(bool) override { return server_.options.refuse_at_limit || has_room(); }
  void start(Request& request, const Address& client_address) override;
  std::size_t finish(Timeout grace) override;
  void watch(std::vector<pollfd>& entries) override;
  Timeout patience() const override;
  void tend(const pollfd* entries) override;
  std::vector<pid_t> children() const override;

 private:
  struct Child {
    pid_t pid;
    Descriptor ended;  // Readable then; -1 if the system had none to give.
  };

  [[noreturn]] void run(Request& request, const Address& client_address) noexcept;
  bool collect(Deadline& deadline);

  BaseServer& server_;
  mutable std::mutex mutex_;  // For children(); all else is the loop's.
  std::vector<Child> children_;
};

std::unique_ptr<Requests> make_children(BaseServer& server) {
  return std::make_unique<RequestChildren>(server);
}

namespace {

// Of which the child has a copy. Not every stdio stream: one of them may be waiting for input.
void flush_output() {
  std::cout.flush();
  std::clog.flush();
  std::fflush(stdout);
}

}  // namespace

bool RequestChildren::has_room() {
  const std::size_t most = server_.options.max_children;
  return most == 0 || children_.size() < most;
}

void RequestChildren::start(Request& request, const Address& client_address) {
  {
    const std::lock_guard lock(mutex_);
    children_.reserve(children_.size() + 1);
  }
  flush_output();
  std::unique_lock lock(server_.state_->mutex);  // Or the child's might stay locked for ever.
  const auto pid = static_cast<pid_t>(check(once(::fork), "fork"));
  lock.unlock();
  if (pid == 0) run(request, client_address);
  {
    const std::lock_guard lock(mutex_);
    children_.push_back({pid, Descriptor(std::max(static_cast<int>(open_child(pid)), -1))});
  }
  server_.close_request(request);
}

// Nothing of the parent's server is left to the child but the request: neither the listener, nor
// the path, nor what wakes the parent's loop or ends it.
void RequestChildren::run(Request& request, const Address& client_address) noexcept {
  BaseServer::State& state = *server_.state_;
  state.bell.close();
  leave_scopes_in_child();
  children_.clear();
  server_.forget_in_child();
  const bool fine = server_.finish_or_report(request, client_address);
  server_.shutdown_or_report(request, client_address);
  try {
    flush_output();
  } catch (const std::ios::failure&) {  // Its exceptions() are set, but nobody could catch them.
  }
  ::_exit(fine ? 0 : 1);
}

void RequestChildren::watch(std::vector<pollfd>& entries) {
  for (const Child& child : children_) entries.push_back({child.ended.fileno(), POLLIN, 0});
}

Timeout RequestChildren::patience() const {
  const bool blind =
      std::ranges::any_of(children_, [](const Child& child) { return child.ended.fileno() == -1; });
  return blind ? Timeout(milliseconds(20)) : Timeout();
}

void RequestChildren::tend(const pollfd* entries) {
  const auto ended = [&](const Child& child) {
    const pollfd& entry = entries[&child - children_.data()];
    if (entry.fd != -1 && entry.revents == 0) return false;
    return retried([&] { return ::waitpid(child.pid, nullptr, WNOHANG); }) != 0;
  };
  const std::lock_guard lock(mutex_);
  std::erase_if(children_, ended);
}

// The end of the deadline leaves some; then false.
bool RequestChildren::collect(Deadline& deadline) {
  std::vector<pollfd> entries;
  while (!children_.empty()) {
    entries.clear();
    watch(entries);
    Timeout longest = patience();
    if (!deadline.never()) longest = std::min(longest, Timeout(deadline.remaining()));
    Deadline until(longest);
    const Result result = wait_any(entries.data(), entries.size(), until);
    tend(entries.data());
    if (result < 0 && !deadline.never() && deadline.remaining() == milliseconds(0)) break;
  }
  return children_.empty();
}

std::size_t RequestChildren::finish(Timeout grace) {
  if (!server_.options.block_on_close) return 0;
  Deadline deadline(grace), never(std::nullopt);
  if (collect(deadline)) return 0;
  const std::size_t killed = children_.size();
  for (const Child& child : children_) ::kill(child.pid, SIGKILL);
  collect(never);
  return killed;
}

std::vector<pid_t> RequestChildren::children() const {
  const std::lock_guard lock(mutex_);
  std::vector<pid_t> pids;
  for (const Child& child : children_) pids.push_back(child.pid);
  return pids;
}

}  // namespace thinsock
