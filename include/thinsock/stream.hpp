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

/// The buffers of a SocketStream, over a Socket of its own or another's.
class SocketBuf : public std::streambuf {
 public:
  /// mode holds "r", "w" or both, and perhaps Python's "b"; else std::invalid_argument. What it
  /// does not allow fails with EBADF. rbufsize is how much is received at once; a wbufsize of 0
  /// sends every write as it is.
  SocketBuf(Socket& sk, std::string_view mode, std::size_t rbufsize, std::size_t wbufsize);
  SocketBuf(Socket&& sk, std::string_view mode, std::size_t rbufsize, std::size_t wbufsize);
  /// Sends what is left, as far as that goes, unless it has failed before.
  ~SocketBuf() override;

  Socket& socket() noexcept { return *sk_; }
  std::error_code error() const noexcept { return error_; }
  void belong_to(const std::ios* stream) noexcept { stream_ = stream; }
  /// Sends what is left and closes the Socket.
  void close();
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
  void keep(std::string_view more, std::size_t room);

  Socket own_{std::nullopt};
  Socket* sk_;
  const std::ios* stream_ = nullptr;
  std::error_code error_;
  std::size_t wbufsize_;
  bool reads_, writes_;
  bool unsent_ = false;  // Sending has failed, and was not tried again since.
  std::string in_, out_;
};

/// A buffered stream that owns its socket: the one moved into it, or with makefile a duplicate, so
/// that the connection stays open until the last of them is closed, as in Python. Given a Socket
/// that is not moved it uses that, which has to outlive it and costs no descriptor.
class SocketStream : public std::iostream {
 public:
  static constexpr std::size_t kBufferSize = 8192;

  /// A closed one: reading and writing fail. For a member that is assigned to later.
  SocketStream() : std::iostream(nullptr) {}
  explicit SocketStream(Socket& sk, std::string_view mode = "rw",
                        std::size_t rbufsize = kBufferSize, std::size_t wbufsize = kBufferSize);
  explicit SocketStream(Socket&& sk, std::string_view mode = "rw",
                        std::size_t rbufsize = kBufferSize, std::size_t wbufsize = kBufferSize);
  SocketStream(SocketStream&& other) noexcept;
  SocketStream& operator=(SocketStream&& other) noexcept;

  /// The next line with its '\n'; shorter than that where the peer ended the stream or after
  /// `limit` bytes; empty at the end (eof()) or after a failure (error()), and then still to be
  /// read.
  std::string readline(std::size_t limit = std::string::npos);

  SocketBuf* rdbuf() const noexcept { return buf_.get(); }
  /// Why the last read or write failed; none if it did not.
  std::error_code error() const noexcept { return buf_ ? buf_->error() : std::error_code(); }
  /// The stream's Socket: its timeout is set here. Not for one that is closed from the start.
  Socket& socket() noexcept { return buf_->socket(); }
  /// Sends what is left and closes.
  void close();

 private:
  explicit SocketStream(std::unique_ptr<SocketBuf> buf);
  template <class Action>
  void guarded(const Action& action);

  std::unique_ptr<SocketBuf> buf_;
};

}  // namespace thinsock
#pragma GCC visibility pop
