#include "thinsock/socketserver.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <tuple>

#include "../system/waiting.hpp"
#include "state.hpp"
#include "thinsock/cancel.hpp"

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

namespace thinsock {

namespace {

// Whether accept(2) failed for this client only, or another process took it: the next may succeed.
bool concerns_one_client(const std::error_code& error) {
  const int codes[] = {ECONNABORTED, EAGAIN,    EPROTO,     ENOPROTOOPT, ENETDOWN,   ENETUNREACH,
                       EHOSTUNREACH, EHOSTDOWN, EOPNOTSUPP, EPERM,       ECONNRESET, ECONNREFUSED};
  return error == std::errc::timed_out ||
         (error.category() == std::system_category() &&
          std::ranges::find(codes, error.value()) != std::end(codes));
}

// How long the server leaves the listener alone after a failure.
constexpr milliseconds kPause(10);

}  // namespace

// Marks the server as serving while this exists. The destructor waits for the requests.
class BaseServer::Serving {
 public:
  Serving(BaseServer& server, bool for_ever)
      : server_(server), state_(*server.state_), for_ever_(for_ever) {
    const std::lock_guard lock(state_.mutex);
    const std::string operation = for_ever ? "serve_forever" : "handle_request";
    if (state_.asked == State::Asked::close && !for_ever) fail(code_of(-EBADF), operation);
    if (state_.serving()) fail(code_of(-EBUSY), operation + ": another thread serves");
    // A stop that came after serve_forever had ended is void.
    State::Asked before = State::Asked::stop;
    if (state_.doing == State::Doing::ended)
      state_.asked.compare_exchange_strong(before, State::Asked::nothing);
    if (!state_.is_asked_to_end()) {
      state_.requests_end = Answering::Ends::when_answered;
      if (state_.handlers_stop.stop_requested()) state_.handlers_stop = std::stop_source();
    }
    if (state_.process != ::getpid()) {  // After a fork the bell and the door are the parent's.
      state_.bell.replace_after_fork();
      state_.door.emplace(state_.bell);
      state_.process = ::getpid();
    }
    state_.bell.silence();  // A later stop rings again.
    state_.doing = State::Doing::taking;
    state_.in_use_as = &typeid(server);
  }

  ~Serving() {
    const bool closing = become(State::Doing::draining) == State::Asked::close;
    if (closing || for_ever_) server_.drain(closing);
    const bool requests_left = state_.threads.needs_finish();
    const bool ended = for_ever_ || state_.is_asked_to_end();
    // One of the last requests may have asked to close the server.
    if (for_ever_ && state_.asked == State::Asked::close) server_.close_socket();
    become(ended ? State::Doing::ended : State::Doing::ready, requests_left);
  }

 private:
  State::Asked become(State::Doing what, bool in_use = true) {
    const std::lock_guard lock(state_.mutex);
    state_.doing = what;
    if (!in_use) state_.in_use_as = nullptr;
    state_.changed.notify_all();
    return state_.asked;
  }

  BaseServer& server_;
  State& state_;
  const bool for_ever_;
};

BaseServer::BaseServer(RequestHandler handler, const ServerOptions& given)
    : options(given), handler_(std::move(handler)), state_(std::make_unique<State>(*this)) {}

BaseServer::~BaseServer() { state_->threads.finish(options.shutdown_timeout); }

void BaseServer::serve_forever(Timeout poll_interval) {
  if (state_->asked == State::Asked::close) return;
  const Serving serving(*this, true);
  if (has_threads()) {
    state_->threads.serve(poll_interval);
  } else {
    take_requests(poll_interval);
  }
}

void BaseServer::take_requests(Timeout poll_interval) {
  const InRole role(*this, true);
  Job job;
  for (Event event; (event = next_event(poll_interval)) != Event::stop;) {
    if (event == Event::request) handle_one(job.request, job.client_address);
    run_service_actions();
  }
}

void BaseServer::handle_request() {
  const Serving serving(*this, false);
  const InRole role(*this, true);
  const Event event = next_event(std::min(own_timeout(), options.timeout));
  Job job;
  if (event == Event::request) handle_one(job.request, job.client_address);
  if (event == Event::timeout) handle_timeout();
}

void BaseServer::shutdown() {
  if (within_hooks(*this)) return state_->stop();
  request_shutdown();
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [&] { return state_->doing != State::Doing::taking; });
}

void BaseServer::request_shutdown() noexcept {
  const ErrnoKept errno_kept;
  const bool at_once = options.shutdown_timeout == nanoseconds(0);
  state_->requests_end = at_once ? Answering::Ends::now : Answering::Ends::when_idle;
  state_->stop();
  state_->cut_off += state_->loop_request.try_must_end(state_->requests_end);
}

std::size_t BaseServer::server_close() {
  State& state = *state_;
  state.close();
  if (within(*this)) return state.cut_off;  // serve_forever closes it at its end.
  const OutOfScope out_of_scope;
  std::unique_lock lock(state.mutex);
  const auto over = [&] { return !state.serving(); };
  state.cut_off += state.loop_request.must_end(Answering::Ends::when_idle);
  if (!state.changed.wait_until(lock, moment_after(options.shutdown_timeout), over)) {
    state.requests_end = Answering::Ends::now;
    state.cut_off += state.loop_request.must_end(Answering::Ends::now);
    lock.unlock();
    state.handlers_stop.request_stop();
    lock.lock();
    state.changed.wait(lock, over);
  }
  state.doing = State::Doing::draining;
  lock.unlock();
  drain(true);
  lock.lock();
  state.doing = State::Doing::ended;
  state.in_use_as = nullptr;
  state.changed.notify_all();
  return state.cut_off;
}

// Waits for the requests. Datagram requests use the server's socket, so it is closed after them.
void BaseServer::drain(bool closing) noexcept {
  State& state = *state_;
  const OutOfScope out_of_scope;
  const bool shared = socket_type() == SOCK_DGRAM;
  state.threads.leave_listener();
  if (closing && !shared) close_socket();
  state.cut_off += state.threads.finish(options.shutdown_timeout);
  state.cut_off += state.children.finish(options.shutdown_timeout);
  if (closing && shared) close_socket();
}

void BaseServer::close_in_destructor(const std::type_info& destroyed) noexcept {
  State& state = *state_;
  const OutOfScope out_of_scope;
  {
    const std::lock_guard lock(state.mutex);
    if (state.in_use_as != nullptr && *state.in_use_as != destroyed) {
      std::fputs(
          "socketserver: a server was destroyed while its requests may still be running: "
          "call server_close() in the destructor of the derived class\n",
          stderr);
      std::terminate();
    }
  }
  try {
    server_close();
  } catch (...) {  // An override threw, and a destructor cannot report it.
  }
}

void BaseServer::start_thread(Request& request, const Address& client_address) {
  state_->threads.start(request, client_address);
}

void BaseServer::start_child(Request& request, const Address& client_address) {
  state_->children.start(request, client_address);
}

std::vector<pid_t> BaseServer::children() const { return state_->children.pids(); }

bool BaseServer::has_room() noexcept {
  return state_->threads.has_room() && state_->children.has_room();
}

// Waits for the next request, and reaps children meanwhile.
BaseServer::Event BaseServer::next_event(Timeout timeout) {
  State& state = *state_;
  Deadline deadline(timeout);
  while (!state.is_asked_to_end() && interrupted() == 0) {
    if (options.refuse_at_limit || has_room()) {
      if (has_datagram()) return Event::request;
      const Result opened =
          has_threads() ? state.door->open_once(fileno()) : state.door->open(fileno());
      if (opened < 0) {
        back_off_after(opened);
        continue;
      }
    } else {
      state.door->shut();
    }
    const nanoseconds left = deadline.remaining();
    Deadline until(timeout == std::nullopt
                       ? state.children.reap_interval()
                       : std::min(Timeout(left), state.children.reap_interval()));
    const Door::Passed passed = state.door->wait(until);
    state.children.reap(passed.fd);
    if (passed.fd == fileno()) {
      state.listener_has_error = !passed.readable;
      return Event::request;
    }
    if (passed.fd == state.bell.fileno() && !state.is_asked_to_end()) state.bell.silence();
    if (passed.fd == -ETIMEDOUT && interrupted() == 0 && deadline.remaining() == nanoseconds(0))
      return Event::timeout;
    if (passed.fd == -ENOMEM) {
      back_off_after(passed.fd);
    } else if (passed.fd < 0 && passed.fd != -ETIMEDOUT && passed.fd != -ECANCELED) {
      check(passed.fd, "serve");
    }
  }
  return Event::stop;
}

// Takes a request through the hooks, as Python's _handle_request_noblock does. False if there was
// none, or if a hook has thrown.
bool BaseServer::handle_one(Request& request, Address& client_address) {
  if (!next_request(request, client_address)) return false;
  try {
    if (options.refuse_at_limit && !has_room()) {
      handle_overload(request, client_address);
      shutdown_request(request);
    } else if (verify_request(request, client_address)) {
      process_request(request, client_address);
    } else {
      shutdown_request(request);
    }
    return true;
  } catch (...) {
    handle_error(request, client_address);
    shutdown_or_report(request, client_address);
  }
  return false;
}

// False if there is none.
bool BaseServer::next_request(Request& request, Address& client_address) {
  State& state = *state_;
  try {
    std::tie(request, client_address) = get_request();
    state.failure_reported = false;
    if (request.socket.fileno() != -1 && options.idle_timeout != std::nullopt) {
      request.socket.settimeout(options.idle_timeout);
    }
    return true;
  } catch (const Error& error) {
    const bool one_client = concerns_one_client(error.code());
    if (!one_client || state.listener_has_error) back_off(!one_client);
  } catch (...) {
    back_off(true);
  }
  return false;
}

// Pauses, because the system is out of something, usually descriptors, or because nobody reads the
// listener's error queue. Reports only the first failure until a request succeeds.
void BaseServer::back_off(bool tell) {
  State& state = *state_;
  Request none;
  if (tell && !std::exchange(state.failure_reported, true)) handle_error(none, Address());
  Deadline pause{Timeout(kPause)};
  wait(state.bell.fileno(), POLLIN, pause);
}

void BaseServer::back_off_after(Result failure) {
  try {
    check(failure, "serve");
  } catch (const Error&) {
    back_off(true);
  }
}

void BaseServer::run_service_actions() {
  try {
    service_actions();
  } catch (...) {
    Request none;
    handle_error(none, Address());
  }
}

bool BaseServer::verify_request(Request&, const Address&) { return true; }

void BaseServer::process_request(Request& request, const Address& client_address) {
  State& state = *state_;
  struct End {
    Answering& answering;
    ~End() { answering.end(); }
  };
  {
    const End end{state.loop_request};
    state.cut_off += state.loop_request.begin(request, client_address, state.requests_end);
    finish_request(request, client_address);
  }
  shutdown_request(request);
}

void BaseServer::finish_request(Request& request, const Address& client_address) {
  std::optional<CancelScope> budget;
  if (options.request_timeout != std::nullopt) budget.emplace(options.request_timeout);
  RequestContext context(socket_of(request), request, client_address, *this);
  handler_(context);
}

void BaseServer::shutdown_request(Request& request) {
  // Sends FIN first: close() resets the connection if the client sent more than was read.
  if (request.socket.fileno() != -1)
    once([&] { return ::shutdown(request.socket.fileno(), SHUT_WR); });
  close_request(request);
}

void BaseServer::close_request(Request& request) { request.socket.close(); }

void BaseServer::handle_error(Request&, const Address& client_address) try {
  std::string text = "an exception that is not a std::exception";
  try {
    throw;
  } catch (const std::system_error& error) {
    const std::error_code& code = error.code();
    if (code == std::errc::connection_reset || code == std::errc::broken_pipe ||
        code == std::errc::not_connected || code == std::errc::operation_canceled)
      return;
    text = error.what();
  } catch (const std::exception& error) {
    text = error.what();
  } catch (...) {
  }
  const std::string who = client_address.str();
  if (text.find(who) == text.npos) text = who + ": " + text;
  std::fputs(("socketserver: " + text + '\n').c_str(), stderr);
} catch (const std::bad_alloc&) {  // The last resort needs no memory.
  std::fputs("socketserver: no memory\n", stderr);
}

// For threads and children, where nothing catches what handle_error throws. True if the handler did
// not throw.
bool BaseServer::finish_or_report(Request& request, const Address& client_address) noexcept try {
  finish_request(request, client_address);
  return true;
} catch (...) {
  report(request, client_address);
  return false;
}

void BaseServer::shutdown_or_report(Request& request, const Address& client_address) noexcept try {
  shutdown_request(request);
} catch (...) {
  report(request, client_address);
}

void BaseServer::report(Request& request, const Address& client_address) noexcept try {
  handle_error(request, client_address);
} catch (...) {
  BaseServer::handle_error(request, client_address);
}

}  // namespace thinsock
