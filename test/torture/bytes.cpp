// Sends bytes through every combination of a sending and a receiving call, while system calls
// transfer less than they are asked to, fail with EINTR and EAGAIN, and timeouts fire, and compares
// what arrives with what was sent: `bytes [GIGABYTES]`.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iterator>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "faulty_calls.hpp"
#include "thinsock/thinsock.hpp"

using namespace std::chrono_literals;
using namespace thinsock;

namespace {

constexpr std::size_t kMost = 100'000;  // Bytes of one call.
constexpr unsigned kHung = 60;          // Seconds.
constexpr Timeout kNone, kLong = 30s, kShort = 100us;

std::atomic<long> timeouts = 0;
std::string current_way;

// The bytes that every sender repeats. The length of the block is a prime number, so that no part
// that is lost, doubled or swapped leaves the rest in step. Behind it, its beginning is repeated:
// from each position, kMost bytes follow.
constexpr std::size_t kBlock = 65'521;
const std::string pattern = [] {
  std::string bytes(kBlock + kMost, '\0');
  std::minstd_rand random;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = i < kBlock ? static_cast<char>(random() >> 16) : bytes[i - kBlock];
  return bytes;
}();

std::string_view bytes_at(std::size_t position, std::size_t size) {
  return std::string_view(pattern).substr(position % kBlock, size);
}

// A size for the next call. Half of the sizes are small.
std::size_t some_size(std::minstd_rand& random, std::size_t limit) {
  return std::min(limit, 1 + random() % (random() % 2 == 0 ? 2000 : kMost));
}

// Makes the peer wait, several times in each megabyte.
void pause_sometimes(std::minstd_rand& random, std::size_t size) {
  if (random() % 200'000 < size)
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 800));
}

// Called after a timeout, which is only right if it is so short.
void count_timeout(const Socket& sk) {
  if (sk.gettimeout() != kShort) throw std::runtime_error("a timeout too early");
  ++timeouts;
}

// Whether the last operation of the stream was not ended by a timeout. After one, the stream can go
// on.
bool is_done(SocketStream& stream) {
  if (!stream.bad()) return true;
  const std::error_code error = stream.error();
  stream.clear();
  if (error != std::errc::timed_out) throw Error(error, "stream");
  count_timeout(stream.socket());
  return false;
}

// --- senders: each sends a part of the data, and returns how many bytes that was ---

struct Outgoing {
  Socket& sk;
  SocketStream stream{sk, "w"};
  std::minstd_rand random{};
  Descriptor reading{}, writing{};  // The two ends from which sendfile sends, if it does.
};

std::size_t by_sendall(Outgoing& out, std::string_view data) {
  out.sk.sendall(data);
  return data.size();
}

std::size_t by_send(Outgoing& out, std::string_view data) { return out.sk.send(data); }

// The data in four parts, of which one is empty.
template <class Call>
std::size_t in_parts(Outgoing& out, std::string_view data, const Call& call) {
  const std::size_t first = out.random() % data.size();
  const std::string_view rest = data.substr(first);
  const std::size_t second = out.random() % rest.size();
  const ConstBuffer parts[] = {data.substr(0, first), rest.substr(0, second), "",
                               rest.substr(second)};
  return call(parts);
}

std::size_t by_sendall_of_parts(Outgoing& out, std::string_view data) {
  return in_parts(out, data, [&](const auto& parts) {
    out.sk.sendall(parts);
    return data.size();
  });
}

std::size_t by_sendmsg(Outgoing& out, std::string_view data) {
  return in_parts(out, data, [&](const auto& parts) { return out.sk.sendmsg(parts); });
}

std::size_t by_sendfile(Outgoing& out, std::string_view data) {
  static const Descriptor file = [] {
    Descriptor memory(::memfd_create("torture", MFD_CLOEXEC));
    if (::write(memory.fileno(), pattern.data(), pattern.size()) != std::ssize(pattern))
      throw std::runtime_error("memfd_create");
    return memory;
  }();
  const auto offset = static_cast<std::size_t>(data.data() - pattern.data());
  return out.sk.sendfile(file.fileno(), offset, data.size());
}

// Sends what an earlier call has left between the two ends or, if nothing is left, puts data there.
std::size_t send_through(Outgoing& out, std::string_view data) {
  const int from = out.reading.fileno();
  int left = 0;
  ::ioctl(from, FIONREAD, &left);
  if (left == 0)
    left = static_cast<int>(
        ::write(out.writing.fileno(), data.data(), std::min<std::size_t>(data.size(), 60'000)));
  return out.sk.sendfile(from, 0, static_cast<std::size_t>(left));
}

std::size_t by_sendfile_of_a_pipe(Outgoing& out, std::string_view data) {
  if (out.reading.fileno() == -1) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("pipe2");
    out.reading = Descriptor(ends[0]);
    out.writing = Descriptor(ends[1]);
  }
  return send_through(out, data);
}

std::size_t by_sendfile_of_a_socket(Outgoing& out, std::string_view data) {
  if (out.reading.fileno() == -1) {
    auto [reading, writing] = thinsock::socketpair();
    out.reading = Descriptor(reading.detach());
    out.writing = Descriptor(writing.detach());
  }
  return send_through(out, data);
}

// A stream keeps what it could not send.
std::size_t by_stream(Outgoing& out, std::string_view data) {
  if (data.size() % 2 == 0) {
    out.stream << data;
  } else {
    out.stream.write(data.data(), std::ssize(data));
  }
  while (!is_done(out.stream)) out.stream.flush();
  return data.size();
}

// --- receivers: each returns what it has received, at most so many bytes ---

struct Incoming {
  Socket& sk;
  SocketStream stream{sk, "r"};
  std::string buffer = std::string(kMost, '\0');

  std::string_view first(std::size_t size) const {
    return std::string_view(buffer).substr(0, size);
  }
};

std::string_view by_recv(Incoming& in, std::size_t most) { return in.buffer = in.sk.recv(most); }

std::string_view by_recv_into(Incoming& in, std::size_t most) {
  return in.first(in.sk.recv_into({in.buffer.data(), most}));
}

std::string_view by_recv_exactly(Incoming& in, std::size_t most) {
  return in.buffer = in.sk.recv_exactly(most);
}

std::string_view by_recv_exactly_into(Incoming& in, std::size_t most) try {
  in.sk.recv_exactly_into({in.buffer.data(), most});
  return in.first(most);
} catch (const TimeoutError& error) {
  if (error.transferred() == 0) throw;
  count_timeout(in.sk);
  return in.first(error.transferred());
}

std::string_view by_recvmsg_into(Incoming& in, std::size_t most) {
  const std::size_t third = most / 3;
  char* data = in.buffer.data();
  return in.first(
      in.sk.recvmsg_into({{data, third}, {data + third, 0}, {data + third, most - third}}).size);
}

std::string_view by_stream_read(Incoming& in, std::size_t most) {
  do in.stream.read(in.buffer.data(), static_cast<std::streamsize>(most));
  while (!is_done(in.stream));
  return in.first(static_cast<std::size_t>(in.stream.gcount()));
}

std::string_view by_readline(Incoming& in, std::size_t most) {
  do in.buffer = in.stream.readline(most);
  while (!is_done(in.stream));
  return in.buffer;
}

// --- ways: a sender, a receiver, a kind of socket and a timeout ---

struct Sender {
  const char* name;
  std::size_t (*send)(Outgoing&, std::string_view);
  bool keeps_unsent = true;  // Or loses, at a timeout, what it has read and not sent.
};
constexpr Sender kSenders[] = {
    {"sendall", by_sendall},
    {"send", by_send},
    {"sendall of buffers", by_sendall_of_parts},
    {"sendmsg", by_sendmsg},
    {"sendfile", by_sendfile},
    {"sendfile of a pipe", by_sendfile_of_a_pipe},
    {"sendfile of a socket", by_sendfile_of_a_socket, false},
    {"stream", by_stream},
};

struct Receiver {
  const char* name;
  std::string_view (*receive)(Incoming&, std::size_t);
};
constexpr Receiver kReceivers[] = {
    {"recv", by_recv},
    {"recv_into", by_recv_into},
    {"recv_exactly", by_recv_exactly},
    {"recv_exactly_into", by_recv_exactly_into},
    {"recvmsg_into", by_recvmsg_into},
    {"stream read", by_stream_read},
    {"readline", by_readline},
};

// With small buffers, so that senders have to wait.
std::pair<Socket, Socket> tcp_pair() {
  const torture::Spared spared;
  Socket listener = create_server({"127.0.0.1", 0});
  Socket client = create_connection(listener.getsockname());
  client.set_nodelay();
  client.set_sendbuf(100'000);
  return {std::move(client), listener.accept().socket};
}

std::pair<Socket, Socket> unix_pair() { return thinsock::socketpair(); }

struct Kind {
  const char* name;
  std::pair<Socket, Socket> (*pair)();
};
constexpr Kind kKinds[] = {{"TCP", tcp_pair}, {"Unix", unix_pair}};

struct Way {
  const Sender& sender;
  const Receiver& receiver;
  const Kind& kind;
  Timeout timeout;

  std::string name() const {
    return std::string(sender.name) + " to " + receiver.name + " over " + kind.name + ", timeout " +
           timeout.str();
  }
};

// A line for the way that hangs.
[[noreturn]] void give_up(int) {
  [[maybe_unused]] const auto written =
      ::write(STDOUT_FILENO, current_way.data(), current_way.size());
  ::_exit(1);
}

void send_all(const Way& way, Socket& sk, std::size_t total) {
  Outgoing out{sk};
  for (std::size_t sent = 0; sent < total;) {
    const std::string_view data = bytes_at(sent, some_size(out.random, total - sent));
    try {
      sent += way.sender.send(out, data);
    } catch (const TimeoutError& error) {
      count_timeout(sk);
      sent += error.transferred();
    }
    pause_sometimes(out.random, data.size());
  }
  do out.stream.flush();
  while (!is_done(out.stream));
  sk.shutdown(SHUT_WR);
}

// After all bytes it receives once more, to find the end of the stream.
void receive_all(const Way& way, Socket& sk, std::size_t total) {
  Incoming in{sk};
  std::minstd_rand random(2);
  for (std::size_t have = 0;;) {
    try {
      const std::size_t most = some_size(random, std::max<std::size_t>(total - have, 1));
      const std::string_view data = way.receiver.receive(in, most);
      if (data.empty() && have == total) return;
      if (data.empty() || data.size() > total - have || data != bytes_at(have, data.size()))
        throw std::runtime_error("wrong behind byte " + std::to_string(have));
      have += data.size();
      pause_sometimes(random, data.size());
    } catch (const EOFError& error) {
      if (have + error.transferred() != total) throw;
      return;
    } catch (const TimeoutError& error) {
      count_timeout(sk);
      have += error.transferred();  // Of recv_exactly, which loses them.
    }
  }
}

// What is wrong, or nothing. The end that fails closes its socket, and so ends the other one.
template <class Call>
std::string problem_of(const Call& call, Socket& sk) try {
  call();
  return "";
} catch (const std::exception& exception) {
  sk.close();
  return exception.what();
}

bool arrives(const Way& way, std::size_t total) {
  current_way = way.name() + ": hangs\n";
  std::signal(SIGALRM, give_up);
  ::alarm(kHung);
  std::pair<Socket, Socket> ends = way.kind.pair();
  Socket &here = ends.first, &there = ends.second;
  here.settimeout(way.timeout);
  there.settimeout(way.timeout);
  std::string unsent;
  std::thread sending([&] { unsent = problem_of([&] { send_all(way, here, total); }, here); });
  const std::string lost = problem_of([&] { receive_all(way, there, total); }, there);
  sending.join();
  if (lost.empty() && unsent.empty()) return true;
  std::printf("%s: %s; %s\n", way.name().c_str(), lost.c_str(), unsent.c_str());
  return false;
}

template <class Action>
void for_each_way(const Action& action) {
  for (const Kind& kind : kKinds)
    for (const Timeout timeout : {kNone, kLong, kShort})
      for (const Sender& sender : kSenders)
        for (const Receiver& receiver : kReceivers)
          if (sender.keeps_unsent || timeout != kShort)
            action(Way{sender, receiver, kind, timeout});
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const double gigabytes = argc > 1 ? std::atof(argv[1]) : 0.5;
  int ways = 0, failed = 0;
  for_each_way([&](const Way&) { ++ways; });
  torture::set_up();
  torture::shorten(1);
  const auto start = std::chrono::steady_clock::now();
  for_each_way([&](const Way& way) {
    failed += !arrives(way, static_cast<std::size_t>(gigabytes * 1e9 / ways));
  });
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  torture::stop();
  const auto [short_counts, interrupted, blocked] = torture::shortened();
  std::printf("bytes: %d ways, %g GB in %.0f s, %ld short counts, %ld EINTR, %ld EAGAIN, ", ways,
              gigabytes, time.count(), short_counts, interrupted, blocked);
  std::printf("%ld timeouts, ", timeouts.load());
  if (failed == 0 && std::min({short_counts, interrupted, blocked, timeouts.load()}) > 0)
    return std::printf("every byte arrived\n"), 0;
  return std::printf("%d ways failed\n", failed), 1;
}
