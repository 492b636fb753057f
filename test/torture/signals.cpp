// Sends signals to threads that wait in every blocking call of the library: `signals [ROUNDS]`.
//
// No call may end before its deadline because of them, nor later, as it would if its timeout began
// again after each. And those without a timeout must still do their work once they can.
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <ratio>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "thinsock/thinsock.hpp"

using namespace std::chrono_literals;
using namespace thinsock;
using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::duration<double, std::milli>;

namespace {

constexpr auto kTimeout = 200ms;
constexpr int kTimedCalls = 13;  // In each round, before the one without a timeout.
constexpr auto kTick = 1ms;
constexpr int kSignalsOfATick = 10;  // Makes 10,000 a second.
constexpr auto kHung = 30s;

std::atomic<long> handled = 0;

void expect(bool holds, const char* what) {
  if (!holds) throw std::logic_error(what);
}

// --- the ends of a connection: `here` is the one that waits ---

struct Ends {
  Socket here, there;
};

Ends patient(Ends ends) {
  ends.there.settimeout(5s);
  return ends;
}

Ends connected() {
  auto [here, there] = thinsock::socketpair();
  return patient({std::move(here), std::move(there)});
}

// Nobody connects to `here`.
Ends listening() { return patient({create_server({"127.0.0.1", 0}), Socket()}); }

void fill(Socket& sk, std::string_view data) {
  for (std::error_code error; !error;) sk.send(data, MSG_DONTWAIT, error);
}

// `there` does not read.
Ends full() {
  Ends ends = connected();
  fill(ends.here, std::string(10000, 'f'));
  fill(ends.here, "f");
  return ends;
}

Ends full_of_datagrams() {
  auto [here, there] = thinsock::socketpair(AF_UNIX, SOCK_DGRAM);
  fill(here, "f");
  return patient({std::move(here), std::move(there)});
}

// The same with an address, which `here` must name in each call.
Ends full_receiver() {
  Ends ends = patient({Socket(AF_UNIX, SOCK_DGRAM), Socket(AF_UNIX, SOCK_DGRAM)});
  ends.there.bind("");
  std::error_code error;
  while (!error) ends.here.sendto("f", MSG_DONTWAIT, ends.there.getsockname(), error);
  return ends;
}

// `there` is a listener that does not accept, and whose backlog is full.
Ends full_listener(AddressLike address) {
  Socket listener = create_server(address, {.backlog = 0});
  Socket first(listener.family());
  first.connect(listener.getsockname());
  return patient({std::move(first), std::move(listener)});
}

Ends full_unix_listener() { return full_listener(""); }
Ends full_tcp_listener() { return full_listener({"127.0.0.1", 0}); }

// --- what `there` does so that the call can do its work ---

void say(Ends& ends) { ends.there.sendall("x\n"); }
void call(Ends& ends) { ends.there.connect(ends.here.getsockname()); }
void take(Ends& ends) { ends.there.accept().socket.close(); }

// Reads up to what the call sends.
void listen_to(Ends& ends) {
  std::string data;
  while (!data.ends_with('x')) {
    data = ends.there.recv(100000);
    expect(!data.empty(), "the byte has not arrived");
  }
}

// --- calls that several entries of the list share ---

void send_a_file(Ends& ends) {
  const Descriptor file(::memfd_create("torture", MFD_CLOEXEC));
  expect(::write(file.fileno(), "x", 1) == 1, "write");
  expect(ends.here.sendfile(file.fileno()) == 1, "sendfile");
}

[[noreturn]] void time_out() { throw TimeoutError({ETIMEDOUT, timeout_category()}, "no request"); }

SocketStream stream_over(Socket& sk) {
  SocketStream stream(sk);
  stream.exceptions(std::ios::badbit);
  return stream;
}

// Unlike std::this_thread::sleep_for, it is not late by a little more after each signal.
void sleep_for_the_timeout() {
  timespec end;
  ::clock_gettime(CLOCK_MONOTONIC, &end);
  end.tv_nsec += std::chrono::nanoseconds(kTimeout).count();
  end.tv_sec += end.tv_nsec / std::nano::den;
  end.tv_nsec %= std::nano::den;
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, nullptr) == EINTR) {
  }
}

void connect_to(const Ends& ends) {
  Socket sk(ends.there.family());
  sk.settimeout(ends.here.gettimeout());
  sk.connect(ends.there.getsockname());
}

void create_connection_to(const Ends& ends) {
  create_connection(ends.there.getsockname(), ends.here.gettimeout()).close();
}

// A server over the listener `here`, which serves until a request or a timeout.
template <class Base>
class Server : public Base {
 public:
  explicit Server(Ends& ends)
      : Base({"127.0.0.1", 0}, [this](Socket&, const Address&) { served_ = true; },
             {.bind_and_activate = false, .timeout = ends.here.gettimeout()}) {
    this->socket = ends.here.dup();
    this->server_activate();
  }
  ~Server() override { this->server_close(); }

  void handle_one() {
    this->handle_request();
    if (!served_) time_out();
  }
  void serve() {
    this->serve_forever(this->options.timeout);
    if (!served_) time_out();
  }
  void service_actions() override { this->request_shutdown(); }

 private:
  std::atomic<bool> served_ = false;
};

// --- the list ---

struct Call {
  const char* name;
  Ends (*ends)();
  void (*make)(Ends&);    // Waits, and checks what it gets.
  void (*answer)(Ends&);  // Lets it do its work.
};

constexpr Call kCalls[] = {
    // The first one shows how late the machine itself is, without the library.
    {"sleep", connected,
     [](Ends& e) {
       if (e.here.gettimeout() == std::nullopt) return;
       sleep_for_the_timeout();
       time_out();
     },
     say},
    {"accept", listening, [](Ends& e) { e.here.accept().socket.close(); }, call},
    {"connect, Unix", full_unix_listener, [](Ends& e) { connect_to(e); }, take},
    {"connect, TCP", full_tcp_listener, [](Ends& e) { connect_to(e); }, take},
    {"create_connection, Unix", full_unix_listener, [](Ends& e) { create_connection_to(e); }, take},
    {"create_connection, TCP", full_tcp_listener, [](Ends& e) { create_connection_to(e); }, take},
    {"recv", connected, [](Ends& e) { expect(e.here.recv(9) == "x\n", "recv"); }, say},
    {"recv_into", connected,
     [](Ends& e) {
       char bytes[9];
       expect(e.here.recv_into(bytes) == 2 && bytes[0] == 'x', "recv_into");
     },
     say},
    {"recv_exactly", connected,
     [](Ends& e) { expect(e.here.recv_exactly(2) == "x\n", "recv_exactly"); }, say},
    {"recv_exactly_into", connected,
     [](Ends& e) {
       char bytes[2];
       e.here.recv_exactly_into(bytes);
       expect(bytes[0] == 'x', "recv_exactly_into");
     },
     say},
    {"recvfrom", connected, [](Ends& e) { expect(e.here.recvfrom(9).data == "x\n", "recvfrom"); },
     say},
    {"recvmsg", connected, [](Ends& e) { expect(e.here.recvmsg(9).data == "x\n", "recvmsg"); },
     say},
    {"send", full, [](Ends& e) { expect(e.here.send("x") == 1, "send"); }, listen_to},
    {"sendall", full, [](Ends& e) { e.here.sendall("x"); }, listen_to},
    {"sendall of buffers", full,
     [](Ends& e) {
       e.here.sendall({"", "x"});
     },
     listen_to},
    {"sendmsg", full, [](Ends& e) { expect(e.here.sendmsg({"x"}) == 1, "sendmsg"); }, listen_to},
    {"send, datagram", full_of_datagrams, [](Ends& e) { expect(e.here.send("x") == 1, "send"); },
     listen_to},
    {"sendto", full_receiver,
     [](Ends& e) { expect(e.here.sendto("x", e.there.getsockname()) == 1, "sendto"); }, listen_to},
    {"sendfile", full, send_a_file, listen_to},
    {"select to read", connected,
     [](Ends& e) {
       if (select({e.here}, {}, {}, e.here.gettimeout()).readable.empty()) time_out();
     },
     say},
    {"select to write", full,
     [](Ends& e) {
       if (select({}, {e.here}, {}, e.here.gettimeout()).writable.empty()) time_out();
       e.here.sendall("x");
     },
     listen_to},
    {"readline", connected,
     [](Ends& e) { expect(stream_over(e.here).readline() == "x\n", "readline"); }, say},
    {"flush", full, [](Ends& e) { stream_over(e.here) << 'x' << std::flush; }, listen_to},
    {"handle_request", listening, [](Ends& e) { Server<TCPServer>(e).handle_one(); }, call},
    {"serve_forever", listening, [](Ends& e) { Server<TCPServer>(e).serve(); }, call},
    {"serve_forever with threads", listening,
     [](Ends& e) { Server<ThreadingTCPServer>(e).serve(); }, call},
};
constexpr std::size_t kCount = std::size(kCalls);

// What happened to one of the calls.
struct Record {
  std::vector<Milliseconds> late;  // How long after its deadline each call ended.
  Milliseconds starved{};          // The longest wait for a processor during one of them.
  std::string problem;
  std::string unanswered;  // The problem of the other end.
  std::atomic<bool> timed = false, done = false;
};
Record records[kCount];

// How long this thread has been ready to run but without a processor, since it was started.
Milliseconds processor_wait() {
  std::ifstream file("/proc/thread-self/schedstat");
  double running = 0, waiting = 0;  // In nanoseconds.
  file >> running >> waiting;
  return Milliseconds(waiting / 1e6);
}

void make_timed_calls(const Call& call, Ends& ends, Record& record) {
  ends.here.settimeout(kTimeout);
  for (int made = 0; made < kTimedCalls; ++made) {
    const Milliseconds wait_before = processor_wait();
    const auto deadline = Clock::now() + kTimeout;
    try {
      call.make(ends);
      expect(false, "returned before anybody answered");
    } catch (const TimeoutError&) {
      record.late.push_back(Clock::now() - deadline);
    }
    record.starved = std::max(record.starved, processor_wait() - wait_before);
  }
}

// Calls the function. What it throws is the problem.
template <class Function>
void attempt(std::string& problem, const Function& function) try {
  function();
} catch (const std::exception& exception) {
  problem = exception.what();
}

void wait_in(const Call& call, Ends& ends, Record& record) {
  attempt(record.problem, [&] { make_timed_calls(call, ends, record); });
  record.timed = true;
  if (record.problem.empty()) {
    attempt(record.problem, [&] {
      ends.here.settimeout(std::nullopt);
      call.make(ends);
    });
  }
  record.done = true;
}

// Waits until it is true of all records. If that takes too long, ends the program.
void wait_for(std::atomic<bool> Record::*state) {
  const auto end = Clock::now() + kHung;
  for (std::size_t i = 0; i < kCount; std::this_thread::sleep_for(10ms)) {
    while (i < kCount && records[i].*state) ++i;
    if (i == kCount || Clock::now() < end) continue;
    std::printf("%s: does not end\n", kCalls[i].name);
    std::_Exit(1);
  }
}

// Sends signals to the threads that are not done, in turn.
void signal_in_turn(const std::stop_token& stop, std::vector<std::thread>& threads) {
  std::size_t turn = 0;
  for (auto next = Clock::now(); !stop.stop_requested(); std::this_thread::sleep_until(next)) {
    next += kTick;
    for (std::size_t tried = 0, found = 0; tried < kCount && found < kSignalsOfATick; ++tried) {
      turn = (turn + 1) % kCount;
      if (records[turn].done) continue;
      ::pthread_kill(threads[turn].native_handle(), SIGUSR1);
      ++found;
    }
  }
}

void run_round() {
  std::vector<Ends> ends;
  for (const Call& call : kCalls) ends.push_back(call.ends());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kCount; ++i) {
    records[i].timed = records[i].done = false;
    threads.emplace_back([&, i] { wait_in(kCalls[i], ends[i], records[i]); });
  }
  std::jthread signalling([&](const std::stop_token& stop) { signal_in_turn(stop, threads); });
  wait_for(&Record::timed);
  std::this_thread::sleep_for(50ms);  // Until the threads wait again.
  for (std::size_t i = 0; i < kCount; ++i) {
    if (!records[i].done) attempt(records[i].unanswered, [&] { kCalls[i].answer(ends[i]); });
  }
  wait_for(&Record::done);
  signalling.request_stop();
  signalling.join();
  for (std::thread& thread : threads) thread.join();
}

// How late a call ended: the earliest, the median and the latest of its ends.
struct Lateness {
  explicit Lateness(std::vector<Milliseconds> late) {
    std::sort(late.begin(), late.end());
    earliest = late.front();
    median = late[late.size() / 2];
    latest = late.back();
  }
  Milliseconds earliest, median, latest;
};

// What is wrong with the call, or nothing. It may be late by what the machine is late, and by the
// longest wait for a processor: the threads of servers, of which none is known, may wait as long.
std::string problem_of(const Record& record, const Lateness& machine, Milliseconds starved) {
  if (!record.problem.empty()) return record.problem;
  if (!record.unanswered.empty()) return record.unanswered;
  const Lateness call(record.late);
  if (call.earliest.count() < 0) return "ended before its deadline";
  if (call.median < 5ms + machine.median && call.latest < 50ms + machine.latest + starved)
    return "";
  return "late by " + std::to_string(call.median.count()) + " ms in the median, by " +
         std::to_string(call.latest.count()) + " ms at most";
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 2;
  struct sigaction action {};  // Without SA_RESTART.
  action.sa_handler = [](int) { ++handled; };
  ::sigaction(SIGUSR1, &action, nullptr);
  const auto start = Clock::now();
  for (int i = 0; i < rounds; ++i) run_round();
  const std::chrono::duration<double> time = Clock::now() - start;

  const Lateness machine(records[0].late);
  Milliseconds starved{}, latest{};
  for (const Record& record : records) starved = std::max(starved, record.starved);
  int failed = 0;
  for (std::size_t i = 1; i < kCount; ++i) {
    for (const Milliseconds late : records[i].late) latest = std::max(latest, late);
    const std::string problem = problem_of(records[i], machine, starved);
    if (problem.empty()) continue;
    std::printf("%s: %s\n", kCalls[i].name, problem.c_str());
    ++failed;
  }
  std::printf("signals: %zu calls, %ld signals in %.0f s, latest end %.1f ms after its deadline",
              kCount - 1, handled.load(), time.count(), latest.count());
  std::printf(" (a plain sleep: %.1f ms, waits for a processor: up to %.1f ms)\n",
              machine.latest.count(), starved.count());
  if (handled < 1000 * rounds) std::printf("too few signals to tell anything\n"), ++failed;
  return failed == 0 ? 0 : 1;
}
