// A Python process that makes the same calls as a test. Either side writes the outcome of a call as
// one line of text: its value, or the kind of its error.
#pragma once

#include <spawn.h>
#include <sys/wait.h>

#include <concepts>
#include <cstdio>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "support.hpp"
#include "thinsock/resolve.hpp"
#include "thinsock/stream.hpp"

namespace test {

using thinsock::Address;

// The Python program. Each line that it reads is the body of a function, whose outcome it writes.
inline constexpr const char* kServer = R"(
import os, struct, sys
from socket import *

def patient(s): s.settimeout(5); return s
def pair(type=SOCK_STREAM): return [patient(s) for s in socketpair(AF_UNIX, type)]
def listener(): return patient(create_server(('127.0.0.1', 0)))
def udp(): s = patient(socket(AF_INET, SOCK_DGRAM)); s.bind(('127.0.0.1', 0)); return s
def unix(): return patient(socket(AF_UNIX))
def tcp_pair():
    lst, c = listener(), patient(socket())
    c.connect(lst.getsockname())
    return c, patient(lst.accept()[0])
def full(s, address):
    s.bind(address); s.listen(0); c = socket(s.family); c.connect(s.getsockname()); return c
def bound(address, family=AF_INET, type=SOCK_STREAM):
    s = socket(family, type)
    s.bind(address)
    return s.getsockname()
def refusing(): s = socket(); s.bind(('127.0.0.1', 0)); return s
def closed(): s = patient(socket()); s.close(); return s
def path(size=0):
    path.count += 1
    return (sys.argv[1] + 'py%d-' % path.count).ljust(size, 'x')
path.count = 0
def file(data):
    name = path()
    with open(name, 'wb') as f: f.write(data)
    return open(name, 'rb')

def text(value):
    if value is None: return 'None'
    if isinstance(value, float): return '%d ns' % round(value * 1e9)
    if isinstance(value, str): value = os.fsencode(value)
    if isinstance(value, (bytes, bytearray)):
        return ''.join(chr(c) if 32 <= c < 127 else '\\x%02x' % c for c in value)
    if isinstance(value, (tuple, list)): return '(' + ', '.join(map(text, value)) + ')'
    return str(int(value))

def error_of(call):
    try: call()
    except Exception as e: return e

def kind(call):
    try: return text(call())
    except gaierror as e: return 'gaierror %d' % e.errno
    except herror as e: return 'herror %d' % e.errno
    except timeout: return 'timeout'
    except OSError as e: return 'errno %s' % e.errno
    except (ValueError, TypeError, OverflowError): return 'mistake'
    except Exception as e: return repr(e)

def outcome(body):
    scope = {}
    exec('def row(): ' + body, globals(), scope)
    return kind(scope['row'])

print('ready' if sys.version_info >= (3, 9) else 'too old', flush=True)
for line in sys.stdin: print(outcome(line), flush=True)
)";

inline std::string text(std::integral auto number) {
  return std::to_string(static_cast<long long>(number));
}

inline std::string text(std::string_view bytes) {
  std::string shown;
  for (const unsigned char c : bytes) {
    char hex[8] = {static_cast<char>(c)};
    if (c < 32 || c >= 127) std::snprintf(hex, sizeof hex, "\\x%02x", c);
    shown += hex;
  }
  return shown;
}

inline std::string text(std::error_code code) { return text(code.value()); }

inline std::string text(thinsock::Timeout timeout) {
  const std::optional<std::chrono::nanoseconds> time = timeout;
  return time ? text(time->count()) + " ns" : "None";
}

template <class T>
std::string text(const std::vector<T>& list);
inline std::string text(const Address& address);

template <class... T>
std::string text(const std::tuple<T...>& values) {
  std::string all;
  std::apply([&](const T&... one) { ((all += ", " + text(one)), ...); }, values);
  return '(' + all.substr(2) + ')';
}

inline std::string text(const Address& address) {
  switch (address.family()) {
    case AF_INET:
      return text(std::tuple(address.host(), address.port()));
    case AF_INET6:
      return text(
          std::tuple(address.host(), address.port(), address.flowinfo(), address.scope_id()));
    case AF_UNIX:
      return text(address.path());
    default:
      return "None";
  }
}

inline std::string text(const thinsock::AddressInfo& info) {
  return text(std::tuple(info.family, info.type, info.proto, info.canonname, info.address));
}

template <class T>
std::string text(const std::vector<T>& list) {
  std::string all;
  for (const T& one : list) all += ", " + text(one);
  return '(' + all.substr(all.empty() ? 0 : 2) + ')';
}

template <class Call>
std::string outcome(const Call& call) {
  try {
    if constexpr (std::is_void_v<decltype(call())>) {
      call();
      return "None";
    } else {
      return text(call());
    }
  } catch (const thinsock::ResolveError& error) {
    const bool host = error.code().category() == thinsock::host_category();
    return (host ? "herror " : "gaierror ") + text(error.code());
  } catch (const thinsock::TimeoutError&) {
    return "timeout";
  } catch (const thinsock::Error& error) {
    return "errno " + text(error.code());
  } catch (const std::invalid_argument&) {
    return "mistake";
  } catch (const std::out_of_range&) {
    return "mistake";
  }
}

class Python {
 public:
  Python() : found_(stream_.readline() == "ready\n") {
    if (!found_) WARN("not compared: there is no python3, or it is older than 3.9");
  }
  Python(const Python&) = delete;
  Python& operator=(const Python&) = delete;
  ~Python() {
    if (child_ == 0) return;
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }

  bool found() const { return found_; }

  /// Runs a function with this body in Python, and returns its outcome.
  std::string ask(std::string_view body) {
    stream_ << body << '\n';
    std::string answer = stream_.readline();
    if (answer.ends_with('\n')) answer.pop_back();
    return answer;
  }

  /// A path for a new file, padded to `size` bytes. The file is removed at the end of the tests.
  std::string path(std::size_t size) {
    std::string name = directory_ / ("cpp" + std::to_string(++count_) + '-').c_str();
    if (name.size() < size) name.resize(size, 'x');
    return name;
  }

 private:
  Socket start() {
    auto [ours, theirs] = thinsock::socketpair();
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, theirs.fileno(), 0);
    ::posix_spawn_file_actions_adddup2(&actions, theirs.fileno(), 1);
    std::string name = "python3", isolated = "-I", option = "-c", server = kServer,
                directory = directory_ / "";
    char* const argv[] = {name.data(),   isolated.data(),  option.data(),
                          server.data(), directory.data(), nullptr};
    const int error = ::posix_spawnp(&child_, "python3", &actions, nullptr, argv, environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) child_ = 0;
    ours.settimeout(4 * kPatience);
    return std::move(ours);
  }

  TempDir directory_;
  int count_ = 0;
  pid_t child_ = 0;
  thinsock::SocketStream stream_{start()};
  bool found_;
};

/// The Python process, which all tests of a program share.
inline Python& python() {
  static Python one;
  return one;
}

inline std::string new_path(std::size_t size = 0) { return python().path(size); }

/// A section for one claim: the call has the same outcome in Python and in thinsock.
template <class Call>
void same(const std::string& claim, const std::string& body, const Call& call) {
  if (!python().found()) return;
  DYNAMIC_SECTION(claim) {
    INFO("python: " << body);
    CHECK(outcome(call) == python().ask(body));
  }
}

/// A section for one claim: the outcomes differ, as documented.
template <class Call>
void differ(const std::string& claim, const std::string& body, std::string_view theirs,
            const Call& call, std::string_view ours) {
  if (!python().found()) return;
  DYNAMIC_SECTION(claim) {
    INFO("python: " << body);
    CHECK(python().ask(body) == theirs);
    CHECK(outcome(call) == ours);
  }
}

}  // namespace test
