#include "thinsock/socketserver.hpp"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <optional>
#include <string>
#include <thread>
#include <tuple>

#include "../socket/raw_address.hpp"
#include "serving.hpp"
#include "thinsock/cancel.hpp"

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

namespace thinsock {

namespace {

// What failed was to be accepted, or somebody else has it: the next may be better. accept(2).
bool concerns_one_client(const std::error_code& error) {
  const int codes[] = {ECONNABORTED, EAGAIN,       EPROTO,    ENOPROTOOPT, ENETDOWN,
                       ENETUNREACH,  EHOSTUNREACH, EHOSTDOWN, EOPNOTSUPP,  EPERM,
                       ECONNRESET,   ECONNREFUSED, ETIMEDOUT};
  return error.category() == std::system_category() &&
         std::ranges::find(codes, error.value()) != std::end(codes);
}

// For whatever a hook has left open.
struct Closing {
  Request& request;
  ~Closing() {
    if (request.socket.fileno() != -1) Socket(std::move(request.socket));
  }
};

constexpr nanoseconds kLongestPause = std::chrono::seconds(1);

}  // namespace

constinit thread_local const Frame* frames = nullptr;

Connection::Connection(int number, const Address& address) noexcept
    : fd(number), client(&address), cookie(address.family() == AF_UNIX ? cookie_of(number) : 0) {}

bool Connection::cut() const noexcept {
  Address peer;
  return name_into(peer, ::getpeername, fd) == 0 && peer == *client &&
         (cookie == 0 || cookie == cookie_of(fd)) &&
         once([&] { return ::shutdown(fd, SHUT_RDWR); }) == 0;
}

// While one of its calls takes requests, and then while those are waited for.
class BaseServer::Serving {
 public:
  Serving(BaseServer& server, bool for_ever) : server_(server), for_ever_(for_ever) {
    State& state = *server.state_;
    const std::lock_guard lock(state.mutex);
    if (state.serving) fail(code_of(-EBUSY), "serve_forever");
    if (state.phase == State::closed && !for_ever) fail(code_of(-EBADF), "handle_request");
    state.serving = state.accepting = true;
    state.for_ever = for_ever;
    state.served_as = &typeid(server);
    state.has_hooks = typeid(server) != server.known_type() || server.wraps_hooks();
    State::Phase before = State::ended;
    state.phase.compare_exchange_strong(before, State::open);
    frames = &frame_;
  }

  ~Serving() {
    State& state = *server_.state_;
    if (state.requests) state.requests->stop_waiting();  // So that shutdown() may return.
    const bool closing = accept_no_more();
    if (closing || for_ever_) server_.wind_up(closing);
    const std::lock_guard lock(state.mutex);
    if (state.closing && for_ever_) {  // One of the last requests may have asked for it.
      server_.close_socket();
      state.phase = State::closed;
    }
    frames = frame_.outer;
    state.serving = false;
    state.changed.notify_all();
  }

 private:
  // Whether the server is to be closed.
  bool accept_no_more() {
    State& state = *server_.state_;
    const std::lock_guard lock(state.mutex);
    state.accepting = false;
    if (state.closing) {
      state.phase = State::closed;
    } else if (state.phase != State::closed && (for_ever_ || state.phase == State::stopping)) {
      state.phase = State::ended;
    }
    lower_wakeup(state.bell.fileno());
    state.changed.notify_all();
    return state.phase == State::closed;
  }

  BaseServer& server_;
  const bool for_ever_;
  const Frame frame_{&server_, true, frames};
};

// While the loop itself answers a request, which may be cut off from elsewhere.
class BaseServer::Current {
 public:
  Current(BaseServer& server, const Request& request, const Address& client_address)
      : state_(*server.state_), connection_(request.socket.fileno(), client_address) {
    state_.current = &connection_;
    if (state_.phase == State::stopping) server.request_shutdown();  // It may have come too early.
    if (state_.overdue) state_.cut_current();
  }
  ~Current() {
    state_.current = nullptr;
    while (state_.cutting != 0) std::this_thread::yield();  // It is still being looked at.
  }

 private:
  State& state_;
  const Connection connection_;
};

BaseServer::BaseServer(RequestHandler handler, const ServerOptions& given)
    : options(given), handler_(std::move(handler)), state_(std::make_unique<State>()) {}

BaseServer::~BaseServer() = default;

void BaseServer::serve_forever(Timeout poll_interval) {
  const Serving serving(*this, true);
  for (Event event; (event = wait(poll_interval)) != Event::stop;) {
    if (event == Event::request) handle_one();
    if (event == Event::request && !state_->has_hooks) handle_more();
    try {
      service_actions();
    } catch (...) {
      Request none;
      handle_error(none, Address());
    }
  }
}

void BaseServer::handle_request() {
  const Serving serving(*this, false);
  const Event event = wait(std::min(own_timeout(), options.timeout));
  if (event == Event::request) handle_one();
  if (event == Event::timeout) handle_timeout();
}

void BaseServer::shutdown() {
  if (within(*this, true)) return state_->stop();
  request_shutdown();
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [&] { return !state_->accepting; });
}

void BaseServer::request_shutdown() noexcept {
  const ErrnoKept errno_kept;
  state_->stop();
  if (options.shutdown_timeout == nanoseconds(0)) state_->cut_current();
}

std::size_t BaseServer::server_close() {
  State& state = *state_;
  if (within(*this)) {
    state.stop();
    const std::lock_guard lock(state.mutex);
    state.closing = true;
    return state.cut_off;
  }
  const OutOfScope out_of_scope;
  const std::lock_guard one_at_a_time(state.close_mutex);
  state.phase = State::closed;  // At once, or who calls handle_request again and again never ends.
  state.wake();
  std::unique_lock lock(state.mutex);
  const auto over = [&] { return !state.serving; };
  if (!state.changed.wait_until(lock, moment_after(options.shutdown_timeout), over)) {
    state.overdue = true;
    state.cut_current();
    state.changed.wait(lock, over);
  }
  lock.unlock();
  wind_up(true);
  return state.cut_off;
}

// Waits for the requests. Those of a datagram server are using its socket meanwhile.
void BaseServer::wind_up(bool closing) noexcept {
  State& state = *state_;
  const OutOfScope out_of_scope;
  const bool shared = socket_type() == SOCK_DGRAM;
  if (closing && !shared) close_socket();
  if (state.requests) state.cut_off += state.requests->finish(options.shutdown_timeout);
  state.unwaited = false;
  if (closing && shared) close_socket();
}

void BaseServer::close_in_destructor() noexcept {
  State& state = *state_;
  const OutOfScope out_of_scope;
  {
    const std::lock_guard lock(state.mutex);
    if ((state.serving || state.unwaited) && *state.served_as != known_type()) {
      std::fputs(
          "socketserver: a server was destroyed while its requests may still be running: "
          "call server_close() in the destructor of the derived class\n",
          stderr);
      std::terminate();
    }
  }
  try {
    server_close();
  } catch (...) {  // Of an override: there is nobody left to be told.
  }
  state.requests.reset();
}

void BaseServer::start_thread(Request& request, const Address& client_address) {
  if (!state_->requests) state_->set(make_threads(*this, !state_->has_hooks));
  state_->unwaited = true;
  state_->requests->start(request, client_address);
}

void BaseServer::start_child(Request& request, const Address& client_address) {
  if (!state_->requests) state_->set(make_children(*this));
  state_->requests->start(request, client_address);
}

std::vector<pid_t> BaseServer::children() const {
  const std::lock_guard lock(state_->mutex);
  return state_->requests ? state_->requests->children() : std::vector<pid_t>();
}

// Waits for the next request, and does meanwhile whatever else there is to do.
BaseServer::Event BaseServer::wait(Timeout timeout) {
  State& state = *state_;
  Deadline deadline(timeout);
  while (state.phase == State::open && interrupted() == 0) {
    const nanoseconds pause = state.pause_left();
    const bool waits = pause == nanoseconds(0) &&
                       (!state.requests || state.requests->loop_waits(state.pause_length != 0));
    state.entries.assign({{state.bell.fileno(), POLLIN, 0}, {waits ? fileno() : -1, POLLIN, 0}});
    if (state.requests) state.requests->watch(state.entries);
    const std::size_t count = state.entries.size();
    state.entries.push_back({});

    Timeout longest = pause == nanoseconds(0) ? Timeout() : Timeout(pause);
    if (state.requests) longest = std::min(longest, state.requests->patience());
    if (timeout != std::nullopt) longest = std::min(longest, Timeout(deadline.remaining()));
    Deadline until(longest);
    const Result result = wait_any(state.entries.data(), count, until);
    if (state.requests) state.requests->tend(&state.entries[2]);
    if (result < 0 && result != -ETIMEDOUT && result != -ECANCELED) check(result, "poll");
    if (result < 0) {
      if (interrupted() == 0 && timeout != std::nullopt && deadline.remaining() == nanoseconds(0))
        return Event::timeout;
      continue;
    }
    if (state.phase != State::open) break;
    if (state.entries[0].revents != 0) lower_wakeup(state.bell.fileno());
    if (state.entries[1].revents != 0) return Event::request;
  }
  return Event::stop;
}

// Unless there are other things to look after than the next request.
void BaseServer::handle_more() {
  State& state = *state_;
  for (bool well = true; well && state.eagerness.tries(); state.eagerness.tried(well)) {
    well = !state.requests && state.phase == State::open && interrupted() == 0 && handle_one();
  }
}

// Python's _handle_request_noblock. Whether there was one.
bool BaseServer::handle_one() {
  Request& request = state_->request;
  const Address& client_address = state_->client_address;
  const Closing closing{request};
  if (!next_request(request, state_->client_address)) return false;
  try {
    if (options.refuse_at_limit && state_->requests && !state_->requests->has_room()) {
      handle_overload(request, client_address);
      shutdown_request(request);
    } else if (verify_request(request, client_address)) {
      process_request(request, client_address);
    } else {
      shutdown_request(request);
    }
  } catch (...) {
    handle_error(request, client_address);
    shutdown_or_report(request, client_address);
  }
  return true;
}

// As get_request, of which the library's own make no exception where there is none: that happens
// all the time.
std::error_code BaseServer::try_request(Request& request, Address& client_address) {
  std::tie(request, client_address) = get_request();
  return {};
}

// False if there is nothing to be had.
bool BaseServer::next_request(Request& request, Address& client_address) {
  State& state = *state_;
  std::unique_lock lock(state.taking, std::defer_lock);
  if (state.requests && !takes_side_by_side()) lock.lock();  // Else there is no other thread.
  if (state.pause_left() != nanoseconds(0)) return false;
  try {
    const std::error_code error = state.has_hooks ? BaseServer::try_request(request, client_address)
                                                  : try_request(request, client_address);
    if (error && concerns_one_client(error)) return false;
    if (error)
      fail(error, (socket_type() == SOCK_DGRAM ? "recvfrom " : "accept ") + server_address.str());
    if (state.pause_length != 0) {
      state.pause_length = state.pause_end = 0;
      state.wake();  // The loop may be waiting for the end of it.
    }
    Socket& connection = request.socket;
    if (connection.fileno() != -1 && options.idle_timeout != std::nullopt) {
      connection.settimeout(options.idle_timeout);
    }
    return true;
  } catch (const Error& error) {
    if (concerns_one_client(error.code())) return false;
    back_off();
  } catch (...) {
    back_off();
  }
  return false;
}

// The system has run out of something, as a rule descriptors. Says so once, and leaves the listener
// alone for a while, ever longer, until there is a request again.
void BaseServer::back_off() {
  State& state = *state_;
  const nanoseconds before(state.pause_length);
  const nanoseconds length = std::clamp<nanoseconds>(2 * before, milliseconds(10), kLongestPause);
  const bool first = state.pause_length.exchange(length.count()) == 0;
  state.pause_end = now() + length.count();
  Request none;
  if (first) handle_error(none, Address());
}

bool BaseServer::verify_request(Request&, const Address&) { return true; }

void BaseServer::process_request(Request& request, const Address& client_address) {
  {
    std::optional<Current> current;  // There is no cutting off a datagram.
    if (request.socket.fileno() != -1) current.emplace(*this, request, client_address);
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
  // Or the client might see a reset, where it had sent more than was read.
  if (request.socket.fileno() != -1)
    once([&] { return ::shutdown(request.socket.fileno(), SHUT_WR); });
  close_request(request);
}

void BaseServer::close_request(Request& request) { request.socket.close(); }

void BaseServer::handle_error(Request&, const Address& client_address) {
  std::string text = "an exception that is not a std::exception";
  try {
    throw;
  } catch (const Error& error) {
    const std::error_code& code = error.code();
    if (code == std::errc::connection_reset || code == std::errc::broken_pipe ||
        code == std::errc::not_connected)
      return;
    text = error.what();
  } catch (const std::exception& error) {
    text = error.what();
  } catch (...) {
  }
  const std::string who = client_address.str();
  if (text.find(who) == text.npos) text = who + ": " + text;
  std::fputs(("socketserver: " + text + '\n').c_str(), stderr);
}

// The two halves of a request that a mix-in has taken elsewhere, where nobody could catch what a
// handle_error throws. Whether the first went well.
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
