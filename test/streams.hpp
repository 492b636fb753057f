// What the tests of streams share: a stream with its peer, and how they read from it.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "support.hpp"
#include "thinsock/stream.hpp"

namespace test {

using thinsock::SocketStream;

/// A stream that owns its end of a connection, and the other end.
struct Connection {
  SocketStream stream;
  Socket peer;
};

inline Connection connection(std::string_view mode = "rw", std::size_t buffering = 8192) {
  Pair pair = unix_pair();
  return {pair.client.makefile(mode, buffering), std::move(pair.server)};
}

/// Reads `size` bytes, or as many as come before the stream fails.
inline std::string taken(SocketStream& stream, std::size_t size) {
  std::string data(size, '\0');
  stream.read(data.data(), static_cast<std::streamsize>(size));
  data.resize(static_cast<std::size_t>(stream.gcount()));
  return data;
}

}  // namespace test
