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

namespace thinsock {

/// A contiguous range of trivially copyable elements, which can be sent and received as bytes:
/// std::string, std::vector<int>, std::span.
template <class R>
concept ContiguousBytes = requires(R& range) {
  std::begin(range);
  std::data(range) + std::size(range);
}
&&std::is_trivially_copyable_v<std::remove_pointer_t<decltype(std::data(std::declval<R&>()))>>;

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

  /// A string literal without its terminating NUL; other NULs count.
  template <std::size_t N>
  ConstBuffer(const char (&literal)[N]) noexcept
      : ConstBuffer(literal, literal[N - 1] == '\0' ? N - 1 : N) {}

  template <std::size_t N>
  ConstBuffer(const char8_t (&literal)[N]) noexcept
      : ConstBuffer(literal, literal[N - 1] == u8'\0' ? N - 1 : N) {}

  /// Deleted, because a char array does not tell how many of its bytes to send: write {buf, n}.
  template <std::size_t N>
  ConstBuffer(char (&)[N]) = delete;

  /// A whole array, std::string, std::string_view, std::vector, std::span<const T> …
  template <class R>
  requires ContiguousBytes<const R> &&
      (!std::is_same_v<std::remove_extent_t<R>, char>)ConstBuffer(const R& range) noexcept
      : ConstBuffer(std::data(range), std::size(range) * sizeof(*std::data(range))) {}

  const char* data() const noexcept { return data_; }
  /// In bytes, whatever the element type is.
  std::size_t size() const noexcept { return size_; }

 private:
  const char* data_;
  std::size_t size_;
};

/// The type of parameters that take several T: {a, b, c}, or a contiguous range of T.
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
