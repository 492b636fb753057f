// thinsock/version.hpp - the version of the headers, and what they need from the compiler. All of
// them include this first.
#pragma once

#if __cplusplus < 202002L
#error "thinsock needs C++20: compile with -std=c++20"
#endif

/// 10000 * major + 100 * minor + patch: this is 0.1.0.
#define THINSOCK_VERSION 100
