// Uploads a file with a progress bar and resumes a broken upload: the tutorials' post|name|size.
// sh samples/run.sh upload_client FILE [HOST [PORT]]
#include <fcntl.h>

#include <chrono>
#include <filesystem>
#include <iostream>
#include <thinsock/message.hpp>
#include <thinsock/stream.hpp>
using namespace std::chrono_literals;

void show(std::uintmax_t sent, std::uintmax_t size) {
  const std::size_t percent = size == 0 ? 100 : 100 * sent / size;
  std::cout << '\r' << std::string(percent / 2, '#') << std::string(50 - percent / 2, '-') << ' '
            << percent << '%' << std::flush;
}

int main(int argc, char** argv) try {
  if (argc < 2) throw std::invalid_argument("FILE");
  const std::filesystem::path path = argv[1];
  const char* host = argc > 2 ? argv[2] : "127.0.0.1";
  const int port = argc > 3 ? std::stoi(argv[3]) : 8888;

  const std::uintmax_t size = std::filesystem::file_size(path);
  const thinsock::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fileno() == -1) throw std::system_error(errno, std::system_category(), path);
  // 40 s, because the server waits up to 30 s for a broken upload of the same file to end.
  thinsock::SocketStream server(thinsock::create_connection({host, port}, 40s));
  server << "post|" << path.filename().string() << '|' << size << std::endl;
  std::string answer = server.readline(1024);
  std::uintmax_t sent;
  if (std::sscanf(answer.c_str(), "have|%ju\n", &sent) == 1 && sent <= size) {
    for (std::size_t piece = 1; show(sent, size), sent < size && piece > 0; sent += piece) {
      const auto next = std::min<std::uintmax_t>(size - sent, 1 << 20);
      piece = server.socket().sendfile(file.fileno(), sent, next);
    }
    std::cout << std::endl;
    answer = server.readline(1024);
  }
  if (answer == "done\n") return 0;
  std::cerr << "the server says: " << answer << std::endl;
  return 1;
} catch (const std::logic_error&) {
  return std::cerr << "usage: upload_client FILE [HOST [PORT]]\n", 1;
} catch (const std::exception& error) {
  return std::cerr << error.what() << '\n', 1;
}

// ################################################## 100%
