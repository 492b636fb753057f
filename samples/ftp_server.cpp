// Serves a directory to any FTP client: the tutorials' homework, on a threading socketserver.
// sh samples/run.sh ftp_server DIR USERS [HOST [PORT]]       (USERS: a file of lines name:password)
//
// It implements RFC 959, 2389, 2428 (IPv6) and 3659 (MLSD, resuming). Files are transferred
// unchanged, even with TYPE A, so SIZE gives the size on disk. Links that stay within DIR are
// followed, but not listed.
//
// Limits: 200 clients at once. A client has 30 s and three attempts to log in, and 5 minutes for
// each command and each piece of a file.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iostream>
#include <map>
#include <numeric>
#include <optional>
#include <thinsock/cancel.hpp>
#include <thinsock/message.hpp>
#include <thinsock/socketserver.hpp>
#include <thread>
using namespace std::chrono_literals;
using std::filesystem::path;
using thinsock::Address, thinsock::CancelScope, thinsock::Descriptor, thinsock::Socket;
using Reply = std::string;
using Text = const std::string&;
using Status = struct stat;

constexpr auto kLoginTime = 30s;  // In all, or silent clients would keep others out.
// The longest wait for a command, a reply, a data connection or a piece of a file.
constexpr auto kPatience = 5min;
constexpr std::size_t kPiece = 1 << 18, kLongestLine = 4096;  // In bytes.
constexpr std::size_t kMostQueued = 16;  // So many commands during a transfer end it.

auto check(auto result, const char* what = "") {
  if (result == -1) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

bool fits_on_a_line(Text name) { return name.find_first_of("\r\n\0", 0, 3) == name.npos; }

std::string quoted(Text name) {
  return (std::ostringstream() << std::quoted(name, '"', '"')).str();
}

std::string utc(std::time_t time, const char* format) {
  std::tm parts;
  return (std::ostringstream() << std::put_time(::gmtime_r(&time, &parts), format)).str();
}

// These three format an entry for NLST, for LIST (as ls -l does, which clients expect) and for
// MLSD.
std::string name_only(Text name, const Status&) { return name; }
std::string ls_line(Text name, const Status& status) {
  const bool recent = std::abs(std::time(nullptr) - status.st_mtime) < 180 * 24 * 3600;
  std::ostringstream line;
  line << (S_ISDIR(status.st_mode) ? "drwxr-xr-x" : "-rw-r--r--") << " 1 ftp ftp " << std::setw(12)
       << status.st_size << utc(status.st_mtime, recent ? " %b %e %H:%M " : " %b %e  %Y ") << name;
  return line.str();
}
std::string facts(Text name, const Status& status) {
  return (S_ISDIR(status.st_mode) ? "type=dir;size=" : "type=file;size=") +
         std::to_string(status.st_size) + utc(status.st_mtime, ";modify=%Y%m%d%H%M%S; ") + name;
}

std::vector<std::string> lines_of(const char* name) {
  std::ifstream file(name);
  if (!file) throw std::system_error(errno, std::generic_category(), name);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

// The directory that is served, and a line name:password for each user.
struct Site {
  const Descriptor root;
  const std::vector<std::string> users;

  // The kernel keeps the path within the root (RESOLVE_IN_ROOT), even if somebody changes links or
  // renames directories meanwhile. O_NONBLOCK keeps the call from waiting for the other end of a
  // FIFO.
  Descriptor open(const path& where, int flags) const {
    open_how how{};
    how.flags = static_cast<unsigned>(flags | O_CLOEXEC | (flags & O_PATH ? 0 : O_NONBLOCK));
    how.mode = flags & O_CREAT ? 0666 : 0;
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    const long fd = ::syscall(SYS_openat2, root.fileno(), where.c_str(), &how, sizeof how);
    return Descriptor(static_cast<int>(check(fd)));
  }

  // Compares in constant time, so that the time tells neither how much of a password is right nor
  // whether a user exists.
  bool admits(Text given) const {
    bool admitted = false;
    for (std::string line : users) {
      const int size_differs = line.size() != given.size();
      line.resize(given.size());
      admitted |= std::transform_reduce(given.begin(), given.end(), line.begin(), size_differs,
                                        std::bit_or<int>(), std::bit_xor<int>()) == 0;
    }
    return admitted;
  }
};

Status status_of(const Descriptor& file) {
  Status status;
  check(::fstat(file.fileno(), &status));
  return status;
}

// Serves one client. Each command is a member function that returns the reply.
class Ftp : public thinsock::StreamRequestHandler {
 public:
  // With Nagle's algorithm the last reply of a transfer would wait until the client has
  // acknowledged the first.
  explicit Ftp(const Site& site) : site_(site) { disable_nagle_algorithm = true; }

 private:
  void handle() override try {
    login_.emplace(kLoginTime);
    request.setsockopt(SOL_SOCKET, SO_OOBINLINE, 1);  // Some clients send ABOR as urgent data.
    reply("220 Ready");
    for (std::string line; open_ && wfile && !(line = next_line()).empty();) reply(answer(line));
  } catch (const thinsock::TimeoutError&) {
    login_.reset();
    reply("421 No command came in time");
  }

  void reply(const Reply& text) {
    const CancelScope patience(kPatience);
    if (wfile) wfile << text << "\r\n" << std::flush;  // wfile is bad once the client has gone.
  }

  std::string next_line() {
    const CancelScope patience(kPatience);
    set_idle();  // Ctrl-C may end it now.
    if (queue_.empty()) queue_.push_back(rfile.readline(kLongestLine));
    set_idle(false);
    const std::string line = queue_.front();
    queue_.pop_front();
    return line;
  }

  // Splits a line into the command, in capitals, and its argument. Leaves out the Telnet signals
  // (IAC IP, IAC DM) that some clients put before ABOR.
  static std::pair<std::string, std::string> parse(Text line) {
    const std::string text =
        line.substr(std::min(line.find_first_not_of("\xff\xf4\xf2"), line.size()));
    const std::size_t end = text.find_last_not_of("\r\n") + 1;
    const std::size_t space = std::min(text.find(' '), end);
    std::string name = text.substr(0, space);
    std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::toupper(c); });
    return {name, space < end ? text.substr(space + 1, end - space - 1) : ""};
  }

  Reply answer(Text line) try {
    static const std::map<std::string, Reply (Ftp::*)(Text argument)> commands = {
        {"ABOR", &Ftp::abor}, {"APPE", &Ftp::appe}, {"CDUP", &Ftp::cdup}, {"CWD", &Ftp::cwd},
        {"DELE", &Ftp::dele}, {"EPRT", &Ftp::eprt}, {"EPSV", &Ftp::epsv}, {"FEAT", &Ftp::feat},
        {"LIST", &Ftp::list}, {"MDTM", &Ftp::mdtm}, {"MKD", &Ftp::mkd},   {"MLSD", &Ftp::mlsd},
        {"MLST", &Ftp::mlst}, {"NLST", &Ftp::nlst}, {"NOOP", &Ftp::noop}, {"OPTS", &Ftp::opts},
        {"PASS", &Ftp::pass}, {"PASV", &Ftp::pasv}, {"PORT", &Ftp::port}, {"PWD", &Ftp::pwd},
        {"QUIT", &Ftp::quit}, {"REST", &Ftp::rest}, {"RETR", &Ftp::retr}, {"RMD", &Ftp::rmd},
        {"RNFR", &Ftp::rnfr}, {"RNTO", &Ftp::rnto}, {"SIZE", &Ftp::size}, {"STOR", &Ftp::stor},
        {"SYST", &Ftp::syst}, {"TYPE", &Ftp::type}, {"USER", &Ftp::user}};
    constexpr std::string_view without_login = "FEAT NOOP OPTS PASS QUIT USER";
    if (line.back() != '\n') return open_ = false, "500 The line is too long";
    const auto [name, argument] = parse(line);
    const auto command = commands.find(name);
    if (command == commands.end()) return "500 There is no such command";
    if (!logged_in_ && without_login.find(name) == without_login.npos) return "530 Log in first";
    if (name != "RNTO") renamed_.clear();
    return (this->*command->second)(argument);
  } catch (const std::system_error& error) {
    return "550 " + error.code().message();
  } catch (const std::runtime_error& refusal) {
    return refusal.what();
  } catch (const std::logic_error&) {
    return "501 The argument is not valid";
  }

  Reply user(Text name) {
    user_ = name;
    logged_in_ = false;
    return "331 Send the password";
  }
  Reply pass(Text password) {
    if (user_.empty()) return "503 Send USER first";
    logged_in_ = site_.admits(std::exchange(user_, "") + ':' + password);
    if (logged_in_) login_.reset();
    if (!logged_in_ && ++failures_ == 3) open_ = false;
    return logged_in_ ? "230 Welcome" : "530 The name or the password is wrong";
  }
  Reply quit(Text) { return open_ = false, "221 Goodbye"; }
  Reply noop(Text) { return "200 Done"; }
  Reply abor(Text) { return "226 No transfer is under way"; }
  Reply syst(Text) { return "215 UNIX Type: L8"; }
  Reply feat(Text) {
    return "211-Extensions:\r\n EPRT\r\n EPSV\r\n MDTM\r\n MLST type*;size*;modify*;\r\n"
           " REST STREAM\r\n SIZE\r\n TVFS\r\n UTF8\r\n211 End";
  }
  Reply opts(Text option) {
    return option == "UTF8 ON" ? "200 Always" : "501 UTF8 is the only option";
  }
  Reply type(Text type) {
    const bool known = type == "A" || type == "A N" || type == "I" || type == "L 8";
    return known ? "200 Done" : "504 There are types A, I and L 8 only";
  }

  // The path that a client means: absolute, and without "..".
  path resolve(Text name) const {
    if (name.empty()) throw std::runtime_error("501 The name is missing");
    if (!fits_on_a_line(name)) throw std::runtime_error("553 The name must be on one line");
    const path where = (directory_ / name).lexically_normal();
    return where.has_filename() ? where : where.parent_path();
  }
  Descriptor parent(const path& where) const { return site_.open(where.parent_path(), O_PATH); }
  Status status(const path& where) const { return status_of(site_.open(where, O_PATH)); }

  Reply pwd(Text) { return "257 " + quoted(directory_); }
  Reply cdup(Text) { return cwd(".."); }
  Reply cwd(Text name) {
    site_.open(resolve(name), O_PATH | O_DIRECTORY);
    directory_ = resolve(name);
    return "250 Done";
  }
  Reply mkd(Text name) {
    const path where = resolve(name);
    check(::mkdirat(parent(where).fileno(), where.filename().c_str(), 0777));
    return "257 " + quoted(where);
  }
  Reply rmd(Text name) { return remove(resolve(name), AT_REMOVEDIR); }
  Reply dele(Text name) { return remove(resolve(name), 0); }
  Reply remove(const path& where, int flags) {
    check(::unlinkat(parent(where).fileno(), where.filename().c_str(), flags));
    return "250 Done";
  }
  Reply rnfr(Text name) {
    site_.open(resolve(name), O_PATH | O_NOFOLLOW);
    renamed_ = resolve(name);
    return "350 Send the new name with RNTO";
  }
  Reply rnto(Text name) {
    if (renamed_.empty()) return "503 Send RNFR first";
    const path from = std::exchange(renamed_, ""), to = resolve(name);
    check(::renameat(parent(from).fileno(), from.filename().c_str(), parent(to).fileno(),
                     to.filename().c_str()));
    return "250 Done";
  }

  Reply size(Text name) {
    return "213 " + std::to_string(status_of(open_file(name, O_RDONLY)).st_size);
  }
  Reply mdtm(Text name) { return utc(status(resolve(name)).st_mtime, "213 %Y%m%d%H%M%S"); }
  Reply mlst(Text name) {
    const path where = resolve(name.empty() ? "." : name);
    return "250-Facts:\r\n " + facts(where, status(where)) + "\r\n250 End";
  }
  Reply mlsd(Text name) { return send_list(name, facts); }
  Reply nlst(Text name) { return send_list(name, name_only); }
  Reply list(Text name) {  // Many clients send options of ls: LIST -la.
    const bool options = name.starts_with('-');
    return send_list(options ? name.substr(std::min(name.find(' '), name.size() - 1) + 1) : name,
                     ls_line);
  }
  Reply send_list(Text name, std::string line(Text name, const Status&)) {
    std::string text;
    for (const auto& [entry, status] : find(resolve(name.empty() ? "." : name))) {
      text += line(entry, status) + "\r\n";
    }
    return transfer([&](Socket& data) { data.sendall(text); });
  }
  // The file itself or, for a directory, the files and directories in it.
  std::map<std::string, Status> find(const path& where) const {
    const Status itself = status(where);
    if (!S_ISDIR(itself.st_mode)) return {{where.filename(), itself}};
    const Descriptor folder = site_.open(where, O_RDONLY | O_DIRECTORY);
    std::map<std::string, Status> found;
    for (const auto& entry :
         std::filesystem::directory_iterator("/proc/self/fd/" + std::to_string(folder.fileno()))) {
      const std::string name = entry.path().filename();
      Status status;
      if (::lstat(entry.path().c_str(), &status) == 0 && fits_on_a_line(name) &&
          (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))) {
        found[name] = status;
      }
    }
    return found;
  }

  Reply rest(Text offset) {
    offset_ = std::stoull(offset);
    return "350 The next transfer starts there";
  }
  // Opens a plain file, which has to be at least as long as the part that REST skips.
  Descriptor open_file(Text name, int flags, std::uint64_t skipped = 0) const {
    Descriptor file = site_.open(resolve(name), flags);
    const Status status = status_of(file);
    if (!S_ISREG(status.st_mode)) throw std::runtime_error("550 Not a plain file");
    if (std::cmp_less(status.st_size, skipped)) throw std::runtime_error("554 The file is shorter");
    return file;
  }
  Reply retr(Text name) {
    std::uint64_t at = std::exchange(offset_, 0);
    const Descriptor file = open_file(name, O_RDONLY, at);
    return transfer([&](Socket& data) {
      while (const auto sent = data.sendfile(file.fileno(), at, kPiece)) at += sent;
    });
  }
  Reply stor(Text name) { return receive(name, std::exchange(offset_, 0), 0); }
  Reply appe(Text name) { return receive(name, 0, O_APPEND); }
  // Keeps what has arrived if the transfer fails, so that the client can resume it.
  Reply receive(Text name, std::uint64_t at, int append) {
    const Descriptor file = open_file(name, O_WRONLY | O_CREAT | append, at);
    return transfer([&](Socket& data) {
      check(::lseek(file.fileno(), static_cast<off_t>(at), SEEK_SET));
      if (!append) check(::ftruncate(file.fileno(), static_cast<off_t>(at)));
      for (std::string piece; !(piece = data.recv(kPiece)).empty();) {
        while (!piece.empty()) {
          piece.erase(0, check(::write(file.fileno(), piece.data(), piece.size())));
        }
      }
    });
  }

  Reply pasv(Text) {
    if (request.family() != AF_INET) return "425 Use EPSV with IPv6";
    const Address here = listen();
    std::string numbers = here.host() + ',' + std::to_string(here.port() / 256) + ',' +
                          std::to_string(here.port() % 256);
    std::ranges::replace(numbers, '.', ',');
    return "227 Entering Passive Mode (" + numbers + ")";
  }
  Reply epsv(Text protocol) {
    if (!protocol.empty() && protocol != our_protocol()) return "522 Use (" + our_protocol() + ")";
    return "229 Entering Extended Passive Mode (|||" + std::to_string(listen().port()) + "|)";
  }
  // RFC 2428 numbers the protocols: 1 is IPv4, 2 is IPv6.
  std::string our_protocol() const { return request.family() == AF_INET ? "1" : "2"; }
  Address listen() {
    const Address here = request.getsockname();
    const auto listener = std::make_shared<Socket>(
        thinsock::create_server(Address(here.host(), 0, 0, here.scope_id())));
    open_data_ = [this, listener] {
      for (const CancelScope patience(kPatience);;) {
        auto [data, peer] = listener->accept();
        if (peer.host() == client_address.host()) return std::move(data);
      }
    };
    return listener->getsockname();
  }
  Reply port(Text where) {
    const std::size_t low = where.rfind(','), high = where.rfind(',', low - 1);
    std::string host = where.substr(0, high);
    std::ranges::replace(host, ',', '.');
    return connect_to(host,
                      256L * std::stoi(where.substr(high + 1)) + std::stoi(where.substr(low + 1)));
  }
  Reply eprt(Text where) {
    const std::size_t host = where.find(where.at(0), 1) + 1, port = where.find(where[0], host) + 1;
    if (where.substr(1, host - 2) != our_protocol()) return "522 Use (" + our_protocol() + ")";
    return connect_to(where.substr(host, port - host - 1), std::stoi(where.substr(port)));
  }
  // Connects only to the client's own host, and to no port below 1024, where services listen, so
  // that no client can make this server attack others (RFC 2577).
  Reply connect_to(Text host, long port) {
    const bool allowed = host == client_address.host() && port >= 1024 && port <= 65535;
    if (!allowed) return "504 Only your own host and ports from 1024 on are allowed";
    const Address target(host, static_cast<int>(port), 0, client_address.scope_id());
    open_data_ = [target] { return thinsock::create_connection(target, kPatience); };
    return "200 Done";
  }

  // While move transfers data, another thread reads commands. ABOR ends the transfer, and so does
  // the end of the connection, which also comes when the server shuts down. Other commands are
  // queued and answered after the transfer.
  Reply transfer(const std::function<void(Socket&)>& move) {
    if (!open_data_) return "425 Send PASV or PORT first";
    reply("150 The transfer starts");
    std::stop_source abort;
    const std::jthread reader([&](std::stop_token stop) { read_commands(stop, abort); });
    const CancelScope scope(abort.get_token());
    const char* failure = "425 The data connection failed";
    try {
      Socket data = std::exchange(open_data_, nullptr)();
      failure = "426 The transfer was not completed";
      data.settimeout(kPatience);
      move(data);
      return "226 Done";
    } catch (const thinsock::Error&) {
      return failure;
    }
  }
  void read_commands(const std::stop_token& stop, std::stop_source& abort) try {
    const CancelScope scope(stop);
    do {
      queue_.push_back(rfile.readline(kLongestLine));
    } while (!queue_.back().empty() && parse(queue_.back()).first != "ABOR" &&
             queue_.size() < kMostQueued);
    abort.request_stop();
  } catch (const std::exception&) {
    rfile.clear();
    abort.request_stop();
  }

  const Site& site_;
  bool open_ = true, logged_in_ = false;
  std::optional<CancelScope> login_;  // Lasts until the client has logged in.
  int failures_ = 0;
  std::string user_;
  path directory_ = "/", renamed_;
  std::uint64_t offset_ = 0;
  std::function<Socket()> open_data_;
  std::deque<std::string> queue_;  // Commands that came during a transfer.
};

int main(int argc, char** argv) try {
  if (argc < 3) throw std::invalid_argument("DIR USERS");
  const char* host = argc > 3 ? argv[3] : "127.0.0.1";
  const int port = argc > 4 ? std::stoi(argv[4]) : 8888;

  const Site site{Descriptor(check(::open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC), argv[1])),
                  lines_of(argv[2])};
  const thinsock::CancelScope ctrl_c({SIGINT, SIGTERM});
  thinsock::ThreadingTCPServer server(
      {host, port}, thinsock::handler<Ftp>(std::cref(site)),
      {.allow_reuse_address = true, .shutdown_timeout = 1s, .max_threads = 200});
  std::cout << "listening on " << server.server_address << std::endl;
  server.serve_forever();
} catch (const std::logic_error&) {
  return std::cerr << "usage: ftp_server DIR USERS [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// listening on 127.0.0.1:8888
// A client: curl -T photo.jpg ftp://name:password@127.0.0.1:8888/
