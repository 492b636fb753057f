"""Checks that calls which would silently do the wrong thing do not compile, and that the compiler's
first error says what to write instead."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

INCLUDE = pathlib.Path(sys.argv[1])
COMPILERS = [name for name in ("g++", "clang++") if shutil.which(name)]
PREAMBLE = "#include <chrono>\n#include <thinsock/thinsock.hpp>\n"
FUNCTION = """
using namespace std::chrono_literals;
using namespace thinsock;
void function(Socket& sk, std::string data, char* pointer, std::size_t n, unsigned short port) {
  char buffer[8]{};
  Address address;
  std::error_code error;
  %s
}
"""
LENGTH = r"a length is not flags: write \{pointer, bytes\}, or a whole buffer alone"
POINTER = r"a pointer does not tell how many bytes: write \{pointer, bytes\}"
SWAPPED = r"write sendto\(data, \{host, port\}\)"
CLOSED = "a Socket that is not kept is closed"
LOST = "a connection that is not kept is closed"
NO_NAME = "a scope needs a name, or it ends at once"
NO_HANDLE = r"a handler class must have: void handle\(\) override"
COPIED = r"a handler's argument is copied: write std::ref\(argument\)"
TIME = r"a timeout is not flags: call settimeout\(5s\) before"
UNIT = "a timeout needs a unit: write 5s, with <chrono>"
SIGNAL = r"write \{SIGINT\} for a signal, or 5s, with <chrono>, for a time"
SHAPES = r"handler<Class>, or a function that takes \(Socket&, const Address&\) or \(RequestContext&\)"

# What a user might write, what the first error says, and what to write instead.
TRAPS = [
    ("sk.send(data, data.size());", LENGTH, "sk.send({data.data(), data.size()});"),
    ("sk.send(data, n, error);", LENGTH, "sk.send({data.data(), n}, error);"),
    ("sk.sendall(\"hello\", std::size_t{5});", LENGTH, "sk.sendall(\"hello\");"),
    ("sk.sendall(data, n, error);", LENGTH, "sk.sendall({data.data(), n}, error);"),
    ("sk.sendto(data, n, address);", LENGTH, "sk.sendto({data.data(), n}, address);"),
    ("sk.recv_into(buffer, sizeof buffer);", LENGTH, "sk.recv_into(buffer);"),
    ("sk.recv_into(buffer, n);", LENGTH, "sk.recv_into({buffer, n});"),
    ("sk.recv_into(buffer, n, error);", LENGTH, "sk.recv_into({buffer, n}, error);"),
    ("sk.recvfrom_into(buffer, n);", LENGTH, "sk.recvfrom_into({buffer, n});"),
    ("sk.recv(1024, true);", LENGTH, "sk.recv(1024, MSG_PEEK | MSG_DONTWAIT);"),
    ("sk.recv(1024, 2.0);", TIME, "sk.settimeout(2s), sk.recv(1024);"),
    ("sk.recv(1024, 2s);", TIME, "sk.settimeout(2s), sk.recv(1024);"),
    ("sk.sendall(data, 2.5f);", TIME, "sk.settimeout(2.5s), sk.sendall(data);"),
    ("sk.recvfrom(1024, n);", LENGTH, "sk.recvfrom(1024, MSG_PEEK);"),
    ("sk.sendall(pointer);", POINTER, "sk.sendall({pointer, n});"),
    ("sk.sendall(pointer);", r"or std::string_view\(pointer\)",
     "sk.sendall(std::string_view(pointer));"),
    ("sk.sendall(data.c_str());", POINTER, "sk.sendall(data);"),
    ("sk.sendall(buffer);", r"write \{array, bytes\}", "sk.sendall({buffer, n});"),
    ("sk.recv_into(pointer);", POINTER, "sk.recv_into({pointer, n});"),
    ("sk.sendto({\"h\", 80}, \"x\");", SWAPPED, "sk.sendto(\"x\", {\"h\", 80});"),
    ("sk.sendto({\"h\", port}, \"x\");", SWAPPED, "sk.sendto(\"x\", {\"h\", port});"),
    ("CancelScope(50ms);", NO_NAME, "CancelScope scope(50ms);"),
    ("CancelScope{std::stop_token()};", NO_NAME, "CancelScope scope{std::stop_token()};"),
    ("create_connection({\"h\", 80}, 5s);", CLOSED, "sk = create_connection({\"h\", 80}, 5s);"),
    ("create_server({\"\", 80});", CLOSED, "sk = create_server({\"\", 80});"),
    ("sk.accept();", LOST, "auto [conn, addr] = sk.accept();"),
    ("sk.accept(error);", LOST, "sk = sk.accept(error).socket;"),
    ("Socket::adopt(3);", CLOSED, "sk = Socket::adopt(3);"),
    ("sk.recv_exactly(10);", "bytes that are not kept are lost", "data = sk.recv_exactly(10);"),
    ("create_connection(\"localhost\", 80);", r"write create_connection\(\{host, port\}\)",
     "sk = create_connection({\"localhost\", 80});"),
    ("sk = create_connection(data, port, 5s);", r"write create_connection\(\{host, port\}\)",
     "sk = create_connection({data, port}, 5s);"),
    ("sk.settimeout(5);", UNIT, "sk.settimeout(5s);"),
    ("Timeout timeout = false;", UNIT, "Timeout timeout = std::nullopt;"),
    ("sk.settimeout(2.5);", UNIT, "sk.settimeout(2.5s);"),
    ("sk = create_connection({\"localhost\", 80}, 5);", UNIT,
     "sk = create_connection({\"localhost\", 80}, 5s);"),
    ("CancelScope scope(30);", SIGNAL, "CancelScope scope(30s);"),
    ("CancelScope ctrl_c(2);", SIGNAL, "CancelScope ctrl_c({2});"),
    ("CancelScope ctrl_c({2}, 30);", UNIT, "CancelScope ctrl_c({2}, 30s);"),
    ("struct H : BaseRequestHandler {};"
     "RequestHandler answer = handler<H>;", NO_HANDLE,
     "struct H : BaseRequestHandler { void handle() override {} };"
     "RequestHandler answer = handler<H>;"),
    ("struct H : StreamRequestHandler { void handel() {} };"
     "TCPServer server({\"\", 80}, handler<H>);", NO_HANDLE,
     "struct H : StreamRequestHandler { void handle() override {} };"
     "TCPServer server({\"\", 80}, handler<H>);"),
    ("struct H : DatagramRequestHandler { void setup() override {} };"
     "UDPServer server({\"\", 80}, handler<H>);", NO_HANDLE,
     "struct H : DatagramRequestHandler { private: void handle() override {} };"
     "UDPServer server({\"\", 80}, handler<H>);"),
    ("struct H : BaseRequestHandler { void handle() const {} };"
     "TCPServer server({\"\", 80}, handler<H>);", NO_HANDLE,
     "struct H : BaseRequestHandler { void handle() noexcept override {} };"
     "TCPServer server({\"\", 80}, handler<H>);"),
    ("struct H : BaseRequestHandler { void handle(int = 0) {} };"
     "TCPServer server({\"\", 80}, handler<H>);", NO_HANDLE,
     "struct G : BaseRequestHandler { void handle() override {} }; struct H : G {};"
     "TCPServer server({\"\", 80}, handler<H>);"),
    ("struct H : BaseRequestHandler { H(Socket&) {} void handle() override {} };"
     "TCPServer server({\"\", 80}, handler<H>(sk));", COPIED,
     "struct H : BaseRequestHandler { H(Socket&) {} void handle() override {} };"
     "TCPServer server({\"\", 80}, handler<H>(std::ref(sk)));"),
    ("TCPServer server({\"\", 80}, [](Socket) {});", SHAPES,
     "TCPServer server({\"\", 80}, [](Socket&, const Address&) {});"),
    ("RequestHandler answer = [](BaseRequestHandler&) {};", SHAPES,
     "RequestHandler answer = [](RequestContext&) {};"),
]


def first_error(compiler, source, *options):
    """What follows "error:", or None if the source compiles. Warnings are errors."""
    command = [compiler, "-std=c++20", "-Werror", "-Wfatal-errors", "-fsyntax-only",
               "-I", INCLUDE, *options, "-x", "c++", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True,
                          env=os.environ | {"LC_ALL": "C"})
    error = re.search(r"error: (.*)", done.stderr)
    return error.group(1) if error else None if done.returncode == 0 else done.stderr


@unittest.skipUnless(COMPILERS, "no compiler")
class Traps(unittest.TestCase):
    def expect(self, cases):
        """Each case: the compiler, the source, its options, and what the first error has to say."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            errors = pool.map(lambda case: first_error(*case[:-1]), cases)
            for (compiler, source, *_, message), error in zip(cases, errors):
                with self.subTest(compiler=compiler, source=source):
                    self.assertRegex(error or "it compiles", message)

    def test_a_trap_does_not_compile_and_the_first_error_says_what_to_write(self):
        with tempfile.TemporaryDirectory() as directory:
            header = pathlib.Path(directory) / "preamble.hpp"  # Precompiled, to save time.
            header.write_text(PREAMBLE)
            for compiler in COMPILERS:
                subprocess.run([compiler, "-std=c++20", "-I", INCLUDE, "-x", "c++-header", header,
                                "-o", f"{header}.{'pch' if compiler == 'clang++' else 'gch'}"],
                               check=True)
            self.expect([(compiler, FUNCTION % wrong, "-include", header, message)
                         for compiler in COMPILERS for wrong, message, _ in TRAPS])

    def test_what_to_write_instead_compiles(self):
        source = PREAMBLE + FUNCTION % "\n".join(f"{{ {right} }}" for _, _, right in TRAPS)
        self.expect([(compiler, source, "it compiles") for compiler in COMPILERS])

    def test_every_header_says_first_that_it_needs_cplusplus_20(self):
        headers = [header.name for header in (INCLUDE / "thinsock").glob("*.hpp")]
        self.assertIn("socket.hpp", headers)
        self.expect([(compiler, f"#include <thinsock/{header}>", "-std=c++17", "-std=c\\+\\+20")
                     for compiler in COMPILERS for header in headers])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
