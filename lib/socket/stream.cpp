#include "thinsock/stream.hpp"

#include <algorithm>
#include <climits>
#include <cstring>
#include <stdexcept>

#include "failure.hpp"
#include "transfer.hpp"

namespace thinsock {

SocketBuf::SocketBuf(Socket&& sk, std::string_view mode, std::size_t rbufsize, std::size_t wbufsize)
    : SocketBuf(owned_socket_, mode, rbufsize, wbufsize) {
  owned_socket_ = std::move(sk);
}

SocketBuf::SocketBuf(Socket& sk, std::string_view mode, std::size_t rbufsize, std::size_t wbufsize)
    : sk_(&sk),
      rbufsize_(std::max<std::size_t>(rbufsize, 1)),
      wbufsize_(wbufsize),
      can_read_(mode.find('r') != mode.npos),
      can_write_(mode.find('w') != mode.npos),
      in_(can_read_ ? rbufsize_ : 0, '\0'),
      out_(can_write_ ? wbufsize : 0, '\0') {
  if (mode.find_first_not_of("rwb") != mode.npos || !(can_read_ || can_write_)) {
    throw std::invalid_argument("a mode must be r, w or rw, with or without b, not " +
                                std::string(mode));
  }
  setg(in_.data(), in_.data(), in_.data());
  setp(out_.data(), out_.data() + out_.size());
}

SocketBuf::~SocketBuf() {
  try {
    if (!send_failed_) flush();
  } catch (...) {  // A destructor must not throw; close() and flush() report errors.
  }
}

// A peer that stops reading has often sent the reason. So a failure to send is not reported before
// everything that the peer sent has been read. At the end of the stream it is reported only once,
// because reporting puts back the bytes that were read before the end.
std::size_t SocketBuf::receive(MutableBuffer buffer) {
  const bool reported = send_failed_ && !send_failure_withheld_;
  std::error_code unsent;
  try {
    flush();
  } catch (const Error& failure) {
    unsent = failure.code();
    send_failure_withheld_ = !reported;
  }
  const int flags = unsent == std::errc::timed_out ? MSG_DONTWAIT : 0;  // No time is left to wait.
  std::error_code error;
  const std::size_t size = sk_->recv_into(buffer, flags, error);
  if (unsent && (error || (size == 0 && send_failure_withheld_))) {
    send_failure_withheld_ = false;
    fail_for(unsent, "write");
  }
  if (error) fail_for(error, "read");
  return size;
}

void SocketBuf::fail_for(std::error_code error, const char* operation, std::size_t sent) {
  error_ = error;
  fail(error, operation, *sk_, sent);
}

// Fails where Python raises UnsupportedOperation: the mode does not allow the operation.
void SocketBuf::check_mode(bool allowed, const char* operation) {
  if (!allowed) fail_for(code_of(-EBADF), operation);
}

// Moves the unread bytes to the front of the buffer and receives more behind them, at most
// rbufsize_ however much room there is: what is beyond them stays the Socket's. False at the end of
// the stream.
bool SocketBuf::receive_more() {
  const std::size_t unread = static_cast<std::size_t>(egptr() - gptr());
  if (unread > 0) std::memmove(in_.data(), gptr(), unread);
  if (unread == in_.size()) in_.resize(2 * unread);
  setg(in_.data(), in_.data(), in_.data() + unread);
  const std::size_t size = receive({egptr(), std::min(in_.size() - unread, rbufsize_)});
  setg(in_.data(), in_.data(), egptr() + size);
  return size > 0;
}

SocketBuf::int_type SocketBuf::underflow() {
  check_mode(can_read_, "read");
  if (gptr() < egptr() || receive_more()) return traits_type::to_int_type(*gptr());
  return traits_type::eof();
}

// Copies bytes out of the get area, which has to hold that many.
void SocketBuf::take_buffered(char* data, std::size_t size) {
  traits_type::copy(data, gptr(), size);
  setg(eback(), gptr() + size, egptr());
}

// Receives straight into data as long as more is wanted than the buffer holds. A failure puts back
// what data has got so far, so that it can be read again.
std::streamsize SocketBuf::xsgetn(char* data, std::streamsize size) {
  check_mode(can_read_, "read");
  std::streamsize done = 0;
  try {
    for (;;) {
      const std::streamsize buffered = std::min<std::streamsize>(egptr() - gptr(), size - done);
      take_buffered(data + done, static_cast<std::size_t>(buffered));
      done += buffered;
      if (done == size) return done;
      const auto rest = static_cast<std::size_t>(size - done);
      const bool direct = rest >= in_.size();
      const std::size_t received = direct ? receive({data + done, rest}) : receive_more();
      if (received == 0) return done;
      if (!direct) continue;
      done += static_cast<std::streamsize>(received);
      setg(in_.data(), in_.data(), in_.data());  // Its bytes are too old to be put back (unget).
    }
  } catch (const Error&) {
    const auto unread = static_cast<std::size_t>(done);
    if (unread > in_.size()) in_.resize(unread);
    std::memcpy(in_.data(), data, unread);
    setg(in_.data(), in_.data(), in_.data() + unread);
    throw;
  }
}

std::string SocketBuf::line(std::size_t limit) {
  check_mode(can_read_, "read");
  for (std::size_t searched = 0;;) {
    const std::string_view unread(gptr(), static_cast<std::size_t>(egptr() - gptr()));
    const std::size_t newline = unread.find('\n', searched);
    const std::size_t length = newline == unread.npos ? unread.size() : newline + 1;
    searched = unread.size();
    if (newline != unread.npos || length >= limit || !receive_more()) {
      std::string line(std::min(length, limit), '\0');
      take_buffered(line.data(), line.size());
      return line;
    }
  }
}

// What cannot be sent stays in the buffer for the next attempt, even beyond wbufsize.
void SocketBuf::flush() {
  const auto pending = static_cast<std::size_t>(pptr() - pbase());
  if (pending == 0) return;
  std::error_code error;
  const std::size_t sent = sk_->sendall({pbase(), pending}, error);
  send_failed_ = sent < pending;
  send_failure_withheld_ = false;
  // The usual case: everything was sent, and the buffer has not grown.
  if (!send_failed_ && out_.size() == wbufsize_) return setp(out_.data(), out_.data() + wbufsize_);
  out_.erase(0, sent);
  out_.resize(pending - sent);
  rebuild_put_area({}, wbufsize_);
  if (error) fail_for(error, "write", sent);
}

// Expects out_ to hold exactly the bytes that are still to be sent, appends more to them, and makes
// them the written part of a put area of at least capacity bytes.
void SocketBuf::rebuild_put_area(std::string_view more, std::size_t capacity) {
  out_.append(more);
  const std::size_t pending = out_.size();
  out_.resize(std::max(pending, capacity));
  setp(out_.data(), out_.data() + out_.size());
  mark_written(pending);
}

// pbump takes an int, which may be less.
void SocketBuf::mark_written(std::size_t size) {
  for (; size > INT_MAX; size -= INT_MAX) pbump(INT_MAX);
  pbump(static_cast<int>(size));
}

SocketBuf::int_type SocketBuf::overflow(int_type c) {
  check_mode(can_write_, "write");
  if (traits_type::eq_int_type(c, traits_type::eof())) {
    flush();
  } else {
    const char byte = traits_type::to_char_type(c);
    xsputn(&byte, 1);
  }
  return traits_type::not_eof(c);
}

std::streamsize SocketBuf::xsputn(const char* data, std::streamsize size) {
  check_mode(can_write_, "write");
  std::string_view rest(data, static_cast<std::size_t>(size));
  if (size > epptr() - pptr()) {
    try {
      flush();
      if (rest.size() >= wbufsize_) {
        std::error_code error;
        const std::size_t sent = sk_->sendall(rest, error);
        rest.remove_prefix(sent);
        if (error) fail_for(error, "write", sent);
      }
    } catch (const Error&) {
      out_.resize(static_cast<std::size_t>(pptr() - pbase()));
      rebuild_put_area(rest, wbufsize_);
      send_failed_ = true;
      throw;
    }
  }
  rest.copy(pptr(), rest.size());  // Unlike memcpy, it may copy nothing from nullptr.
  mark_written(rest.size());
  return size;
}

int SocketBuf::sync() {
  try {
    flush();
    return 0;
  } catch (const Error&) {
    // With unitbuf, the destructor of std::ostream::sentry calls this, and an exception would end
    // the program, also one that the sentry throws because -1 makes it set badbit and exceptions()
    // has that bit. In that case the next write has to report the failure.
    if (stream_ == nullptr || !(stream_->flags() & std::ios::unitbuf)) throw;
    if (!(stream_->exceptions() & std::ios::badbit)) return -1;
    out_.resize(static_cast<std::size_t>(pptr() - pbase()));
    rebuild_put_area({}, 0);  // A full put area makes the next write flush first.
    return 0;
  }
}

SocketStream::SocketStream(Socket& sk, std::string_view mode, std::size_t rbufsize,
                           std::size_t wbufsize)
    : SocketStream(std::make_shared<SocketBuf>(sk, mode, rbufsize, wbufsize)) {}

SocketStream::SocketStream(Socket&& sk, std::string_view mode, std::size_t rbufsize,
                           std::size_t wbufsize)
    : SocketStream(std::make_shared<SocketBuf>(std::move(sk), mode, rbufsize, wbufsize)) {}

SocketStream::SocketStream(std::shared_ptr<SocketBuf> buf)
    : std::iostream(buf.get()), buf_(std::move(buf)) {
  buf_->set_stream(this);
}

SocketStream::SocketStream(SocketStream&& other) noexcept : SocketStream() {
  *this = std::move(other);
}

SocketStream& SocketStream::operator=(SocketStream&& other) noexcept {
  if (this == &other) return *this;
  std::iostream::operator=(std::move(other));
  buf_ = std::move(other.buf_);
  set_rdbuf(buf_.get());
  if (buf_ && buf_->stream_ == &other) buf_->set_stream(this);
  other.exceptions(std::ios::goodbit);
  other.std::ios::rdbuf(nullptr);  // Sets badbit.
  return *this;
}

// Handles an exception as the standard's own input and output functions do: sets badbit, and
// rethrows only if exceptions() has badbit.
template <class Action>
void SocketStream::set_badbit_on_error(const Action& action) {
  try {
    action();
  } catch (const Error&) {
    try {
      setstate(std::ios::badbit);
    } catch (const std::ios::failure&) {  // The Error is rethrown instead, because it says more.
    }
    if (exceptions() & std::ios::badbit) throw;
  }
}

std::string SocketStream::readline(std::size_t limit) {
  std::string line;
  set_badbit_on_error([&] {
    if (!good()) return setstate(std::ios::failbit);
    line = buf_->line(limit);
    if (line.empty() && limit > 0) setstate(std::ios::eofbit | std::ios::failbit);
  });
  return line;
}

void SocketBuf::close() {
  try {
    flush();
  } catch (const Error&) {
    Socket(std::move(*sk_));  // Closes it, ignoring an error that would hide this one.
    throw;
  }
  sk_->close();
}

void SocketStream::close() {
  set_badbit_on_error([&] {
    if (buf_) buf_->close();
  });
}

SocketStream Socket::makefile(std::string_view mode, std::size_t buffering) const {
  if (fd_ == -1) fail(code_of(-EBADF), "makefile", *this);  // Not of the dup, which it would be.
  return SocketStream(dup(), mode, buffering, buffering);
}

}  // namespace thinsock
