#include "thinsock/request_handler.hpp"

#include <exception>
#include <sstream>
#include <stdexcept>

#include "../system/result.hpp"
#include "packet_info.hpp"
#include "state.hpp"

namespace thinsock {

RequestContext::RequestContext(Socket& socket, const Request& source, const Address& client,
                               BaseServer& its_server) noexcept
    : request(socket),
      packet(source.packet),
      truncated(source.truncated),
      local_address(source.local_address),
      client_address(client),
      server(its_server) {}

void RequestContext::reply(ConstBuffer data) const {
  if (request.type() == SOCK_STREAM) {
    request.sendall(data);
  } else if (local_address.size() == 0) {
    request.sendto(data, client_address);
  } else {
    request.sendmsg({data}, {leaving_from(local_address)}, 0, client_address);
  }
}

void RequestContext::set_idle(bool idle) const noexcept {
  if (Answering* answering = Answering::of_this_thread()) answering->set_idle(idle);
}

std::stop_token RequestContext::stop_token() const noexcept {
  return server.state_->handlers_stop.get_token();
}

const RequestContext& RequestContext::unreachable() noexcept { std::terminate(); }

void BaseRequestHandler::run() {
  try {
    setup();
    handle();
  } catch (...) {
    failed_ = true;
    try {
      finish();
    } catch (...) {  // The first exception is the cause, and only that is reported.
    }
    rethrow();
  }
  finish();
}

void BaseRequestHandler::rethrow() { throw; }

// Only the call that fails throws its Error and sets badbit. Every later call on that stream sets
// failbit too, and throws a mere std::ios_base::failure, in whose place this throws the Error
// again.
void StreamRequestHandler::rethrow() try { throw; } catch (const std::ios_base::failure&) {
  const auto used_again = [](const std::ios& file) {
    return file.bad() && file.rdstate() & std::ios::failbit;
  };
  if (buf_ && buf_->error() && (used_again(rfile) || used_again(wfile))) {
    fail(buf_->error(), "write " + client_address.str());
  }
  throw;
}

void StreamRequestHandler::setup() {
  if (connection.type() != SOCK_STREAM) {
    throw std::invalid_argument(
        "StreamRequestHandler needs a stream socket; use DatagramRequestHandler for datagrams");
  }
  if (timeout != std::nullopt) connection.settimeout(timeout);
  if (disable_nagle_algorithm) connection.set_nodelay();
  buf_ = std::make_shared<SocketBuf>(connection, "rw", rbufsize, wbufsize);
  rfile = SocketStream(buf_);
  buf_->set_stream(&wfile);
  wfile.rdbuf(buf_.get());
  rfile.exceptions(std::ios::badbit);
  wfile.exceptions(std::ios::badbit);
}

void StreamRequestHandler::finish() {
  wfile.exceptions(std::ios::goodbit);
  if (!wfile.bad()) wfile.flush();
}

struct DatagramRequestHandler::Buffers {
  std::stringbuf in, out;
};

DatagramRequestHandler::DatagramRequestHandler()
    : buffers_(new Buffers{std::stringbuf(packet, std::ios::in), std::stringbuf(std::ios::out)}),
      rfile(&buffers_->in),
      wfile(&buffers_->out) {}

DatagramRequestHandler::~DatagramRequestHandler() = default;

void DatagramRequestHandler::finish() {
  if (failed() || client_address.size() == 0) return;
  const std::string answer = buffers_->out.str();
  if (!answer.empty()) reply(answer);
}

}  // namespace thinsock
