#include "thinsock/stream.hpp"

#include <algorithm>
#include <climits>
#include <cstring>
#include <stdexcept>

#include "../system/syscall.hpp"

namespace thinsock {

SocketBuf::SocketBuf(Socket&& sk, std::string_view mode, std::size_t rbufsize, std::size_t wbufsize)
    : SocketBuf(own_, mode, rbufsize, wbufsize) {
  own_ = std::move(sk);
}

SocketBuf::SocketBuf(Socket& sk, std::string_view mode, std::size_t rbufsize, std::size_t wbufsize)
    : sk_(&sk),
      wbufsize_(wbufsize),
      reads_(mode.find('r') != mode.npos),
      writes_(mode.find('w') != mode.npos),
      in_(reads_ ? std::max<std::size_t>(rbufsize, 1) : 0, '\0'),
      out_(writes_ ? wbufsize : 0, '\0') {
  if (mode.find_first_not_of("rwb") != mode.npos || !(reads_ || writes_)) {
    throw std::invalid_argument("a mode is r, w or rw, perhaps with b: not " + std::string(mode));
  }
  setg(in_.data(), in_.data(), in_.data());
  setp(out_.data(), out_.data() + out_.size());
}

SocketBuf::~SocketBuf() {
  try {
    if (!unsent_) flush();
  } catch (const Error&) {  // Whoever wants to know calls close() or flush() before.
  }
}

std::size_t SocketBuf::receive(MutableBuffer buffer) {
  flush();
  const std::size_t size = sk_->recv_into(buffer, error_);
  if (error_) sk_->fail(-error_.value(), "read");
  return size;
}

// Python's UnsupportedOperation: the stream was not opened for that.
void SocketBuf::check_mode(bool allowed, const char* operation) {
  if (allowed) return;
  error_ = code_of(-EBADF);
  sk_->fail(-EBADF, operation);
}

// Receives behind what has not been read yet, and makes room for it; false at the end.
bool SocketBuf::receive_more() {
  const std::size_t unread = static_cast<std::size_t>(egptr() - gptr());
  if (unread > 0) std::memmove(in_.data(), gptr(), unread);
  if (unread == in_.size()) in_.resize(2 * unread);
  setg(in_.data(), in_.data(), in_.data() + unread);
  const std::size_t size = receive({egptr(), in_.size() - unread});
  setg(in_.data(), in_.data(), egptr() + size);
  return size > 0;
}

SocketBuf::int_type SocketBuf::underflow() {
  check_mode(reads_, "read");
  if (gptr() < egptr() || receive_more()) return traits_type::to_int_type(*gptr());
  return traits_type::eof();
}

void SocketBuf::take(char* data, std::size_t size) {
  std::memcpy(data, gptr(), size);
  setg(eback(), gptr() + size, egptr());
}

// A large piece goes past the buffer. What had come before a failure is unread again.
std::streamsize SocketBuf::xsgetn(char* data, std::streamsize size) {
  check_mode(reads_, "read");
  std::streamsize done = 0;
  try {
    for (;;) {
      const std::streamsize buffered = std::min<std::streamsize>(egptr() - gptr(), size - done);
      take(data + done, static_cast<std::size_t>(buffered));
      done += buffered;
      if (done == size) return done;
      const auto rest = static_cast<std::size_t>(size - done);
      const bool direct = rest >= in_.size();
      const std::size_t received = direct ? receive({data + done, rest}) : receive_more();
      if (received == 0) return done;
      if (!direct) continue;
      done += static_cast<std::streamsize>(received);
      setg(in_.data(), in_.data(), in_.data());  // What was there before cannot be put back.
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
  check_mode(reads_, "read");
  for (std::size_t searched = 0;;) {
    const std::string_view unread(gptr(), static_cast<std::size_t>(egptr() - gptr()));
    const std::size_t newline = unread.find('\n', searched);
    const std::size_t length = newline == unread.npos ? unread.size() : newline + 1;
    searched = unread.size();
    if (newline != unread.npos || length >= limit || !receive_more()) {
      std::string line(std::min(length, limit), '\0');
      take(line.data(), line.size());
      return line;
    }
  }
}

// What cannot be sent stays in the buffer, for the next try, however long it makes it.
void SocketBuf::flush() {
  const auto pending = static_cast<std::size_t>(pptr() - pbase());
  if (pending == 0) return;
  const std::size_t sent = sk_->sendall({pbase(), pending}, error_);
  unsent_ = sent < pending;
  // As a rule; then there is nothing to be moved or cleared.
  if (!unsent_ && out_.size() == wbufsize_) return setp(out_.data(), out_.data() + wbufsize_);
  out_.erase(0, sent);
  out_.resize(pending - sent);
  keep({}, wbufsize_);
  if (error_) sk_->fail(-error_.value(), "write", sent);
}

// Makes what is pending in out_, and more, the put area, with room in all for so many bytes.
void SocketBuf::keep(std::string_view more, std::size_t room) {
  out_.append(more);
  const std::size_t pending = out_.size();
  out_.resize(std::max(pending, room));
  setp(out_.data(), out_.data() + out_.size());
  for (std::size_t left = pending; left > 0;) {
    const std::size_t step = std::min<std::size_t>(left, INT_MAX);
    pbump(static_cast<int>(step));
    left -= step;
  }
}

SocketBuf::int_type SocketBuf::overflow(int_type c) {
  check_mode(writes_, "write");
  if (traits_type::eq_int_type(c, traits_type::eof())) {
    flush();
  } else {
    const char byte = traits_type::to_char_type(c);
    xsputn(&byte, 1);
  }
  return traits_type::not_eof(c);
}

std::streamsize SocketBuf::xsputn(const char* data, std::streamsize size) {
  check_mode(writes_, "write");
  std::string_view rest(data, static_cast<std::size_t>(size));
  if (size > epptr() - pptr()) {
    try {
      flush();
      if (rest.size() >= wbufsize_) {
        const std::size_t sent = sk_->sendall(rest, error_);
        rest.remove_prefix(sent);
        if (error_) sk_->fail(-error_.value(), "write", sent);
      }
    } catch (const Error&) {
      out_.resize(static_cast<std::size_t>(pptr() - pbase()));
      keep(rest, wbufsize_);
      unsent_ = true;
      throw;
    }
  }
  std::memcpy(pptr(), rest.data(), rest.size());
  pbump(static_cast<int>(rest.size()));
  return size;
}

int SocketBuf::sync() {
  try {
    flush();
    return 0;
  } catch (const Error&) {
    // With unitbuf it is a destructor of the standard's that calls, which lets nothing through, not
    // even what setting badbit may throw: then the next write throws.
    if (stream_ == nullptr || !(stream_->flags() & std::ios::unitbuf)) throw;
    if (!(stream_->exceptions() & std::ios::badbit)) return -1;
    out_.resize(static_cast<std::size_t>(pptr() - pbase()));
    keep({}, 0);  // No room, so that it comes here.
    return 0;
  }
}

SocketStream::SocketStream(Socket& sk, std::string_view mode, std::size_t rbufsize,
                           std::size_t wbufsize)
    : SocketStream(std::make_unique<SocketBuf>(sk, mode, rbufsize, wbufsize)) {}

SocketStream::SocketStream(Socket&& sk, std::string_view mode, std::size_t rbufsize,
                           std::size_t wbufsize)
    : SocketStream(std::make_unique<SocketBuf>(std::move(sk), mode, rbufsize, wbufsize)) {}

SocketStream::SocketStream(std::unique_ptr<SocketBuf> buf)
    : std::iostream(buf.get()), buf_(std::move(buf)) {
  buf_->belong_to(this);
}

SocketStream::SocketStream(SocketStream&& other) noexcept : SocketStream() {
  *this = std::move(other);
}

SocketStream& SocketStream::operator=(SocketStream&& other) noexcept {
  if (this == &other) return *this;
  std::iostream::operator=(std::move(other));
  buf_ = std::move(other.buf_);
  set_rdbuf(buf_.get());
  if (buf_) buf_->belong_to(this);
  other.exceptions(std::ios::goodbit);
  other.std::ios::rdbuf(nullptr);  // Sets badbit.
  return *this;
}

// Does as the standard's own input and output functions do.
template <class Action>
void SocketStream::guarded(const Action& action) {
  try {
    action();
  } catch (const Error&) {
    try {
      setstate(std::ios::badbit);
    } catch (const std::ios::failure&) {  // The Error says more.
    }
    if (exceptions() & std::ios::badbit) throw;
  }
}

std::string SocketStream::readline(std::size_t limit) {
  std::string line;
  guarded([&] {
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
    Socket(std::move(*sk_));
    throw;
  }
  sk_->close();
}

void SocketStream::close() {
  guarded([&] {
    if (buf_) buf_->close();
  });
}

SocketStream Socket::makefile(std::string_view mode, std::size_t buffering) const {
  return SocketStream(dup(), mode, buffering, buffering);
}

}  // namespace thinsock
