// thinsock/format.hpp - std::format for Address and Socket, where the standard library has it.
#pragma once

#include <version>

#include "thinsock/version.hpp"

#ifdef __cpp_lib_format

#include <format>
#include <string>

#include "thinsock/socket.hpp"

/// Formats as str(), with the options of a string: width, alignment, precision.
template <>
struct std::formatter<thinsock::Address> : std::formatter<std::string> {
  auto format(const thinsock::Address& address, auto& context) const {
    return std::formatter<std::string>::format(address.str(), context);
  }
};

/// As for Address.
template <>
struct std::formatter<thinsock::Socket> : std::formatter<std::string> {
  auto format(const thinsock::Socket& sk, auto& context) const {
    return std::formatter<std::string>::format(sk.str(), context);
  }
};

#endif
