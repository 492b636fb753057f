// The public headers, with nothing included before them.
#include "thinsock/address.hpp"
#include "thinsock/buffer.hpp"
#include "thinsock/cancel.hpp"
#include "thinsock/error.hpp"
#include "thinsock/format.hpp"
#include "thinsock/listen_fds.hpp"
#include "thinsock/message.hpp"
#include "thinsock/request_handler.hpp"
#include "thinsock/resolve.hpp"
#include "thinsock/select.hpp"
#include "thinsock/socket.hpp"
#include "thinsock/socketserver.hpp"
#include "thinsock/stream.hpp"
#include "thinsock/thinsock.hpp"
#include "thinsock/timeout.hpp"
#include "thinsock/version.hpp"
// Each header is included again, to test its include guard.
#include "thinsock/address.hpp"
#include "thinsock/buffer.hpp"
#include "thinsock/cancel.hpp"
#include "thinsock/error.hpp"
#include "thinsock/format.hpp"
#include "thinsock/listen_fds.hpp"
#include "thinsock/message.hpp"
#include "thinsock/request_handler.hpp"
#include "thinsock/resolve.hpp"
#include "thinsock/select.hpp"
#include "thinsock/socket.hpp"
#include "thinsock/socketserver.hpp"
#include "thinsock/stream.hpp"
#include "thinsock/thinsock.hpp"
#include "thinsock/timeout.hpp"
#include "thinsock/version.hpp"
// The headers that the tests need come last, so that no public header can rely on them.
#include <concepts>
#include <functional>
#include <string>
#include <system_error>
#include <type_traits>

#include "support.hpp"

using namespace thinsock;

namespace {

template <class T>
constexpr bool moves_quietly =
    std::is_nothrow_move_constructible_v<T>&& std::is_nothrow_move_assignable_v<T>;

template <class T>
constexpr bool copies = std::is_copy_constructible_v<T> || std::is_copy_assignable_v<T>;

}  // namespace

TEST_CASE("a Socket is a descriptor and a timeout", "[headers][socket]") {
  STATIC_REQUIRE(sizeof(Socket) <= 16);
}

TEST_CASE("a Socket moves without throwing and does not copy", "[headers][socket]") {
  STATIC_REQUIRE(moves_quietly<Socket>);
  STATIC_REQUIRE(!copies<Socket>);
  STATIC_REQUIRE(moves_quietly<Accepted>);
  STATIC_REQUIRE(!copies<Accepted>);
  STATIC_REQUIRE(std::is_nothrow_destructible_v<Socket>);
}

TEST_CASE("a Socket has no virtual function", "[headers][socket]") {
  STATIC_REQUIRE(!std::is_polymorphic_v<Socket>);
}

TEST_CASE("a Socket is neither made from a number nor turned into one", "[headers][socket]") {
  STATIC_REQUIRE(!std::is_convertible_v<int, Socket>);
  STATIC_REQUIRE(!std::is_convertible_v<Socket, int>);
  STATIC_REQUIRE(!std::is_convertible_v<Socket, bool>);
}

TEST_CASE("an Address is a plain value", "[headers][address]") {
  STATIC_REQUIRE(std::is_trivially_copyable_v<Address>);
  STATIC_REQUIRE(std::is_nothrow_default_constructible_v<Address>);
  STATIC_REQUIRE(std::totally_ordered<Address>);
  STATIC_REQUIRE(std::is_invocable_r_v<std::size_t, std::hash<Address>, const Address&>);
  STATIC_REQUIRE(!std::is_convertible_v<const char*, Address>);
}

TEST_CASE("passing an Address as an AddressLike cannot fail", "[headers][address]") {
  STATIC_REQUIRE(std::is_nothrow_convertible_v<const Address&, AddressLike>);
}

TEST_CASE("parameter types are copied as plain bytes", "[headers][buffer]") {
  STATIC_REQUIRE(std::is_trivially_copyable_v<ConstBuffer>);
  STATIC_REQUIRE(std::is_trivially_copyable_v<MutableBuffer>);
  STATIC_REQUIRE(std::is_trivially_copyable_v<AddressLike>);
  STATIC_REQUIRE(sizeof(ConstBuffer) == 2 * sizeof(void*));
  STATIC_REQUIRE(sizeof(MutableBuffer) == 2 * sizeof(void*));
}

TEST_CASE("a Timeout is as small as its number", "[headers][timeout]") {
  STATIC_REQUIRE(std::is_trivially_copyable_v<Timeout>);
  STATIC_REQUIRE(sizeof(Timeout) == 8);
}

TEST_CASE("every error of the system is an Error", "[headers][error]") {
  STATIC_REQUIRE(std::is_base_of_v<std::system_error, Error>);
  STATIC_REQUIRE(std::is_base_of_v<Error, TimeoutError>);
  STATIC_REQUIRE(std::is_base_of_v<Error, EOFError>);
  STATIC_REQUIRE(std::is_base_of_v<Error, ResolveError>);
}

TEST_CASE("the errors are not each other", "[headers][error]") {
  STATIC_REQUIRE(!std::is_base_of_v<TimeoutError, EOFError>);
  STATIC_REQUIRE(!std::is_base_of_v<TimeoutError, ResolveError>);
  STATIC_REQUIRE(!std::is_base_of_v<std::logic_error, Error>);
}

TEST_CASE("an error crosses the library's border as its own class", "[headers][error]") {
  // The shared library throws them and this program catches them, so the library has to export
  // their type information.
  REQUIRE_THROWS_AS(Address("localhost", 80), ResolveError);
  REQUIRE_THROWS_AS(Address("localhost", 80), Error);
  REQUIRE_THROWS_AS(Address("localhost", 80), std::system_error);
}

TEST_CASE("an Error carries its code, its words and what had moved", "[headers][error]") {
  const Error error(std::make_error_code(std::errc::broken_pipe), "sendall", 7);
  REQUIRE(error.code() == std::errc::broken_pipe);
  REQUIRE(error.what() == "sendall: " + error.code().message());
  REQUIRE(error.transferred() == 7);
  REQUIRE(Error(error.code(), "send").transferred() == 0);
}

TEST_CASE("the forms with an error_code throw nothing", "[headers][socket]") {
  std::error_code error;
  Socket* sk = nullptr;
  char bytes[1];
  STATIC_REQUIRE(noexcept(sk->accept(error)));
  STATIC_REQUIRE(noexcept(sk->send(ConstBuffer(bytes, 1), error)));
  STATIC_REQUIRE(noexcept(sk->sendall(ConstBuffer(bytes, 1), error)));
  STATIC_REQUIRE(noexcept(sk->recv_into(bytes, error)));
  STATIC_REQUIRE(noexcept(sk->recvfrom_into(bytes, error)));
}

TEST_CASE("a method of a Socket takes every shape of address", "[headers][socket]") {
  const auto takes = [](auto&&... address) {
    return requires(Socket & sk) { sk.connect({address...}); };
  };
  REQUIRE(takes(std::string("host"), 80));
  REQUIRE(takes("host", 80, 0U, 1U));
  REQUIRE(takes(std::string("/path")));
  REQUIRE(takes(Address()));
  REQUIRE_FALSE(takes(80));
}
