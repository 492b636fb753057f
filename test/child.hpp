// Runs code in child processes, for what a test must not do to its own process.
#pragma once

#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <functional>
#include <iostream>
#include <stdexcept>

#include "support.hpp"

namespace test {

/// Does in a child process what CHECK does elsewhere: Catch cannot report from there.
inline void expect(bool holds, const std::string& seen = "", int line = __builtin_LINE()) {
  if (holds) return;
  throw std::runtime_error("line " + std::to_string(line) + " does not hold " + seen);
}

/// Runs body in a child process and returns all that it prints, to standard output and standard
/// error. An exception that body throws is printed too, in brackets.
inline std::string output_of(const std::function<void()>& body) {
  Pair out = unix_pair();
  out.client.settimeout(8 * kPatience);
  std::fflush(stdout);
  const pid_t child = ::fork();
  REQUIRE(child != -1);
  if (child == 0) {
    ::alarm(30);
    std::signal(SIGABRT, SIG_DFL);  // Catch's own handler would print a report.
    ::dup2(out.server.fileno(), STDOUT_FILENO);
    ::dup2(out.server.fileno(), STDERR_FILENO);
    out.client.close();
    out.server.close();
    try {
      body();
    } catch (const std::exception& exception) {
      std::printf("[%s]", exception.what());
    }
    std::cout.flush();
    std::fflush(stdout);
    ::_exit(0);
  }
  out.server.close();
  std::string all;
  for (std::string part; !(part = out.client.recv(4096)).empty();) all += part;
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  return all;
}

/// Checks by expect() in a child process.
inline void in_child(const std::function<void()>& body) { REQUIRE(output_of(body) == ""); }

/// Checks by expect() in a child process that enter() has moved to a place such as a new namespace.
/// If the system refuses to let it enter, there is only a warning.
inline void in_child_at(const char* place, const std::function<bool()>& enter,
                        const std::function<void()>& body) {
  const std::string output = output_of([&] {
    if (!enter()) throw std::runtime_error("refused");
    body();
  });
  if (output == "[refused]") {
    WARN("not tested: the system refuses " << place);
  } else {
    REQUIRE(output == "");
  }
}

}  // namespace test
