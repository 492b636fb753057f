// Sends each client's lines to all clients: Python's ThreadingTCPServer whose handlers share state.
// sh samples/run.sh broadcast_chat [HOST [PORT]]
//
// Limits: 200 members at once, lines of 1 KiB. Who does not read fast enough is disconnected.
#include <chrono>
#include <csignal>
#include <iostream>
#include <mutex>
#include <set>
#include <thinsock/cancel.hpp>
#include <thinsock/socketserver.hpp>
using namespace std::chrono_literals;
using thinsock::Socket, thinsock::ThreadingTCPServer;

struct Room : ThreadingTCPServer {
  using ThreadingTCPServer::ThreadingTCPServer;

  void enter(Socket& member) {
    const std::lock_guard lock(mutex);
    members.insert(&member);
  }
  void leave(Socket& member) {
    const std::lock_guard lock(mutex);
    members.erase(&member);
  }
  // Disconnects members that do not read fast enough, instead of making all others wait.
  void say(const std::string& line) {
    const std::lock_guard lock(mutex);
    for (Socket* member : members) {
      std::error_code error;
      if (member->send(line, MSG_DONTWAIT, error) < line.size())
        ::shutdown(member->fileno(), SHUT_RDWR);  // Socket::shutdown throws if the peer has gone.
    }
  }

  std::mutex mutex;
  std::set<Socket*> members;
};

class Member : public thinsock::StreamRequestHandler {
  void handle() override {
    request.set_keepalive(60s, 10s, 3);  // Notices a machine that was switched off.
    room.enter(request);
    room.say(name + " has come\n");
    for (std::string line; (line = rfile.readline(1024)).ends_with('\n');)
      room.say(name + ": " + line);
  }
  void finish() override {
    room.leave(request);
    room.say(name + " has left\n");
  }

  Room& room = static_cast<Room&>(server);
  const std::string name = client_address.str();
};

int main(int argc, char** argv) try {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;

  const thinsock::CancelScope ctrl_c({SIGINT, SIGTERM});
  Room server({host, port}, thinsock::handler<Member>,
              {.allow_reuse_address = true, .daemon_threads = true, .max_threads = 200});
  std::cout << "listening on " << server.server_address << std::endl;
  server.serve_forever();
} catch (const std::logic_error&) {
  return std::cerr << "usage: broadcast_chat [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// listening on 127.0.0.1:8888
// A client (nc 127.0.0.1 8888) prints:
// 127.0.0.1:54321: Hello, everybody!
