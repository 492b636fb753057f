// Runs command lines and streams their output back: Python's subprocess behind a socketserver.
// sh samples/run.sh exec_server [HOST [PORT]]
//
// Limits: 100 clients at once, each of which may be silent for a minute; lines of 64 KiB. A command
// is killed when it prints nothing for a minute, or its client leaves or reads nothing for a
// minute.
#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <iostream>
#include <thinsock/cancel.hpp>
#include <thinsock/message.hpp>
#include <thinsock/socketserver.hpp>
using namespace std::chrono_literals;
using thinsock::Descriptor;

long check(long result) {
  return result != -1 ? result : throw std::system_error(errno, std::system_category());
}

struct Pipe {
  Pipe() {
    int ends[2];
    check(::pipe2(ends, O_CLOEXEC));
    out = Descriptor(ends[0]), in = Descriptor(ends[1]);
  }
  Descriptor out, in;
};

// Starts a shell in a new process group, so that it can be killed with all its children.
pid_t start(const std::string& line, const Pipe& out, const Pipe& err) {
  const auto pid = static_cast<pid_t>(check(::fork()));
  ::setpgid(pid, pid);  // In parent and child, because either may be the first to need it.
  if (pid != 0) return pid;
  ::dup2(::open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
  ::dup2(out.in.fileno(), 1);
  ::dup2(err.in.fileno(), 2);
  ::execl("/bin/sh", "sh", "-c", line.c_str(), nullptr);
  ::_exit(127);
}

// Sends "stdout SIZE\n" or "stderr SIZE\n" and SIZE bytes for each piece of output, and finally
// "exit STATUS\n". When the client closes the connection, or only its sending side, the command is
// killed.
class Exec : public thinsock::StreamRequestHandler {
  void handle() override {
    wfile.exceptions(std::ios::goodbit);  // An exception would leave a command running.
    for (std::string line; wfile && (line = rfile.readline(65536)).ends_with('\n');) run(line);
  }

  void run(const std::string& line) {
    Pipe out, err;
    const pid_t pid = start(line, out, err);
    out.in.close(), err.in.close();
    const Descriptor ended(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    pollfd ends[] = {{out.out.fileno(), POLLIN, 0},
                     {err.out.fileno(), POLLIN, 0},
                     {ended.fileno(), POLLIN, 0},
                     {request.fileno(), POLLRDHUP, 0}};
    while (ends[0].fd != -1 || ends[1].fd != -1 || ends[2].fd != -1) {
      const int ready = ::poll(ends, 4, 60'000);
      if (ready == -1) continue;                                   // A signal arrived.
      if (ends[3].revents != 0) wfile.setstate(std::ios::badbit);  // The client has left.
      if (ready == 0 || !wfile) {
        ::kill(-pid, SIGKILL);
        break;
      }
      if (ends[0].revents != 0 && !pass_on("stdout ", out.out)) ends[0].fd = -1;
      if (ends[1].revents != 0 && !pass_on("stderr ", err.out)) ends[1].fd = -1;
      if (ends[2].revents != 0) ends[2].fd = -1;
    }
    int status;
    ::waitpid(pid, &status, 0);
    status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    wfile << "exit " << status << std::endl;
  }

  bool pass_on(const char* name, const Descriptor& from) {
    char piece[65536];
    const ssize_t size = ::read(from.fileno(), piece, sizeof piece);
    if (size > 0) (wfile << name << size << '\n').write(piece, size).flush();
    return size > 0;
  }
};

int main(int argc, char** argv) try {
  const char* host = argc > 1 ? argv[1] : "127.0.0.1";
  const int port = argc > 2 ? std::stoi(argv[2]) : 8888;

  const thinsock::CancelScope ctrl_c({SIGINT, SIGTERM});
  thinsock::ThreadingTCPServer server({host, port}, thinsock::handler<Exec>,
                                      {.allow_reuse_address = true,
                                       .idle_timeout = 60s,
                                       .daemon_threads = true,
                                       .max_threads = 100});
  std::cout << "listening on " << server.server_address << std::endl;
  std::cerr << "warning: anybody who connects runs commands as this user\n";
  server.serve_forever();
} catch (const std::logic_error&) {
  return std::cerr << "usage: exec_server [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// listening on 127.0.0.1:8888
// warning: anybody who connects runs commands as this user
