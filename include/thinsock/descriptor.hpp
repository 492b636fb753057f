// thinsock/descriptor.hpp - a file descriptor with an owner.
#pragma once

#include <utility>

#include "thinsock/version.hpp"

namespace thinsock {

/// Owns a descriptor of any kind and closes it; -1 means that it owns none.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) noexcept : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(other.detach()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    const Descriptor closed(std::exchange(fd_, other.detach()));
    return *this;
  }
  ~Descriptor() { close(); }

  int fileno() const noexcept { return fd_; }
  /// Gives the descriptor to the caller, who has to close it; -1 if there was none.
  [[nodiscard]] int detach() noexcept { return std::exchange(fd_, -1); }
  /// Does nothing if there is none. What close(2) reports is ignored.
  void close() noexcept;

 private:
  int fd_;
};

}  // namespace thinsock
