"""Checks what a compiler and a linker see: how much the headers bring, what the library exports."""

import pathlib
import re
import subprocess
import sys
import unittest

INCLUDE, LIBRARY, *COMPILER = sys.argv[1:]
HEAVY = {"chrono", "functional", "iostream", "memory", "netdb.h", "span", "thread", "vector"}


def preprocessed(source):
    command = [*COMPILER, "-std=c++20", "-I", INCLUDE, "-E", "-x", "c++", "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout


class Headers(unittest.TestCase):
    def setUp(self):
        self.text = preprocessed("#include <thinsock/socket.hpp>\n")

    def test_socket_hpp_brings_less_than_24000_lines(self):
        lines = [line for line in self.text.splitlines() if line.strip() and line[0] != "#"]
        self.assertLess(len(lines), 24000)
        self.assertGreater(len(lines), 1000)

    def test_socket_hpp_brings_no_heavy_header(self):
        opened = set(re.findall(r'^# \d+ "[^"]*?/(?:c\+\+/[^/"]+/|include/(?:[^"/]*-gnu/)?)([^"/]+)"',
                                self.text, re.MULTILINE))
        self.assertIn("string", opened)
        self.assertIn("optional", opened)
        self.assertEqual(opened & HEAVY, set())

    def test_every_header_compiles_without_exceptions(self):
        headers = sorted(pathlib.Path(INCLUDE, "thinsock").glob("*.hpp"))
        source = "".join(f"#include <thinsock/{header.name}>\n" for header in headers)
        subprocess.run([*COMPILER, "-std=c++20", "-I", INCLUDE, "-fno-exceptions", "-fsyntax-only",
                        "-x", "c++", "-"], input=source, text=True, check=True)


class Version(unittest.TestCase):
    def setUp(self):
        project = (pathlib.Path(INCLUDE).parent / "meson.build").read_text()
        self.version = re.search(r"version : '(\d+)\.(\d+)\.(\d+)'", project).groups()

    def test_the_macro_is_the_version_of_meson_build(self):
        major, minor, patch = map(int, self.version)
        text = preprocessed("#include <thinsock/socket.hpp>\nTHINSOCK_VERSION\n")
        self.assertEqual(int(text.splitlines()[-1]), 10000 * major + 100 * minor + patch)

    @unittest.skipUnless(".so" in LIBRARY, "a static library has no soname")
    def test_the_soname_changes_with_each_minor_version(self):
        done = subprocess.run(["readelf", "-d", LIBRARY], capture_output=True, text=True, check=True)
        major, minor, _ = self.version
        self.assertIn(f"soname: [libthinsock.so.{major}.{minor}]", done.stdout)

    def test_thinsock_hpp_includes_all_others(self):
        headers = {header.name for header in pathlib.Path(INCLUDE, "thinsock").glob("*.hpp")}
        umbrella = pathlib.Path(INCLUDE, "thinsock", "thinsock.hpp").read_text()
        self.assertEqual(set(re.findall('#include "thinsock/(.*)"', umbrella)),
                         headers - {"thinsock.hpp"})


class Library(unittest.TestCase):
    def nm(self, *options):
        done = subprocess.run(["nm", "-C", *options, LIBRARY], capture_output=True, text=True,
                              check=True)
        return done.stdout.splitlines()

    def test_only_output_and_forks_need_static_initialisers(self):
        self.assertTrue(any("thinsock::Socket::Socket" in line for line in self.nm()))
        found = {name for line in self.nm() for name in re.findall("_GLOBAL__sub_I_(.*)", line)}
        # A child has to flush std::cout, and <iostream> makes sure that it is there. Handlers of a
        # fork are registered before there can be one.
        self.assertLessEqual(found, {"children.cpp", "scope.cpp", "signals.cpp"})

    @unittest.skipUnless(".so" in LIBRARY, "a static library hides nothing")
    def test_it_exports_its_public_names_alone(self):
        exported = [line for line in self.nm("-D", "--defined-only") if " T " in line]
        private = re.compile(r"thinsock::(Deadline::|wait|fail|open_|accept_once|set_nonblocking)")
        self.assertTrue(any("thinsock::create_server" in line for line in exported))
        self.assertEqual([line for line in exported if private.search(line)
                          or "thinsock::" not in line], [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
