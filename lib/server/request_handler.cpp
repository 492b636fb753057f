#include "thinsock/request_handler.hpp"

#include <exception>
#include <sstream>
#include <stdexcept>

#include "../system/syscall.hpp"

namespace thinsock {

RequestContext::RequestContext(Socket& socket, const Request& source, const Address& client,
                               BaseServer& its_server) noexcept
    : request(socket),
      packet(source.packet),
      truncated(source.truncated),
      local_address(source.local_address),
      client_address(client),
      server(its_server) {}

const RequestContext& RequestContext::none() noexcept { std::terminate(); }

void BaseRequestHandler::run() {
  try {
    setup();
    handle();
  } catch (...) {
    failed_ = true;
    try {
      finish();
    } catch (...) {  // What came first is the cause.
    }
    rethrow();
  }
  finish();
}

void BaseRequestHandler::rethrow() { throw; }

// Streams throw the reason once, and after that no more than that there was one.
void StreamRequestHandler::rethrow() try { throw; } catch (const std::ios_base::failure&) {
  if (rfile.error()) fail(rfile.error(), "write " + client_address.str());
  throw;
}

void StreamRequestHandler::setup() {
  if (connection.type() != SOCK_STREAM) {
    throw std::invalid_argument(
        "a StreamRequestHandler needs a connection: for datagrams there is "
        "DatagramRequestHandler");
  }
  if (timeout != std::nullopt) connection.settimeout(timeout);
  if (disable_nagle_algorithm) connection.set_nodelay();
  rfile = SocketStream(connection, "rw", rbufsize, wbufsize);
  rfile.rdbuf()->belong_to(&wfile);
  wfile.rdbuf(rfile.rdbuf());
  rfile.exceptions(std::ios::badbit);
  wfile.exceptions(std::ios::badbit);
}

void StreamRequestHandler::finish() {
  wfile.exceptions(std::ios::goodbit);
  wfile.flush();
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
