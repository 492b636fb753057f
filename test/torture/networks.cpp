// The programs that networks.py runs at the two ends of a bad network:
//   networks serve none|idle|keepalive         echoes on connections, until SIGTERM
//   networks answer                            echoes datagrams, until SIGTERM
//   networks exchange HOST PORT s|l|f BYTES N  sends to the echo and compares, on N connections
//   networks ask HOST PORT                     does the same with datagrams of growing size
//   networks call HOST PORT STEP...            tells how long the steps after "go" take
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <functional>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "thinsock/thinsock.hpp"

using namespace std::chrono_literals;
using namespace thinsock;
using Clock = std::chrono::steady_clock;

namespace {

constexpr auto kPatience = 60s;
constexpr int kSmall = 16384;  // Bytes: a send buffer that one call fills, so it has to go on.
constexpr std::size_t kLarge = 100'000'000;  // Bytes: more than the buffers of a connection hold.
char large_data[kLarge];

std::string random_bytes(std::size_t size, unsigned seed) {
  std::minstd_rand random(seed);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

void expect_equal(const std::string& got, const std::string& sent) {
  if (got == sent) return;
  throw std::runtime_error("sent " + std::to_string(sent.size()) + " bytes, got back " +
                           std::to_string(got.size()) + " that differ");
}

std::string receive_all(Socket& sk) {
  std::string all;
  for (std::string data; !(data = sk.recv(65536)).empty();) all += data;
  return all;
}

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

void send_as_file(Socket& sk, const std::string& data) {
  const File file(std::tmpfile(), std::fclose);
  std::fwrite(data.data(), 1, data.size(), file.get());
  std::fflush(file.get());
  sk.sendfile(::fileno(file.get()));
}

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// --- servers ---

// The first byte tells how to echo: by sendall, by lines, or by a file; anything else is discarded.
struct Echo : StreamRequestHandler {
  void handle() override {
    request.set_sendbuf(kSmall);
    const std::string how = request.recv(1);
    if (how == "s") {
      for (std::string data; !(data = request.recv(65536)).empty();) request.sendall(data);
    } else if (how == "l") {
      for (std::string line; !(line = rfile.readline()).empty();) wfile << line;
    } else if (how == "f") {
      send_as_file(request, receive_all(request));
    } else {
      while (!request.recv(65536).empty()) continue;
    }
  }
};

struct KeepaliveServer : ThreadingTCPServer {
  using ThreadingTCPServer::ThreadingTCPServer;
  ~KeepaliveServer() override { server_close(); }
  bool verify_request(Request& request, const Address&) override {
    request.socket.set_keepalive(1s, 1s, 2);
    return true;
  }
};

struct Answer : DatagramRequestHandler {
  void handle() override { wfile << packet; }
};

void serve(TCPServer&& server) {
  const CancelScope until_sigterm({SIGTERM});
  std::cout << server.server_address.port() << std::endl;
  server.serve_forever();
}

void serve(const std::string& limit) {
  const ServerOptions options{.idle_timeout = limit == "idle" ? Timeout(3s) : std::nullopt,
                              .shutdown_timeout = 1s};
  if (limit == "keepalive") return serve(KeepaliveServer({"", 0}, handler<Echo>, options));
  serve(ThreadingTCPServer({"", 0}, handler<Echo>, options));
}

// --- clients ---

void send_all(Socket& sk, char how, const std::string& data) {
  if (how == 's') sk.sendall(data);
  if (how == 'f') send_as_file(sk, data);
  if (how == 'l') {
    SocketStream file = sk.makefile("w");
    file << data;
    file.close();
    if (file.error()) throw Error(file.error(), "write");
  }
  sk.shutdown(SHUT_WR);
}

std::string receive_all(Socket& sk, char how) {
  if (how != 'l') return receive_all(sk);
  SocketStream file = sk.makefile("r");
  std::string all;
  for (std::string line; !(line = file.readline()).empty();) all += line;
  if (file.error()) throw Error(file.error(), "readline");
  return all;
}

void exchange(AddressLike server, char how, const std::string& data) {
  Socket sk = create_connection(server, kPatience);
  sk.set_sendbuf(kSmall);
  sk.sendall(std::string(1, how));
  auto sent = std::async(std::launch::async, [&] { send_all(sk, how, data); });
  const std::string got = receive_all(sk, how);
  sent.get();
  expect_equal(got, data);
}

void exchange_on_many(AddressLike server, char how, std::size_t bytes, unsigned connections) {
  const auto start = Clock::now();
  std::vector<std::future<void>> running;
  for (unsigned i = 0; i < connections; ++i) {
    running.push_back(std::async(
        std::launch::async, [=] { exchange(server, how, random_bytes(bytes / connections, i)); }));
  }
  for (auto& each : running) each.get();
  std::cout << seconds_since(start) << std::endl;
}

void ask(AddressLike server) {
  Socket sk(AF_INET, SOCK_DGRAM);
  sk.settimeout(10s);
  for (const unsigned size : {1u, 1300u, 9000u, 65507u}) {
    const std::string question = random_bytes(size, size);
    sk.sendto(question, server);
    const auto [answer, address] = sk.recvfrom(65536);
    expect_equal(answer, question);
    if (address.str() != server.str())
      throw std::runtime_error("asked " + server.str() + ", answered by " + address.str());
  }
}

void read_line(Socket& sk) {
  SocketStream file(sk);
  file.exceptions(std::ios::badbit);
  file.readline();
}

void call(AddressLike server, std::span<char*> steps) {
  Timeout timeout;
  Socket sk;
  Clock::time_point start;
  const File large_file(std::tmpfile(), std::fclose);
  if (::ftruncate(::fileno(large_file.get()), kLarge) != 0) throw std::runtime_error("ftruncate");
  const std::map<std::string, std::function<void()>> actions = {
      {"timeout", [&] { sk.settimeout(timeout = 1s); }},
      {"patience", [&] { timeout = kPatience; }},
      {"connect", [&] { sk = create_connection(server, timeout); }},
      {"race", [&] { sk = create_connection(server, timeout, {}, 250ms); }},
      {"keepalive", [&] { sk.set_keepalive(1s, 1s, 2); }},
      {"user_timeout", [&] { sk.setsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT, 1000); }},
      {"go", [&] { std::cout << "ready" << std::endl, std::cin.get(), start = Clock::now(); }},
      {"recv", [&] { sk.recv(1); }},
      {"readline", [&] { read_line(sk); }},
      {"send", [&] { sk.sendall("x"); }},
      {"sendall", [&] { sk.sendall(std::string_view(large_data, kLarge)); }},
      {"sendfile", [&] { sk.sendfile(::fileno(large_file.get())); }},
  };
  std::string end;
  const auto tell = [&](const char* type, const Error& error) {
    end = std::string(type) + ' ' + error.code().category().name() + ' ' + error.what();
  };
  try {
    for (const char* step : steps) actions.at(step)();
    end = "connected " + sk.getpeername().str();
  } catch (const TimeoutError& error) {
    tell("TimeoutError", error);
  } catch (const Error& error) {
    tell("Error", error);
  }
  std::cout << seconds_since(start) << ' ' << end << std::endl;
}

void run(std::span<char*> args) {
  const std::string mode = args[1];
  if (mode == "serve") return serve(args[2]);
  if (mode == "answer") return serve(UDPServer({"", 0}, handler<Answer>));
  const AddressLike server(args[2], std::stoi(args[3]));
  if (mode == "exchange")
    return exchange_on_many(server, *args[4], std::stoul(args[5]),
                            static_cast<unsigned>(std::stoul(args[6])));
  if (mode == "ask") return ask(server);
  call(server, args.subspan(4));
}

}  // namespace

int main(int argc, char** argv) try {
  run({argv, static_cast<std::size_t>(argc)});
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}
