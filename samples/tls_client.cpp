// Sends typed lines over TLS and prints the answers: Python's ssl.create_default_context().
// sh samples/run.sh tls_client CA_FILE [HOST [PORT]]
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <thinsock/socket.hpp>
using namespace std::chrono_literals;
using thinsock::Socket;

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

int main(int argc, char** argv) try {
  if (argc < 2) throw std::invalid_argument("CA_FILE");
  const char* host = argc > 2 ? argv[2] : "127.0.0.1";
  const int port = argc > 3 ? std::stoi(argv[3]) : 8888;

  const std::unique_ptr<SSL_CTX, decltype(&::SSL_CTX_free)> owned(
      ::SSL_CTX_new(::TLS_client_method()), ::SSL_CTX_free);
  SSL_CTX* context = owned.get();
  check(::SSL_CTX_load_verify_file(context, argv[1]));
  ::SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  Socket sk = thinsock::create_connection({host, port}, 5s);
  const auto tls = tls_over(sk, context);
  check(::SSL_set1_host(tls.get(), host));  // Whom the certificate has to be for.
  check(::SSL_set_tlsext_host_name(tls.get(), host));
  check(::SSL_connect(tls.get()));
  for (std::string line; std::getline(std::cin, line);) {
    line += '\n';
    std::size_t size;
    check(::SSL_write_ex(tls.get(), line.data(), line.size(), &size));
    for (char c = 0; c != '\n'; std::cout << c) check(::SSL_read_ex(tls.get(), &c, 1, &size));
    std::cout << std::flush;
  }
  ::SSL_shutdown(tls.get());
} catch (const std::logic_error&) {
  return std::cerr << "usage: tls_client CA_FILE [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// hello
// hello
