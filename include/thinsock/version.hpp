// thinsock/version.hpp - what the other headers need from the compiler. All of them include this
// first.
#pragma once

#if __cplusplus < 202002L
#error "thinsock needs C++20: compile with -std=c++20"
#endif
