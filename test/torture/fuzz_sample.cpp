// Gives a sample server what a hostile client might send (libFuzzer). SAMPLE is its source, and
// FUZZ_... its name.
//
// Whatever comes, the request has to end once the client has closed, and may only throw what
// clients cause.
#define main sample_main
#include SAMPLE
#undef main

#include <fcntl.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace {

class Folder {
 public:
  Folder() {
    std::string name = std::filesystem::temp_directory_path() / "fuzz.XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::system_error(errno, std::system_category());
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }

  // Every input finds the same files.
  void refill() const {
    for (const auto& entry : std::filesystem::directory_iterator(path)) remove_all(entry.path());
    std::ofstream(path / "file") << "content";
  }
  int open() const { return ::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC); }

  std::filesystem::path path;
};
const Folder folder;

#if defined(FUZZ_ftp_server)
const Site site{thinsock::Descriptor(folder.open()), {"name:password"}};
const thinsock::RequestHandler answer = thinsock::handler<Ftp>(std::cref(site));
#elif defined(FUZZ_http_server)
const thinsock::RequestHandler answer = thinsock::handler<SimpleHTTPRequestHandler>(folder.open());
#elif defined(FUZZ_json_server)
const thinsock::RequestHandler answer = thinsock::handler<Actions>;
#elif defined(FUZZ_upload_server)
const thinsock::RequestHandler answer = (directory = folder.path, thinsock::handler<Upload>);
#endif

struct Server : thinsock::TCPServer {
  Server() : TCPServer({"127.0.0.1", 0}, answer, {.idle_timeout = 5s}) {}

  // What else a handler throws ends the fuzzer, which then reports the input.
  void handle_error(thinsock::Request&, const thinsock::Address&) override try {
    throw;
  } catch (const std::system_error&) {
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  static Server server;
  folder.refill();
  thinsock::Socket client = thinsock::create_connection(server.server_address, 5s);
  client.set_linger(0s);  // A connection that is reset does not keep its port.
  client.sendall({data, size});
  client.shutdown(SHUT_WR);
  server.handle_request();
  return 0;
}
