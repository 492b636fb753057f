// thinsock/buffer.hpp - the bytes a call sends or fills: Python's "bytes-like object".
//
// These are parameter types: they own nothing and point into the caller's memory, which has to
// outlive the call, so do not store them.
#pragma once

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "thinsock/version.hpp"

namespace thinsock {

/// Whether the bytes of an E are its value: not if E is a pointer, or a view (std::string_view, a
/// buffer) that holds one. Arrays are what their elements are.
template <class E>
inline constexpr bool kIsPlain =
    std::is_trivially_copyable_v<E> && !std::is_pointer_v<E> && !requires(E & element) {
  std::data(element);
};
template <class E, std::size_t N>
inline constexpr bool kIsPlain<E[N]> = kIsPlain<E>;
template <template <class, std::size_t> class Array, class E, std::size_t N>
requires requires { std::tuple_size<Array<E, N>>::value; }
inline constexpr bool kIsPlain<Array<E, N>> = kIsPlain<E>;

/// A contiguous range whose elements can be sent and received as bytes: std::string,
/// std::vector<int>, std::span.
template <class R>
concept ContiguousBytes = requires(R& range) {
  std::begin(range);
  std::data(range) + std::size(range);
}
&&kIsPlain<std::remove_cvref_t<decltype(*std::data(std::declval<R&>()))>>;

/// A type of characters, of which there are literals.
template <class C>
concept Character = std::same_as<C, char> || std::same_as<C, wchar_t> || std::same_as<C, char8_t> ||
    std::same_as<C, char16_t> || std::same_as<C, char32_t>;

/// False for every T. It fails a static_assert where a mistake chooses a template that exists only
/// to say what to write instead.
template <class T>
inline constexpr bool never = false;

/// A literal and a number beside it, if that is not a number of bytes (std::size_t).
template <class Literal, class Port>
concept HostAndPort = std::integral<Port> && !std::is_same_v<Port, std::size_t> &&
                      std::is_same_v<std::remove_extent_t<Literal>, const char>;

/// Memory that a call fills.
class MutableBuffer {
 public:
  MutableBuffer(void* data, std::size_t bytes) noexcept
      : data_(static_cast<char*>(data)), size_(bytes) {}

  /// A whole array, std::string, std::vector, std::array, std::span<T> …, of which a call may fill
  /// only a part without changing its size.
  template <class R>
  requires ContiguousBytes<R> &&
      (!std::is_const_v<std::remove_pointer_t<decltype(std::data(std::declval<R&>()))>>)
          MutableBuffer(R&& range) noexcept
      : MutableBuffer(std::data(range), std::size(range) * sizeof(*std::data(range))) {}

  /// Does not compile, because a pointer does not tell how many bytes there is room for.
  template <class T>
  MutableBuffer(T* const&) {
    static_assert(never<T>, "a pointer does not tell how many bytes: write {pointer, bytes}");
  }

  char* data() const noexcept { return data_; }
  /// In bytes, whatever the element type is.
  std::size_t size() const noexcept { return size_; }

 private:
  char* data_;
  std::size_t size_;
};

/// Bytes that a call sends.
class ConstBuffer {
 public:
  ConstBuffer(const void* data, std::size_t bytes) noexcept
      : data_(static_cast<const char*>(data)), size_(bytes) {}

  ConstBuffer(MutableBuffer buffer) noexcept : ConstBuffer(buffer.data(), buffer.size()) {}

  /// A string literal without its terminating NUL; other NULs count. A constant array of characters
  /// cannot be told from a literal: to send a NUL at its end too, write {array, sizeof array}.
  template <Character C, std::size_t N>
  ConstBuffer(const C (&literal)[N]) noexcept
      : ConstBuffer(literal, (literal[N - 1] == C() ? N - 1 : N) * sizeof(C)) {}

  /// These do not compile, because a pointer or a char array does not tell how many bytes to send.
  template <class T>
  ConstBuffer(T* const&) {
    static_assert(never<T>,
                  "a pointer does not tell how many bytes: write {pointer, bytes}, or "
                  "std::string_view(pointer) for a C string");
  }
  template <Character C, std::size_t N>
  ConstBuffer(C (&)[N]) {
    static_assert(never<C>, "how many bytes of the char array? write {array, bytes}");
  }

  /// Does not compile, because a literal has its length: a number behind it is a port.
  template <class Literal, class Port>
  requires HostAndPort<Literal, Port> ConstBuffer(Literal&, Port) {
    static_assert(never<Port>, "{host, port} is not data: write sendto(data, {host, port})");
  }

  /// A whole array, std::string, std::string_view, std::vector, std::span<const T> …
  template <class R>
  requires ContiguousBytes<const R> &&
      (!Character<std::remove_extent_t<R>>)ConstBuffer(const R& range) noexcept
      : ConstBuffer(std::data(range), std::size(range) * sizeof(*std::data(range))) {}

  const char* data() const noexcept { return data_; }
  /// In bytes, whatever the element type is.
  std::size_t size() const noexcept { return size_; }

 private:
  const char* data_;
  std::size_t size_;
};

/// The type of parameters that take several T: {a, b, c}, or a contiguous range of T itself,
/// because a derived class may be larger.
template <class T>
class ListOf {
 public:
  ListOf(std::initializer_list<T> list) noexcept : size_(list.size()) { data_ = list.begin(); }

  template <class R>
  requires requires(const R& range) {
    std::size(range);
    requires std::same_as<std::remove_cvref_t<decltype(*std::data(range))>, T>;
  }
  ListOf(const R& range) noexcept : data_(std::data(range)), size_(std::size(range)) {}

  const T* begin() const noexcept { return data_; }
  const T* end() const noexcept { return data_ + size_; }
  std::size_t size() const noexcept { return size_; }

 private:
  const T* data_;
  std::size_t size_;
};

}  // namespace thinsock
