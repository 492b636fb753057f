// thinsock/stream.hpp - a socket as a buffered std::iostream: what Socket::makefile returns.
//
// Before a read waits for the peer, it sends what has been written, as std::cin flushes std::cout.
// If that fails, it still gives what the peer has said, and reports the failure at the end of that.
// A failure sets badbit, as in every stream, and error() gives the reason; with
// exceptions(std::ios::badbit) the Error itself is thrown. After a timeout, clear() the stream and
// go on: no byte that arrived or was written is lost, except the part of a line or number that
// std::getline or >> had already extracted (readline and read leave such a part unread). The
// timeout is that of the Socket and limits each receive and each flush.
//
// Threads: a stream belongs to one thread, because reading sends what was written. For a thread
// that reads and another that writes make two: auto in = sk.makefile("r"), out = sk.makefile("w");
#pragma once

#include <istream>
#include <memory>
#include <streambuf>
#include <string>
#include <string_view>
#include <system_error>

#include "thinsock/socket.hpp"

namespace thinsock {

/// The buffers of a SocketStream, over a Socket that it owns (Socket&&) or that the caller owns
/// (Socket&), which then has to outlive it.
class SocketBuf : public std::streambuf {
 public:
  /// mode consists of "r", "w" or both, and perhaps Python's "b"; anything else throws
  /// std::invalid_argument. To read or write without that mode fails with EBADF. At most rbufsize
  /// bytes are received at once beyond what a read asks for; 0 is one byte at a time, so that
  /// nothing behind a line is taken from the Socket. wbufsize is the size of the write buffer; with
  /// 0 every write is sent at once.
  SocketBuf(Socket& sk, std::string_view mode, std::size_t rbufsize, std::size_t wbufsize);
  SocketBuf(Socket&& sk, std::string_view mode, std::size_t rbufsize, std::size_t wbufsize);
  /// Sends what is still buffered, unless the last attempt to send has failed. Ignores errors; to
  /// learn of them, call close() or flush the stream first.
  ~SocketBuf() override;

  Socket& socket() noexcept { return *sk_; }
  /// Why the last receive or send that failed did so; no error before the first.
  std::error_code error() const noexcept { return error_; }
  /// Sets the stream whose unitbuf and exceptions() decide how a failed sync() is reported; none at
  /// first. The stream must exist whenever sync() is called.
  void set_stream(const std::ios* stream) noexcept { stream_ = stream; }
  /// Sends what is still buffered, and closes the Socket even if that fails.
  void close();
  /// The next line with its '\n', or without it if `limit` bytes or the end of the stream come
  /// first.
  std::string line(std::size_t limit);

 protected:
  int_type underflow() override;
  std::streamsize xsgetn(char* data, std::streamsize size) override;
  int_type overflow(int_type c) override;
  std::streamsize xsputn(const char* data, std::streamsize size) override;
  int sync() override;

 private:
  friend class SocketStream;

  std::size_t receive(MutableBuffer buffer);
  bool receive_more();
  [[noreturn]] void fail_for(std::error_code error, const char* operation, std::size_t sent = 0);
  void check_mode(bool allowed, const char* operation);
  void take_buffered(char* data, std::size_t size);
  void flush();
  void mark_written(std::size_t size);
  void rebuild_put_area(std::string_view more, std::size_t capacity);

  Socket owned_socket_{std::nullopt};  // Not open if the Socket is the caller's.
  Socket* sk_;
  const std::ios* stream_ = nullptr;
  std::error_code error_;
  std::size_t rbufsize_, wbufsize_;
  bool can_read_, can_write_;
  bool send_failed_ = false;            // The last attempt to send did not send everything.
  bool send_failure_withheld_ = false;  // A read has made that attempt, and nobody was told.
  std::string in_, out_;                // The memory of the get area and of the put area.
};

/// A buffered stream that owns its Socket: the one moved into it or, from makefile, a duplicate, so
/// that the connection stays open until the last of them is closed, as in Python. A Socket that is
/// passed without moving it is used but not owned: it has to outlive the stream, and no further
/// descriptor is needed.
class SocketStream : public std::iostream {
 public:
  static constexpr std::size_t kBufferSize = 8192;

  /// A closed stream, on which reading and writing fail: for a member that is assigned later.
  SocketStream() : std::iostream(nullptr) {}
  explicit SocketStream(Socket& sk, std::string_view mode = "rw",
                        std::size_t rbufsize = kBufferSize, std::size_t wbufsize = kBufferSize);
  explicit SocketStream(Socket&& sk, std::string_view mode = "rw",
                        std::size_t rbufsize = kBufferSize, std::size_t wbufsize = kBufferSize);
  /// A stream over buffers that may have other owners and streams too.
  explicit SocketStream(std::shared_ptr<SocketBuf> buf);
  SocketStream(SocketStream&& other) noexcept;
  SocketStream& operator=(SocketStream&& other) noexcept;

  /// The next line with its '\n', or without it if the peer ends the stream or `limit` bytes come
  /// first. Empty at the end of the stream (eof()) and after a failure (error()); after a failure,
  /// what arrived of the line remains to be read.
  std::string readline(std::size_t limit = std::string::npos);

  SocketBuf* rdbuf() const noexcept { return buf_.get(); }
  /// Why the stream is bad(), or why what was written could not be sent yet; else no error.
  std::error_code error() const noexcept {
    return buf_ && (bad() || buf_->send_failed_) ? buf_->error() : std::error_code();
  }
  /// The Socket under the stream, for example to set its timeout. Must not be called on a stream
  /// that was constructed without a Socket.
  Socket& socket() noexcept { return buf_->socket(); }
  /// Sends what is still buffered, and closes the Socket (also one it does not own) even if that
  /// fails.
  void close();

 private:
  template <class Action>
  void set_badbit_on_error(const Action& action);

  std::shared_ptr<SocketBuf> buf_;
};

}  // namespace thinsock
