"""Checks the README's lists of names against Python's modules and against our headers."""

import pathlib
import re
import socket
import socketserver
import sys
import unittest

README, INCLUDE = map(pathlib.Path, sys.argv[1:])
WINDOWS_MODULE, WINDOWS_SOCKET = {"fromshare"}, {"ioctl", "share"}


def is_constant(value):
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def module_names():
    own = {name for name, value in vars(socket).items()
           if getattr(value, "__module__", None) == "socket" and name[0] != "_"}
    public = own | set(socket.__all__)
    return {name for name in public if not is_constant(getattr(socket, name))} | WINDOWS_MODULE


def socket_names():
    public = {name for name in dir(socket.socket) if name[0] != "_"}
    return public | WINDOWS_SOCKET | {"__enter__", "__exit__"}


def rows(module):
    """Of each row of its table, the code in its left column, and its right column."""
    heading = f"## Every name of Python's {module} module\n"
    section = README.read_text().split(heading)[1].split("\n## ")[0]
    table = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:1] == "|"]
    return [(code(left), right) for left, right in table[2:]]


def code(cell):
    return re.findall("`([^`]+)`", cell)


def python_names(codes):
    """The names a left column explains, methods with a dot before them."""
    return {re.match(r"(?:sk(?=\.))?(\.?\w+)", one).group(1) for one in codes}


def declarations():
    lines = (line.split("//")[0] for header in INCLUDE.glob("*.hpp")
             for line in header.read_text().splitlines())
    return "\n".join(line for line in lines if line[:1] != "#")


@unittest.skipIf(sys.version_info < (3, 9), "older ones lack names")
class Names(unittest.TestCase):
    def setUp(self):
        self.rows = rows("socket")
        self.declarations = declarations()

    def test_every_name_of_python_stands_in_one_row(self):
        expected = module_names() | {"." + name for name in socket_names()}
        self.assertGreater(len(expected), 70)
        listed = [name for codes, _ in self.rows for name in python_names(codes)]
        self.assertEqual(sorted(expected - set(listed)), [], "missing")
        self.assertEqual(sorted(set(listed) - expected), [], "not Python's")
        self.assertEqual(len(listed), len(set(listed)), "twice")

    def test_what_is_the_same_is_declared(self):
        same = [name for codes, right in self.rows if right.startswith("the same")
                for name in python_names(codes)]
        self.assertGreater(len(same), 40)
        self.assert_declared(name.lstrip(".") + "(" for name in same)

    def test_every_name_of_ours_is_declared(self):
        ours = set()
        for _, right in self.rows:
            for one in code(right):
                ours.update(re.findall(r"(?<!std::)\b\w+\(", one))
                ours.update(re.findall(r"^\w+$|\b\w+(?=::)", one))
        self.assertGreater(len(ours), 20)
        self.assert_declared(ours - {"std"})

    def test_every_class_of_socketserver_stands_in_one_row_and_is_declared(self):
        unix = {"ForkingUnixStreamServer", "ForkingUnixDatagramServer"}  # Since Python 3.12.
        listed = [name for codes, _ in rows("socketserver") for name in codes]
        self.assertEqual(sorted(listed), sorted(set(socketserver.__all__) | unix))
        self.assert_declared(listed)

    def assert_declared(self, names):
        missing = [name for name in names
                   if not re.search(r"(?<![\w.])" + re.escape(name) + r"(?:(?<=\()|\b)",
                                    self.declarations)]
        self.assertEqual(missing, [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
