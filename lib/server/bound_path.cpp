#include "bound_path.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <stdexcept>

#include "../system/waiting.hpp"
#include "thinsock/descriptor.hpp"

namespace thinsock {

namespace {

// Lets only one of several servers replace a path; the others then find it in use. Any process may
// hold this lock, so after a second the server goes on without it.
Descriptor lock_directory_of(const std::filesystem::path& path) {
  const std::string directory = path.parent_path();
  Descriptor lock(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock.fileno() == -1) return lock;
  Deadline deadline(std::chrono::seconds(1));
  answer_of([&] { return ::flock(lock.fileno(), LOCK_EX | LOCK_NB); }, -1, 0, deadline);
  return lock;
}

// Whether no process has a socket of this path open. The kernel refuses a stale path before it
// compares types, so a probe of the wrong type never reaches a server. A path too long for connect
// counts as stale.
bool is_stale(const std::string& path, int type) {
  try {
    Socket probe(AF_UNIX, type == SOCK_STREAM ? SOCK_DGRAM : SOCK_STREAM);
    probe.setblocking(false);
    return probe.connect_ex(Address(path)) == std::errc::connection_refused;
  } catch (const std::invalid_argument&) {
    return true;
  }
}

}  // namespace

// The file id of a socket's path, else {0, 0}, which no file has.
BoundPath::FileId BoundPath::id_of(const std::string& path) noexcept {
  struct stat status;
  const Result result = once([&] { return ::lstat(path.c_str(), &status); });
  return result == 0 && S_ISSOCK(status.st_mode) ? FileId(status.st_dev, status.st_ino) : FileId();
}

BoundPath::BoundPath(Socket& sk, const Address& name, bool replace_stale) : type_(sk.type()) {
  const std::string_view text = name.path();
  const bool abstract = text.empty() || text.front() == '\0';
  if (abstract) sk.bind(name);
  if (abstract) return;

  std::error_code unknown;
  const std::string path = std::filesystem::absolute(text, unknown);
  const Descriptor lock = lock_directory_of(path);
  if (replace_stale) {
    const FileId before = id_of(path);
    if (before != FileId() && is_stale(path, type_) && id_of(path) == before) {
      ::unlink(path.c_str());
    }
  }
  sk.bind(name);
  path_ = path;
  id_ = id_of(path);
}

BoundPath::~BoundPath() {
  if (id_ == FileId()) return;
  try {
    const Descriptor lock = lock_directory_of(path_);
    if (id_of(path_) == id_ && is_stale(path_, type_)) ::unlink(path_.c_str());
  } catch (const std::exception&) {  // Without a descriptor or memory it cannot be checked.
  }
}

}  // namespace thinsock
