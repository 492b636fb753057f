#include "thinsock/buffer.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "support.hpp"

using namespace std::string_literals;
using namespace std::string_view_literals;
using thinsock::ConstBuffer;
using thinsock::ListOf;
using thinsock::MutableBuffer;

namespace {

struct Point {
  std::int32_t x, y;
};

// These convert their arguments as methods with a buffer parameter do.
std::string bytes_of(ConstBuffer buffer) { return {buffer.data(), buffer.size()}; }
std::size_t size_of(MutableBuffer buffer) { return buffer.size(); }
void fill(MutableBuffer buffer, char byte) { std::fill_n(buffer.data(), buffer.size(), byte); }

template <class From, class To>
constexpr bool converts = std::is_convertible_v<From, To>;

}  // namespace

TEST_CASE("a MutableBuffer is made from a pointer and a number of bytes", "[buffer][mutable]") {
  std::array<int, 4> numbers{};
  REQUIRE(size_of({numbers.data(), 6}) == 6);
  REQUIRE(MutableBuffer(numbers.data(), 6).data() == reinterpret_cast<char*>(numbers.data()));
}

TEST_CASE("a MutableBuffer is all of a writable range", "[buffer][mutable]") {
  std::string text = "12345";
  std::vector<int> numbers(3);
  std::array<std::byte, 7> bytes{};
  char array[9];
  double reals[2];
  REQUIRE(size_of(text) == 5);
  REQUIRE(size_of(numbers) == 3 * sizeof(int));
  REQUIRE(size_of(bytes) == 7);
  REQUIRE(size_of(array) == 9);
  REQUIRE(size_of(reals) == 2 * sizeof(double));
}

TEST_CASE("a MutableBuffer is made from a span that is itself a temporary", "[buffer][mutable]") {
  std::vector<char> bytes(8);
  const std::span<char> whole(bytes);
  REQUIRE(size_of(whole) == 8);
  REQUIRE(size_of(whole.subspan(3)) == 5);
  REQUIRE(MutableBuffer(whole.subspan(3)).data() == bytes.data() + 3);
}

TEST_CASE("what is written into a MutableBuffer is in the range", "[buffer][mutable]") {
  std::string text = "12345";
  std::vector<std::uint16_t> numbers(2);
  fill(text, 'x');
  fill(numbers, 1);
  REQUIRE(text == "xxxxx");
  REQUIRE(numbers == std::vector<std::uint16_t>{0x0101, 0x0101});
}

TEST_CASE("a MutableBuffer may be empty", "[buffer][mutable]") {
  std::string nothing;
  std::vector<int> none;
  REQUIRE(size_of(nothing) == 0);
  REQUIRE(size_of(none) == 0);
  REQUIRE(size_of({nullptr, 0}) == 0);
}

TEST_CASE("a MutableBuffer is not made from what is constant", "[buffer][mutable]") {
  STATIC_REQUIRE(converts<std::string&, MutableBuffer>);
  STATIC_REQUIRE(!converts<const std::string&, MutableBuffer>);
  STATIC_REQUIRE(converts<std::vector<char>&, MutableBuffer>);
  STATIC_REQUIRE(!converts<const std::vector<char>&, MutableBuffer>);
  STATIC_REQUIRE(converts<std::span<char>, MutableBuffer>);
  STATIC_REQUIRE(!converts<std::span<const char>, MutableBuffer>);
  STATIC_REQUIRE(converts<char(&)[4], MutableBuffer>);
  STATIC_REQUIRE(!converts<const char(&)[4], MutableBuffer>);
  STATIC_REQUIRE(!converts<const std::array<char, 4>&, MutableBuffer>);
  STATIC_REQUIRE(!converts<std::string_view, MutableBuffer>);
  STATIC_REQUIRE(!converts<ConstBuffer, MutableBuffer>);
}

TEST_CASE("a MutableBuffer is not made from what has no plain bytes", "[buffer][mutable]") {
  STATIC_REQUIRE(!converts<std::vector<bool>&, MutableBuffer>);
  STATIC_REQUIRE(!converts<std::vector<std::string>&, MutableBuffer>);
  STATIC_REQUIRE(!converts<std::list<char>&, MutableBuffer>);
  STATIC_REQUIRE(!converts<std::string(&)[2], MutableBuffer>);
}

TEST_CASE("a MutableBuffer is not made from a number alone", "[buffer][mutable]") {
  STATIC_REQUIRE(!converts<std::nullptr_t, MutableBuffer>);
  STATIC_REQUIRE(!converts<int, MutableBuffer>);
}

TEST_CASE("a ConstBuffer is made from a pointer and a number of bytes", "[buffer][const]") {
  const char array[] = "12345";
  char writable[] = "12345";
  const char* const pointer = array;
  REQUIRE(bytes_of({pointer, 3}) == "123");
  REQUIRE(bytes_of({writable, 3}) == "123");
  REQUIRE(ConstBuffer(pointer, 3).data() == array);
}

TEST_CASE("a ConstBuffer is made from a MutableBuffer", "[buffer][const]") {
  char array[3] = {'a', 'b', 'c'};
  REQUIRE(bytes_of(MutableBuffer(array)) == "abc");
}

TEST_CASE("a ConstBuffer of a literal leaves out the NUL at its end alone", "[buffer][const]") {
  REQUIRE(bytes_of("abc") == "abc"s);
  REQUIRE(bytes_of("") == ""s);
  REQUIRE(bytes_of("a\0b") == "a\0b"s);
  REQUIRE(bytes_of("ab\0") == "ab\0"s);
  REQUIRE(bytes_of("\0") == "\0"s);
}

TEST_CASE("a ConstBuffer of any literal leaves out the NUL at its end", "[buffer][const]") {
  REQUIRE(ConstBuffer(u8"ab").size() == 2);
  REQUIRE(ConstBuffer(L"ab").size() == 2 * sizeof(wchar_t));
  REQUIRE(ConstBuffer(u"ab").size() == 4);
  REQUIRE(ConstBuffer(U"ab").size() == 8);
}

TEST_CASE("a ConstBuffer of a constant array without NUL is all of it", "[buffer][const]") {
  const char array[3] = {'a', 'b', 'c'};
  REQUIRE(bytes_of(array) == "abc");
}

TEST_CASE("a ConstBuffer of a constant array of bytes keeps a zero at its end", "[buffer][const]") {
  const unsigned char array[3] = {'a', 'b', 0};
  const std::byte bytes[2] = {std::byte('a'), std::byte(0)};
  REQUIRE(bytes_of(array) == "ab\0"s);
  REQUIRE(bytes_of(bytes) == "a\0"s);
}

TEST_CASE("a ConstBuffer is all of a range", "[buffer][const]") {
  const std::string text = "a\0b"s;
  std::string writable = text;
  const std::vector<char> characters{'a', '\0', 'b'};
  const std::array<std::byte, 2> bytes{std::byte('x'), std::byte('y')};
  REQUIRE(bytes_of(text) == text);
  REQUIRE(bytes_of(writable) == text);
  REQUIRE(bytes_of("a\0b"sv) == text);
  REQUIRE(bytes_of("a\0b"s) == text);
  REQUIRE(bytes_of(characters) == text);
  REQUIRE(bytes_of(std::span(characters)) == text);
  REQUIRE(bytes_of(std::span(writable).first(1)) == "a");
  REQUIRE(bytes_of(bytes) == "xy");
}

TEST_CASE("a ConstBuffer points to the caller's bytes", "[buffer][const]") {
  const std::string text(1000, 'x');
  REQUIRE(ConstBuffer(text).data() == text.data());
}

TEST_CASE("the size of a ConstBuffer is in bytes", "[buffer][const]") {
  const std::vector<int> numbers{1, 2, 3};
  const std::vector<Point> points(2);
  const std::uint64_t array[4] = {};
  REQUIRE(ConstBuffer(numbers).size() == 3 * sizeof(int));
  REQUIRE(ConstBuffer(points).size() == 2 * sizeof(Point));
  REQUIRE(ConstBuffer(array).size() == sizeof array);
  REQUIRE(ConstBuffer(std::u16string_view(u"ab")).size() == 4);
  REQUIRE(bytes_of(numbers).substr(0, sizeof(int)) == bytes_of({numbers.data(), sizeof(int)}));
}

TEST_CASE("a ConstBuffer may be empty", "[buffer][const]") {
  REQUIRE(ConstBuffer(std::string()).size() == 0);
  REQUIRE(ConstBuffer(std::string_view()).size() == 0);
  REQUIRE(ConstBuffer(std::vector<int>()).size() == 0);
  REQUIRE(ConstBuffer(std::array<char, 0>()).size() == 0);
  REQUIRE(ConstBuffer(nullptr, 0).size() == 0);
}

TEST_CASE("a ConstBuffer is made from an array of bytes", "[buffer][const]") {
  STATIC_REQUIRE(converts<const char(&)[8], ConstBuffer>);
  STATIC_REQUIRE(converts<unsigned char(&)[8], ConstBuffer>);
  STATIC_REQUIRE(converts<std::byte(&)[8], ConstBuffer>);
}

TEST_CASE("a part of a constant array is given by its size", "[buffer][const]") {
  const char array[] = {'a', 'b', 'c'};
  char writable[] = {'a', 'b', 'c'};
  const int size = 2;
  REQUIRE(bytes_of({array, sizeof array}) == "abc");
  REQUIRE(bytes_of({writable, size}) == "ab");
}

TEST_CASE("a ConstBuffer is not made from a number alone", "[buffer][const]") {
  STATIC_REQUIRE(!converts<std::nullptr_t, ConstBuffer>);
  STATIC_REQUIRE(!converts<int, ConstBuffer>);
  STATIC_REQUIRE(!converts<char, ConstBuffer>);
}

TEST_CASE("a ConstBuffer is not made from a range of buffers or views", "[buffer][const]") {
  STATIC_REQUIRE(!converts<const std::vector<ConstBuffer>&, ConstBuffer>);
  STATIC_REQUIRE(!converts<const MutableBuffer(&)[2], ConstBuffer>);
  STATIC_REQUIRE(!converts<const std::vector<std::string_view>&, ConstBuffer>);
}

TEST_CASE("a ConstBuffer is not made from what has no plain bytes", "[buffer][const]") {
  STATIC_REQUIRE(!converts<const std::vector<bool>&, ConstBuffer>);
  STATIC_REQUIRE(!converts<const std::vector<std::string>&, ConstBuffer>);
  STATIC_REQUIRE(!converts<const std::list<char>&, ConstBuffer>);
  STATIC_REQUIRE(!converts<const std::string(&)[2], ConstBuffer>);
  STATIC_REQUIRE(!converts<const Point&, ConstBuffer>);
}

TEST_CASE("a buffer is not made from pointers, views or buffers", "[buffer]") {
  STATIC_REQUIRE(!converts<const std::vector<std::string_view>&, ConstBuffer>);
  STATIC_REQUIRE(!converts<const std::vector<std::span<char>>&, ConstBuffer>);
  STATIC_REQUIRE(!converts<const std::vector<ConstBuffer>&, ConstBuffer>);
  STATIC_REQUIRE(!converts<const std::array<const char*, 2>&, ConstBuffer>);
  STATIC_REQUIRE(!converts<const char* const(&)[2], ConstBuffer>);
  STATIC_REQUIRE(!converts<const char* const(&)[2][2], ConstBuffer>);
  STATIC_REQUIRE(!converts<const std::vector<std::array<char*, 2>>&, ConstBuffer>);
  STATIC_REQUIRE(!converts<std::vector<char*>&, MutableBuffer>);
  STATIC_REQUIRE(!converts<std::vector<MutableBuffer>&, MutableBuffer>);
  STATIC_REQUIRE(!converts<std::span<int>(&)[2], MutableBuffer>);
}

TEST_CASE("a buffer is made from arrays of arrays", "[buffer]") {
  const std::vector<std::array<float, 3>> points(2);
  int table[2][3] = {};
  REQUIRE(ConstBuffer(points).size() == 6 * sizeof(float));
  REQUIRE(ConstBuffer(table).size() == sizeof table);
  REQUIRE(size_of(table) == sizeof table);
}

TEST_CASE("a ListOf is not made from a range of a derived class", "[buffer][list]") {
  struct Named : ConstBuffer {
    std::string name;
  };
  using Buffers = ListOf<ConstBuffer>;
  STATIC_REQUIRE(!converts<const std::vector<Named>&, Buffers>);
  STATIC_REQUIRE(converts<const std::vector<ConstBuffer>&, Buffers>);
  STATIC_REQUIRE(converts<ConstBuffer(&)[2], Buffers>);
  STATIC_REQUIRE(converts<std::span<ConstBuffer>, Buffers>);
}

TEST_CASE("a ConstBuffer goes through a socket byte for byte", "[buffer][const]") {
  test::Pair pair = test::unix_pair(SOCK_DGRAM);
  pair.client.send("a\0b");
  REQUIRE(pair.server.recv(100) == "a\0b"s);
}
