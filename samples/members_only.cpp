// Serves clients of one network only: Python's ThreadingTCPServer with __init__ and verify_request.
// sh samples/run.sh members_only PREFIX [HOST [PORT]]      (PREFIX: how addresses begin, 127.0.0.)
//
// Limits: 200 clients at once, each of which may be silent for 30 s.
#include <chrono>
#include <csignal>
#include <iostream>
#include <thinsock/cancel.hpp>
#include <thinsock/socketserver.hpp>
using namespace std::chrono_literals;
using thinsock::Address, thinsock::AddressLike, thinsock::Request;

// The number of a client, counted from 1, is told to it.
struct MembersOnly : thinsock::ThreadingTCPServer {
  MembersOnly(AddressLike address, std::string prefix)
      : ThreadingMixIn(address, greet, kOptions), prefix_(std::move(prefix)) {}
  // Required as soon as there are members, which the handlers of clients may still be using.
  ~MembersOnly() override { server_close(); }

  // Hooks are called one at a time, so they need no mutex.
  bool verify_request(Request&, const Address& client) override {
    const bool is_member = client.host().starts_with(prefix_);
    ++(is_member ? served_ : refused_);
    return is_member;
  }

  int served() const { return served_; }
  int refused() const { return refused_; }

 private:
  static constexpr thinsock::ServerOptions kOptions{
      .allow_reuse_address = true, .idle_timeout = 30s, .daemon_threads = true, .max_threads = 200};

  static void greet(thinsock::Socket& sk, const Address& client) {
    sk.sendall("Welcome, " + client.host() + "!\n");
    while (!sk.recv(4096).empty()) continue;
  }

  const std::string prefix_;
  int served_ = 0, refused_ = 0;
};

int main(int argc, char** argv) try {
  if (argc < 2) throw std::invalid_argument("PREFIX");
  const char* host = argc > 2 ? argv[2] : "127.0.0.1";
  const int port = argc > 3 ? std::stoi(argv[3]) : 8888;

  const thinsock::CancelScope ctrl_c({SIGINT, SIGTERM});
  MembersOnly server({host, port}, argv[1]);
  std::cout << "listening on " << server.server_address << std::endl;
  server.serve_forever();
  std::cout << server.served() << " served, " << server.refused() << " refused" << std::endl;
} catch (const std::logic_error&) {
  return std::cerr << "usage: members_only PREFIX [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// listening on 127.0.0.1:8888
// 2 served, 1 refused
