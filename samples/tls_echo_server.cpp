// Sends back what clients send over TLS: Python's ThreadingTCPServer with SSLContext.wrap_socket.
// sh samples/run.sh tls_echo_server CERTIFICATE KEY [HOST [PORT]]      (two files in PEM format)
//
// Limits: 200 clients at once; 10 s for the handshake, then 30 s of silence.
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <chrono>
#include <csignal>
#include <iostream>
#include <memory>
#include <thinsock/cancel.hpp>
#include <thinsock/socketserver.hpp>
using namespace std::chrono_literals;
using thinsock::CancelScope, thinsock::Socket;

// OpenSSL receives and sends by the Socket, so its timeout and CancelScopes hold in SSL_read, too.
Socket& socket_of(BIO* bio) { return *static_cast<Socket*>(::BIO_get_data(bio)); }
BIO_METHOD* socket_method() {
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

auto tls_over(Socket& sk, SSL_CTX* context) {
  static BIO_METHOD* const method = socket_method();
  std::unique_ptr<SSL, decltype(&::SSL_free)> tls(::SSL_new(context), ::SSL_free);
  BIO* bio = ::BIO_new(method);
  ::BIO_set_data(bio, &sk);
  ::BIO_set_init(bio, 1);
  ::SSL_set_bio(tls.get(), bio, bio);
  return tls;
}

// Throws OpenSSL's reason for a failure or, if it has none, the Socket's.
void check(int result) {
  if (result > 0) return;
  const char* reason = ::ERR_reason_error_string(::ERR_get_error());
  ::ERR_clear_error();
  if (reason != nullptr) throw std::runtime_error("TLS: " + std::string(reason));
  const int code = errno != 0 ? errno : ECONNRESET;  // TLS has an end of its own, which is missing.
  throw thinsock::Error({code, std::system_category()}, "TLS");
}

class TlsEcho : public thinsock::BaseRequestHandler {
 public:
  explicit TlsEcho(SSL_CTX* context) : tls_(tls_over(request, context)) {}

 private:
  void handle() override {
    {
      const CancelScope handshake(10s);
      check(::SSL_accept(tls_.get()));
    }
    char data[16384];
    std::size_t size;
    while (::SSL_read_ex(tls_.get(), data, sizeof data, &size))
      check(::SSL_write_ex(tls_.get(), data, size, &size));
    check(::SSL_get_error(tls_.get(), 0) == SSL_ERROR_ZERO_RETURN);  // What else is no end.
    ::SSL_shutdown(tls_.get());
  }

  const decltype(tls_over(request, nullptr)) tls_;
};

int main(int argc, char** argv) try {
  if (argc < 3) throw std::invalid_argument("CERTIFICATE KEY");
  const char* host = argc > 3 ? argv[3] : "127.0.0.1";
  const int port = argc > 4 ? std::stoi(argv[4]) : 8888;

  const std::unique_ptr<SSL_CTX, decltype(&::SSL_CTX_free)> owned(
      ::SSL_CTX_new(::TLS_server_method()), ::SSL_CTX_free);
  SSL_CTX* context = owned.get();
  check(::SSL_CTX_use_certificate_chain_file(context, argv[1]));
  check(::SSL_CTX_use_PrivateKey_file(context, argv[2], SSL_FILETYPE_PEM));
  const CancelScope ctrl_c({SIGINT, SIGTERM});
  thinsock::ThreadingTCPServer server({host, port}, thinsock::handler<TlsEcho>(context),
                                      {.allow_reuse_address = true,
                                       .idle_timeout = 30s,
                                       .daemon_threads = true,
                                       .max_threads = 200});
  std::cout << "listening on " << server.server_address << std::endl;
  server.serve_forever();
} catch (const std::logic_error&) {
  return std::cerr << "usage: tls_echo_server CERTIFICATE KEY [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// listening on 127.0.0.1:8888
