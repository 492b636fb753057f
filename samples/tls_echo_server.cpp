// Sends back what clients send over TLS: Python's ThreadingTCPServer with SSLContext.wrap_socket.
// sh samples/run.sh tls_echo_server CERTIFICATE KEY [HOST [PORT]]      (two files in PEM format)
//
// Limits: 200 clients at once; 10 s for the handshake, then 30 s of silence.
#include <chrono>
#include <csignal>
#include <iostream>
#include <thinsock/cancel.hpp>
#include <thinsock/socketserver.hpp>

#include "tls.hpp"
using namespace std::chrono_literals;

class TlsEcho : public thinsock::BaseRequestHandler {
 public:
  explicit TlsEcho(SSL_CTX* context) : tls_(tls_over(request, context)) {}

 private:
  void handle() override {
    {
      const thinsock::CancelScope handshake(10s);
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
  const thinsock::CancelScope ctrl_c({SIGINT, SIGTERM});
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
