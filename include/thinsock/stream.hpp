// thinsock/stream.hpp - a socket as a buffered std::iostream: what Socket::makefile returns.
//
// Reading first sends what has been written, as std::cin does with std::cout. A failure sets
// badbit, as streams do, and error() says why; with exceptions(std::ios::badbit) the typed Error is
// thrown. After a timeout clear() the stream and go on: no byte that came or was written is lost,
// but for the part of a line or number that std::getline or >> had already taken (readline and read
// leave theirs unread). The timeout is the Socket's and counts for each receive and each flush.
#pragma once

#include <istream>
#include <memory>
#include <streambuf>
#include <string>
#include <string_view>
#include <system_error>

#include "thinsock/socket.hpp"

#pragma GCC visibility push(default)  // The library hides all else.
namespace thinsock {

/// The buffers of a SocketStream, over a Socket it owns.
class SocketBuf : public std::streambuf {
 public:
  /// mode holds "r", "w" or both, and perhaps Python's "b"; else std::invalid_argument. What it
  /// does not allow fails with EBADF. rbufsize is how much is received at once; a wbufsize of 0
  /// sends every write as it is.
  SocketBuf(Socket sk, std::string_view mode, std::size_t rbufsize, std::size_t wbufsize);
  /// Sends what is left, as far as that goes.
  ~SocketBuf() override;

  Socket& socket() noexcept { return sk_; }
  std::error_code error() const noexcept { return error_; }
  void belong_to(const std::ios_base* stream) noexcept { stream_ = stream; }
  /// The next line with its '\n'; without, if the limit or the end of the stream comes first.
  std::string line(std::size_t limit);

 protected:
  int_type underflow() override;
  std::streamsize xsgetn(char* data, std::streamsize size) override;
  int_type overflow(int_type c) override;
  std::streamsize xsputn(const char* data, std::streamsize size) override;
  int sync() override;

 private:
  std::size_t receive(MutableBuffer buffer);
  bool receive_more();
  void check_mode(bool allowed, const char* operation);
  void take(char* data, std::size_t size);
  void flush();
  void keep(std::string_view more);

  Socket sk_;
  const std::ios_base* stream_ = nullptr;
  std::error_code error_;
  std::size_t wbufsize_;
  bool reads_, writes_;
  std::string in_, out_;
};

/// A buffered stream that owns its socket: the descriptor it was given, or with makefile a
/// duplicate, so that the connection stays open until the last of them is closed, as in Python.
class SocketStream : public std::iostream {
 public:
  static constexpr std::size_t kBufferSize = 8192;

  explicit SocketStream(Socket sk, std::string_view mode = "rw", std::size_t rbufsize = kBufferSize,
                        std::size_t wbufsize = kBufferSize);
  SocketStream(SocketStream&& other) noexcept;

  /// The next line with its '\n'; shorter than that where the peer ended the stream or after
  /// `limit` bytes; empty at the end (eof()) or after a failure (error()), and then still to be
  /// read.
  std::string readline(std::size_t limit = std::string::npos);

  /// Why the last read or write failed; none if it did not.
  std::error_code error() const noexcept { return buf_->error(); }
  /// The stream's own Socket: its timeout is set here.
  Socket& socket() noexcept { return buf_->socket(); }
  /// Sends what is left and closes.
  void close();

 private:
  template <class Action>
  void guarded(const Action& action);

  std::unique_ptr<SocketBuf> buf_;
};

}  // namespace thinsock
#pragma GCC visibility pop
