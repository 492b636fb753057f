// Serves the files in a directory over HTTP/1.1: python -m http.server, with range requests.
// sh samples/run.sh http_server DIR [HOST [PORT]]
//
// Limits: 100 clients at once. A client has 5 s for the head of a request, of at most 16 KiB, and
// 10 s to begin it or to receive 256 KiB.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <map>
#include <set>
#include <sstream>
#include <thinsock/cancel.hpp>
#include <thinsock/message.hpp>
#include <thinsock/socketserver.hpp>
using namespace std::chrono_literals;
using Range = std::pair<std::uint64_t, std::uint64_t>;  // The first byte, and the last plus one.

constexpr auto kHeadTime = 5s;             // How long a client may take to send a request's head.
constexpr std::size_t kHeadSize = 16384;   // The most bytes that a request's head may have.
constexpr std::uint64_t kPiece = 1 << 18;  // The bytes that one idle_timeout has to suffice for.

const std::map<std::string, std::string> kTypes = {
    {"css", "text/css"},        {"gif", "image/gif"},         {"html", "text/html"},
    {"ico", "image/x-icon"},    {"jpeg", "image/jpeg"},       {"jpg", "image/jpeg"},
    {"js", "text/javascript"},  {"json", "application/json"}, {"mp4", "video/mp4"},
    {"pdf", "application/pdf"}, {"png", "image/png"},         {"svg", "image/svg+xml"},
    {"txt", "text/plain"},      {"wasm", "application/wasm"}, {"webp", "image/webp"}};

// The status of an answer and the header fields that belong to it; thrown to answer with a page
// that tells the status.
struct Status {
  std::string text, fields = "";
};

const Status kBadRequest{"400 Bad Request"}, kForbidden{"403 Forbidden"},
    kNotFound{"404 Not Found"}, kLongLine{"414 URI Too Long"},
    kLongHead{"431 Request Header Fields Too Large"}, kVersion{"505 HTTP Version Not Supported"};

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// Replaces every byte, except letters, digits and those in `kept`, by the mark and two hexadecimal
// digits.
std::string escaped(std::string_view text, std::string_view kept, const std::string& mark) {
  static constexpr char digits[] = "0123456789ABCDEF";
  std::string result;
  for (const unsigned char c : text) {
    const bool is_kept = std::isalnum(c) || kept.find(c) != kept.npos;
    result += is_kept ? std::string(1, c) : mark + digits[c >> 4] + digits[c & 15];
  }
  return result;
}

std::string url(const std::string& path) { return escaped(path, "-._~/", "%"); }
std::string path_of(std::string url) {
  for (std::size_t i = 0; (i = url.find('%', i)) != url.npos; ++i) {
    const std::string digits = url.substr(i + 1, 2);
    const bool valid = digits.find_first_not_of("0123456789ABCDEFabcdef") == digits.npos;
    if (!valid || digits.size() < 2 || digits == "00") throw kBadRequest;
    url.replace(i, 3, 1, static_cast<char>(std::stoi(digits, nullptr, 16)));
  }
  return url;
}

std::string html(std::string text) {
  for (std::size_t i = 0; (i = text.find_first_of("&<>\"'", i)) != text.npos; ++i)
    text.replace(i, 1, "&#" + std::to_string(text[i]) + ';');
  return text;
}

std::string date(std::time_t time, const char* format = "%a, %d %b %Y %T GMT") {
  std::tm utc;
  char text[64];
  return std::string(text, std::strftime(text, sizeof text, format, ::gmtime_r(&time, &utc)));
}

// The range that a Range field asks for. None if the field has several ranges or is not valid: then
// the whole file is sent. RFC 9110, 14.2.
std::optional<Range> range_of(const std::string& text, std::uint64_t size) {
  if (!text.starts_with("bytes=") || size == 0) return std::nullopt;
  std::uint64_t first = UINT64_MAX, last = UINT64_MAX;  // Stays so if left out or too large.
  const char *begin = text.data() + 6, *end = text.data() + text.size();
  const char* dash = std::from_chars(begin, end, first).ptr;
  const bool is_range = dash != end && *dash == '-' && end - begin > 1 &&
                        std::from_chars(dash + 1, end, last).ptr == end;
  if (dash == begin) first = size - std::min(last, size), last = size;
  if (!is_range || last < first) return std::nullopt;
  const std::string all = "Content-Range: bytes */" + std::to_string(size) + "\r\n";
  if (first >= size) throw Status{"416 Range Not Satisfiable", all};
  return Range{first, std::min(last, size - 1) + 1};
}

// A file below the root, or the errno that tells why it could not be opened.
struct File {
  thinsock::Descriptor fd;
  struct stat info {};
  int error = 0;

  // The kernel lets neither .. nor a link lead out of the root (RESOLVE_BENEATH), even if somebody
  // moves directories meanwhile. O_NONBLOCK keeps the call from waiting for the other end of a
  // FIFO.
  File(int root, const std::string& path) {
    const open_how how{O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0,
                       RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    const long opened = ::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how);
    fd = thinsock::Descriptor(static_cast<int>(opened));
    if (opened == -1 || ::fstat(fd.fileno(), &info) == -1) error = errno;
  }

  void check() const {
    if (error == ENOENT || error == ENOTDIR || error == ENAMETOOLONG) throw kNotFound;
    if (error == EMFILE || error == ENFILE) throw Status{"503 Service Unavailable"};
    if (error != 0 || !(S_ISDIR(info.st_mode) || S_ISREG(info.st_mode))) throw kForbidden;
  }
};

struct SimpleHTTPRequestHandler : thinsock::StreamRequestHandler {
  explicit SimpleHTTPRequestHandler(int root) : root_(root) { disable_nagle_algorithm = true; }

  void handle() override try {
    while (persistent_ && has_next()) handle_one();
    wfile.flush();
    set_idle();
    // Closing with unread bytes would reset the connection, and the client could lose the answer.
    ::shutdown(connection.fileno(), SHUT_WR);  // Fails if the client has gone, which is no error.
    const thinsock::CancelScope scope(2s);
    for (char unread[4096]; connection.recv_into(unread) > 0;) continue;
  } catch (const thinsock::TimeoutError&) {  // The client sends, reads or closes too slowly.
  }

 private:
  // Waits for the next request. Meanwhile Ctrl-C may close the connection at once.
  bool has_next() {
    wfile.flush();
    set_idle();
    const bool has_come = rfile.peek() != std::char_traits<char>::eof();
    set_idle(false);
    return has_come;
  }

  void handle_one() try {
    read_head();
    answer();
  } catch (const Status& status) {
    send_page(status, status.text, "");
  }

  void read_head() try {
    persistent_ = false;  // The connection ends here unless the head is valid.
    line_.clear(), method_.clear(), fields_.clear();
    const thinsock::CancelScope scope(kHeadTime);
    std::size_t room = kHeadSize;
    while (!read_line(line_, room)) continue;
    std::string version, more;
    std::istringstream(line_) >> method_ >> target_ >> version >> more;
    if (!version.starts_with("HTTP/") || !more.empty()) throw kBadRequest;
    if (version != "HTTP/1.1" && version != "HTTP/1.0") throw kVersion;
    is_old_ = version == "HTTP/1.0";
    for (std::string line; read_line(line, room);) parse_field(line);
    parse_framing();
  } catch (const thinsock::TimeoutError&) {
    throw Status{"408 Request Timeout"};
  }

  // Reads a line of the head without its line end; false if that leaves it empty.
  bool read_line(std::string& line, std::size_t& room) {
    line = rfile.readline(room);
    if (!line.ends_with('\n'))
      throw line.size() < room ? kBadRequest : method_.empty() ? kLongLine : kLongHead;
    room -= line.size();
    line.resize(line.size() - (line.ends_with("\r\n") ? 2 : 1));
    const auto is_control = [](unsigned char c) { return std::iscntrl(c) && c != '\t'; };
    if (std::ranges::any_of(line, is_control)) throw kBadRequest;
    return !line.empty();
  }

  void parse_field(const std::string& line) {
    const std::size_t colon = line.find_first_of(": \t");
    if (colon == 0 || colon == line.npos || line[colon] != ':') throw kBadRequest;
    const std::string name = lower(line.substr(0, colon));
    std::string value = line.substr(colon + 1);
    value.erase(0, value.find_first_not_of(" \t"));
    value.erase(value.find_last_not_of(" \t") + 1);
    const auto [field, is_new] = fields_.try_emplace(name, value);
    if (!is_new && name == "host") throw kBadRequest;
    if (!is_new) field->second += ", " + value;
  }

  // A request with a body is the last one of its connection, so that no byte of the body can be
  // taken for another request.
  void parse_framing() {
    const std::string length = fields_.try_emplace("content-length", "0").first->second;
    const bool is_number = !length.empty() && length.find_first_not_of("0123456789") == length.npos;
    if (!is_number || (!is_old_ && !fields_.contains("host"))) throw kBadRequest;
    const bool has_body = length != "0" || fields_.contains("transfer-encoding");
    const std::string option = is_old_ ? "keep-alive" : "close";
    persistent_ =
        !has_body && (lower(fields_["connection"]).find(option) != option.npos) == is_old_;
  }

  void answer() {
    if (method_ != "GET" && method_ != "HEAD")
      throw Status{"405 Method Not Allowed", "Allow: GET, HEAD\r\n"};
    if (lower(target_).starts_with("http://")) target_.erase(0, target_.find('/', 7));
    if (!target_.starts_with('/')) throw kBadRequest;
    const std::size_t end = std::min(target_.find('?'), target_.size());
    std::string path = path_of(target_.substr(0, end));
    path.replace(0, path.find_first_not_of('/'), "./");
    File file(root_, path);
    if (S_ISDIR(file.info.st_mode) && path.ends_with('/')) {
      File index(root_, path + "index.html");
      if (index.error == ENOENT) return send_listing(file.fd.fileno(), path.substr(1));
      file = std::move(index);
      path += "index.html";
    }
    file.check();
    if (S_ISDIR(file.info.st_mode))  // Relative links on its page need the slash at the end.
      throw Status{"301 Moved Permanently",
                   "Location: " + url(path.substr(1)) + '/' + target_.substr(end) + "\r\n"};
    send_file(file, path);
  }

  void send_file(const File& file, const std::string& path) {
    const auto [seconds, nanoseconds] = file.info.st_mtim;
    const std::uint64_t size = file.info.st_size;
    const std::string modified = date(std::clamp<long>(seconds, 0, std::time(nullptr)));
    const std::string etag = '"' + std::to_string(seconds) + '.' + std::to_string(nanoseconds) +
                             '-' + std::to_string(size) + '"';
    const std::string known = fields_["if-none-match"];
    if (known.empty() ? fields_["if-modified-since"] == modified
                      : known == "*" || known.find(etag) != known.npos)
      return send_head({"304 Not Modified", "ETag: " + etag + "\r\n"});
    const bool is_same = !fields_.contains("if-range") || fields_["if-range"] == etag;
    const auto range = range_of(is_same && method_ == "GET" ? fields_["range"] : "", size);
    auto [begin, end] = range.value_or(Range{0, size});
    const auto type = kTypes.find(lower(path.substr(path.rfind('.') + 1)));
    std::ostringstream out;
    if (range) out << "Content-Range: bytes " << begin << '-' << end - 1 << '/' << size << "\r\n";
    out << "Content-Type: " << (type == kTypes.end() ? "application/octet-stream" : type->second)
        << "\r\nContent-Length: " << end - begin << "\r\nAccept-Ranges: bytes\r\nETag: " << etag
        << "\r\nLast-Modified: " << modified << "\r\n";
    send_head({range ? "206 Partial Content" : "200 OK", out.str()});
    if (method_ == "HEAD") return;
    wfile.flush();
    for (std::uint64_t sent = 1; begin < end && sent > 0; begin += sent)
      sent = connection.sendfile(file.fd.fileno(), begin, std::min(end - begin, kPiece));
    if (begin < end) persistent_ = false;  // The file shrank; only closing tells the client.
  }

  void send_listing(int fd, const std::string& path) {
    std::set<std::string> items;
    const std::string folder = "/proc/self/fd/" + std::to_string(fd);
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      const bool is_folder = std::filesystem::is_directory(entry.symlink_status());
      const std::string name = entry.path().filename().string() + (is_folder ? "/" : "");
      items.insert("<li><a href=\"" + url(name) + "\">" + html(name) + "</a></li>\n");
    }
    std::string list;
    for (const std::string& item : items) list += item;
    send_page({"200 OK"}, "Directory listing for " + html(path), list);
  }

  void send_page(const Status& status, const std::string& title, const std::string& content) {
    const std::string page = "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>" + title +
                             "</title>\n<h1>" + title + "</h1>\n" + content;
    send_head({status.text, status.fields + "Content-Type: text/html\r\nContent-Length: " +
                                std::to_string(page.size()) + "\r\n"});
    if (method_ != "HEAD") wfile << page;
  }

  void send_head(const Status& status) {
    const std::time_t now = std::time(nullptr);
    wfile << "HTTP/1.1 " << status.text << "\r\nDate: " << date(now)
          << "\r\nConnection: " << (persistent_ ? "keep-alive" : "close") << "\r\n"
          << status.fields << "\r\n";
    const std::string line = escaped(line_, " !#$%&'()*+,-./:;<=>?@[]^_`{|}~", "\\x");
    std::cout << client_address.host() + date(now, " - - [%d/%b/%Y:%T +0000] \"") + line + "\" " +
                     status.text.substr(0, 3) + " -\n"
              << std::flush;  // One write, because other threads write too.
  }

  const int root_;
  bool persistent_ = true, is_old_ = false;
  std::string line_, method_, target_;
  std::map<std::string, std::string> fields_;
};

int main(int argc, char** argv) try {
  if (argc < 2) throw std::invalid_argument("DIR");
  const char* host = argc > 2 ? argv[2] : "127.0.0.1";
  const int port = argc > 3 ? std::stoi(argv[3]) : 8888;
  const thinsock::Descriptor root(::open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (root.fileno() == -1) throw std::system_error(errno, std::system_category(), argv[1]);
  thinsock::ServerOptions options{
      .allow_reuse_address = true, .idle_timeout = 10s, .shutdown_timeout = 1s, .max_threads = 100};
  const thinsock::CancelScope ctrl_c({SIGINT, SIGTERM});
  thinsock::ThreadingTCPServer server(
      {host, port}, thinsock::handler<SimpleHTTPRequestHandler>(root.fileno()), options);
  std::cout << "listening on " << server.server_address << std::endl;
  server.serve_forever();
} catch (const std::logic_error&) {
  return std::cerr << "usage: http_server DIR [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// listening on 127.0.0.1:8888
// 127.0.0.1 - - [01/Jan/2026:12:00:00 +0000] "GET /index.html HTTP/1.1" 200 -
