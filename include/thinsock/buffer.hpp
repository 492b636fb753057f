// thinsock/buffer.hpp - the bytes a call sends or fills: Python's "bytes-like object".
//
// Parameter types. They own nothing and point into the caller's memory, which has to outlive the
// call; do not keep them.
#pragma once

#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <type_traits>

#pragma GCC visibility push(default)  // The library hides all else.
namespace thinsock {

/// A contiguous range of T with nothing behind the bytes: std::string, std::vector<int>, std::span.
template <class R>
concept ContiguousBytes = requires(R& range) {
  std::begin(range);
  std::data(range) + std::size(range);
}
&&std::is_trivially_copyable_v<std::remove_pointer_t<decltype(std::data(std::declval<R&>()))>>;

/// Bytes to write into.
class MutableBuffer {
 public:
  MutableBuffer(void* data, std::size_t bytes) noexcept
      : data_(static_cast<char*>(data)), size_(bytes) {}

  /// A whole array, std::string, std::vector, std::array, std::span<T> …; its size is not changed.
  template <class R>
  requires ContiguousBytes<R> &&
      (!std::is_const_v<std::remove_pointer_t<decltype(std::data(std::declval<R&>()))>>)
          MutableBuffer(R&& range) noexcept
      : MutableBuffer(std::data(range), std::size(range) * sizeof(*std::data(range))) {}

  char* data() const noexcept { return data_; }
  /// In bytes, whatever the element type was.
  std::size_t size() const noexcept { return size_; }

 private:
  char* data_;
  std::size_t size_;
};

/// Bytes to read from.
class ConstBuffer {
 public:
  ConstBuffer(const void* data, std::size_t bytes) noexcept
      : data_(static_cast<const char*>(data)), size_(bytes) {}

  ConstBuffer(MutableBuffer buffer) noexcept : ConstBuffer(buffer.data(), buffer.size()) {}

  /// A string literal: all of it but the terminating NUL.
  template <std::size_t N>
  ConstBuffer(const char (&literal)[N]) noexcept
      : ConstBuffer(literal, literal[N - 1] == '\0' ? N - 1 : N) {}

  template <std::size_t N>
  ConstBuffer(const char8_t (&literal)[N]) noexcept
      : ConstBuffer(literal, literal[N - 1] == u8'\0' ? N - 1 : N) {}

  /// How much of a char array is meant is not to be seen: write {buf, n}.
  template <std::size_t N>
  ConstBuffer(char (&)[N]) = delete;

  /// A whole array, std::string, std::string_view, std::vector, std::span<const T> …
  template <class R>
  requires ContiguousBytes<const R> &&
      (!std::is_same_v<std::remove_extent_t<R>, char>)ConstBuffer(const R& range) noexcept
      : ConstBuffer(std::data(range), std::size(range) * sizeof(*std::data(range))) {}

  const char* data() const noexcept { return data_; }
  /// In bytes, whatever the element type was.
  std::size_t size() const noexcept { return size_; }

 private:
  const char* data_;
  std::size_t size_;
};

/// Some of T, in place: {a, b, c}, or a contiguous range of T.
template <class T>
class ListOf {
 public:
  ListOf(std::initializer_list<T> list) noexcept : size_(list.size()) { data_ = list.begin(); }

  template <class R>
  requires requires(const R& range) {
    std::size(range);
    { std::data(range) } -> std::convertible_to<const T*>;
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
#pragma GCC visibility pop
