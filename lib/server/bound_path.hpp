// The path that a Unix server is bound to.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

#include "thinsock/socket.hpp"

namespace thinsock {

/// Binds a socket to a path, and removes the path at the end if nobody has the socket open any more
/// (a forked process may) and the path still leads to it.
class BoundPath {
 public:
  /// With replace_stale it first removes a path whose socket nobody has open any more.
  BoundPath(Socket& sk, const Address& name, bool replace_stale);
  BoundPath(const BoundPath&) = delete;
  /// To be called when the socket is closed.
  ~BoundPath();

 private:
  using FileId = std::pair<dev_t, ino_t>;

  static FileId id_of(const std::string& path) noexcept;

  std::string path_;  // Absolute; empty for an abstract name.
  int type_;
  FileId id_;
};

}  // namespace thinsock
