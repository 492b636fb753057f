// What tls_client and tls_echo_server share: OpenSSL over a Socket.
#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <memory>
#include <thinsock/socket.hpp>

// OpenSSL receives and sends by the Socket, so its timeout and CancelScopes hold in SSL_read, too.
inline thinsock::Socket& socket_of(BIO* bio) {
  return *static_cast<thinsock::Socket*>(::BIO_get_data(bio));
}
inline BIO_METHOD* socket_method() {
  BIO_METHOD* method = ::BIO_meth_new(BIO_TYPE_SOURCE_SINK, "thinsock");
  ::BIO_meth_set_read_ex(method, [](BIO* bio, char* data, size_t size, size_t* received) {
    std::error_code error;
    *received = socket_of(bio).recv_into({data, size}, error);
    errno = error.value();
    return static_cast<int>(*received > 0);
  });
  ::BIO_meth_set_write_ex(method, [](BIO* bio, const char* data, size_t size, size_t* sent) {
    std::error_code error;
    *sent = socket_of(bio).sendall({data, size}, error);
    errno = error.value();
    return static_cast<int>(!error);
  });
  ::BIO_meth_set_ctrl(method, [](BIO*, int command, long, void*) -> long {
    return command == BIO_CTRL_FLUSH;  // Nothing is buffered.
  });
  return method;
}

inline auto tls_over(thinsock::Socket& sk, SSL_CTX* context) {
  static BIO_METHOD* const method = socket_method();
  std::unique_ptr<SSL, decltype(&::SSL_free)> tls(::SSL_new(context), ::SSL_free);
  BIO* bio = ::BIO_new(method);
  ::BIO_set_data(bio, &sk);
  ::BIO_set_init(bio, 1);
  ::SSL_set_bio(tls.get(), bio, bio);
  return tls;
}

// Throws OpenSSL's reason for a failure or, if it has none, the Socket's.
inline void check(int result) {
  if (result > 0) return;
  const char* reason = ::ERR_reason_error_string(::ERR_get_error());
  ::ERR_clear_error();
  if (reason != nullptr) throw std::runtime_error("TLS: " + std::string(reason));
  const int code = errno != 0 ? errno : ECONNRESET;  // TLS has an end of its own, which is missing.
  throw thinsock::Error({code, std::system_category()}, "TLS");
}
