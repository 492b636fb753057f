// Sends typed lines over TLS and prints the answers: Python's ssl.create_default_context().
// sh samples/run.sh tls_client CA_FILE [HOST [PORT]]
#include <chrono>
#include <iostream>

#include "tls.hpp"
using namespace std::chrono_literals;

int main(int argc, char** argv) try {
  if (argc < 2) throw std::invalid_argument("CA_FILE");
  const char* host = argc > 2 ? argv[2] : "127.0.0.1";
  const int port = argc > 3 ? std::stoi(argv[3]) : 8888;

  const std::unique_ptr<SSL_CTX, decltype(&::SSL_CTX_free)> owned(
      ::SSL_CTX_new(::TLS_client_method()), ::SSL_CTX_free);
  SSL_CTX* context = owned.get();
  check(::SSL_CTX_load_verify_file(context, argv[1]));
  ::SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  thinsock::Socket sk = thinsock::create_connection({host, port}, 5s);
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
