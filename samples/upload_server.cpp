// Receives files and resumes broken uploads: the tutorials' post|name|size.
// sh samples/run.sh upload_server DIR [HOST [PORT]]
//
// Limits: 100 clients at once, files below 1 GB. A client may be silent for 30 s, and has 30 s for
// each piece of 64 KiB.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <iostream>
#include <regex>
#include <thinsock/cancel.hpp>
#include <thinsock/message.hpp>
#include <thinsock/socketserver.hpp>
using namespace std::chrono_literals;
using thinsock::Descriptor;

std::filesystem::path directory;

[[noreturn]] void fail(int error) { throw std::system_error(error, std::system_category()); }
long check(long result) { return result != -1 ? result : (fail(errno), 0); }

// Opens and locks a file for this client alone. While this waits for the lock, another client may
// complete and rename the file: then the path names no or another file, and this starts again.
Descriptor open_locked(const std::filesystem::path& path) {
  const int flags = O_CREAT | O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC;
  struct stat opened, found;
  for (;;) {
    Descriptor file(static_cast<int>(check(::open(path.c_str(), flags, 0644))));
    check(::flock(file.fileno(), LOCK_EX));
    check(::fstat(file.fileno(), &opened));
    if (::stat(path.c_str(), &found) == 0 && opened.st_ino == found.st_ino) return file;
  }
}

// A client sends "post|NAME|SIZE\n" and is told by "have|SIZE\n" how many bytes are here already.
// Then it sends the missing bytes and is answered "done\n".
class Upload : public thinsock::StreamRequestHandler {
  void handle() override try {
    static const std::regex post(R"(post\|([^./\x00][^/\x00]*)\|(\d{1,9})\n)");
    std::smatch found;
    const std::string line = rfile.readline(1024);
    if (!std::regex_match(line, found, post)) fail(EINVAL);
    receive(found[1], std::stol(found[2]));
  } catch (const std::system_error& error) {
    wfile.exceptions(std::ios::goodbit);  // The client may have gone, too.
    wfile << "error|" << error.code().message() << std::endl;
    const thinsock::CancelScope scope(30s);
    connection.shutdown(SHUT_WR);
    rfile.ignore(1 << 30);  // Unread bytes would make close() reset the connection.
  }

  // Writes to a hidden file with the size in its name, which is renamed once it is complete. A
  // further upload of the same name and size continues that file.
  void receive(const std::string& name, long size) {
    const auto partial = directory / ('.' + name + '.' + std::to_string(size));
    const Descriptor file = open_locked(partial);
    long have = check(::lseek(file.fileno(), 0, SEEK_END));
    wfile << "have|" << have << std::endl;
    for (char piece[65536]; have < size && rfile;) {
      const thinsock::CancelScope patience(30s);
      const long more = rfile.read(piece, std::min<long>(sizeof piece, size - have)).gcount();
      if (check(::write(file.fileno(), piece, static_cast<std::size_t>(more))) < more) fail(ENOSPC);
      have += more;
    }
    if (have < size) return;  // A later upload can send the rest.
    check(::fdatasync(file.fileno()));
    std::filesystem::rename(partial, directory / name);
    wfile << "done\n";
  }
};

int main(int argc, char** argv) try {
  if (argc < 2) throw std::invalid_argument("DIR");
  directory = std::filesystem::canonical(argv[1]);
  const char* host = argc > 2 ? argv[2] : "127.0.0.1";
  const int port = argc > 3 ? std::stoi(argv[3]) : 8888;

  const thinsock::CancelScope ctrl_c({SIGINT, SIGTERM});
  thinsock::ThreadingTCPServer server({host, port}, thinsock::handler<Upload>,
                                      {.allow_reuse_address = true,
                                       .idle_timeout = 30s,
                                       .daemon_threads = true,
                                       .max_threads = 100});
  std::cout << "listening on " << server.server_address << std::endl;
  server.serve_forever();
} catch (const std::logic_error&) {
  return std::cerr << "usage: upload_server DIR [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// listening on 127.0.0.1:8888
