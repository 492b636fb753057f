// The path that a Unix server is bound to.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

#include "thinsock/socket.hpp"

namespace thinsock {

/// Binds a socket to a path. At the end it removes the path if it still leads to that socket and no
/// process, such as a forked one, has the socket open.
class BoundPath {
 public:
  /// With replace_stale it first removes a path whose socket no process has open.
  BoundPath(Socket& sk, const Address& name, bool replace_stale);
  BoundPath(const BoundPath&) = delete;
  /// Destroy this after the socket is closed.
  ~BoundPath();

 private:
  using FileId = std::pair<dev_t, ino_t>;

  static FileId id_of(const std::string& path) noexcept;

  std::string path_;  // Absolute; empty for an abstract name.
  int type_;
  FileId id_;
};

}  // namespace thinsock
