#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>

#include "serving.hpp"

namespace thinsock {

namespace {

using FileId = std::pair<dev_t, ino_t>;

// Of a socket; no file has {0, 0}.
FileId id_of(const std::string& path) noexcept {
  struct stat status;
  const Result result = once([&] { return ::lstat(path.c_str(), &status); });
  return result == 0 && S_ISSOCK(status.st_mode) ? FileId(status.st_dev, status.st_ino) : FileId();
}

// Of several servers that want to replace the same path only one does, and the others find it
// alive. Nothing is held where the directory cannot be opened.
Descriptor lock_directory_of(const std::filesystem::path& path) {
  const std::string directory = path.parent_path();
  Descriptor lock(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  retried([&] { return ::flock(lock.fileno(), LOCK_EX); });
  return lock;
}

bool is_stale(const Address& address, int type) {
  Socket probe(AF_UNIX, type);
  probe.setblocking(false);
  return probe.connect_ex(address) == std::errc::connection_refused;
}

}  // namespace

Address TCPServer::unix_address(AddressLike address) {
  if (address.family() != AF_UNIX) {
    throw std::invalid_argument(address.str() + " is no path, which a Unix server needs");
  }
  return address.resolve(AF_UNIX);
}

void TCPServer::bind_path() {
  const std::string_view name = server_address.path();
  if (name.empty() || name.front() == '\0') return socket.bind(server_address);

  std::error_code unknown;
  const std::string path = std::filesystem::absolute(name, unknown);
  const Descriptor lock = lock_directory_of(path);
  if (options.replace_stale_path) {
    const FileId before = id_of(path);
    if (before != FileId() && is_stale(server_address, socket.type()) && id_of(path) == before) {
      ::unlink(path.c_str());
    }
  }
  socket.bind(server_address);
  path_ = path;
  path_id_ = id_of(path);
  // Until it listens it would look stale to the next who gets the lock.
  if (socket.type() == SOCK_STREAM) socket.listen(options.request_queue_size);
}

void TCPServer::remove_path() noexcept {
  if (path_id_ != FileId() && id_of(path_) == path_id_) ::unlink(path_.c_str());
  path_id_ = FileId();
}

UnixStreamServer::UnixStreamServer(AddressLike path, RequestHandler handler,
                                   const ServerOptions& given)
    : TCPServer(unix_address(path), SOCK_STREAM, std::move(handler), given) {
  open();
}

UnixStreamServer::~UnixStreamServer() { close_in_destructor(); }

UnixDatagramServer::UnixDatagramServer(AddressLike path, RequestHandler handler,
                                       const ServerOptions& given)
    : UDPServer(unix_address(path), SOCK_DGRAM, std::move(handler), given) {
  open();
}

UnixDatagramServer::~UnixDatagramServer() { close_in_destructor(); }

}  // namespace thinsock
