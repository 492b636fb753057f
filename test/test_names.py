"""Checks the manual's table of names against Python's modules and against our headers, and that the
programs in the project's README are those of the samples."""

import pathlib
import re
import socket
import socketserver
import sys
import unittest

ROOT = pathlib.Path(sys.argv[1])
INCLUDE = ROOT / "include"
MANUAL = INCLUDE / "thinsock" / "README.md"
WINDOWS_MODULE, WINDOWS_SOCKET = {"fromshare"}, {"ioctl", "share"}
SINCE_3_11 = {"server.allow_reuse_port"}
SINCE_3_12 = {"ForkingUnixStreamServer", "ForkingUnixDatagramServer"}
# Members that Python's constructors set, so that the class does not show them.
SERVER_MEMBERS = {"RequestHandlerClass", "server_address", "socket"}
HANDLER_MEMBERS = {"client_address", "connection", "packet", "request", "rfile", "server", "socket",
                   "wfile"}


def is_constant(value):
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def module_names():
    own = {name for name, value in vars(socket).items()
           if getattr(value, "__module__", None) == "socket" and name[0] != "_"}
    public = own | set(socket.__all__)
    return {name for name in public if not is_constant(getattr(socket, name))} | WINDOWS_MODULE


def members(classes):
    return {name for one in classes for name in dir(one) if name[0] != "_"}


def socket_names():
    return members([socket.socket]) | WINDOWS_SOCKET | {"__enter__", "__exit__"}


def server_classes():
    return set(socketserver.__all__) | SINCE_3_12


def server_names():
    classes = [getattr(socketserver, name) for name in socketserver.__all__]
    handlers = [one for one in classes if issubclass(one, socketserver.BaseRequestHandler)]
    servers = [one for one in classes if one not in handlers]
    return ({f"server.{name}" for name in members(servers) | SERVER_MEMBERS}
            | {f"handler.{name}" for name in members(handlers) | HANDLER_MEMBERS}
            | SINCE_3_11)


def rows():
    """Of each row of the table: the code in its first column, its second and its third column."""
    section = MANUAL.read_text().split("## Every name of both modules\n")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")]
             for line in section.splitlines() if line[:1] == "|"]
    return [(code(python), ours, notes) for python, ours, notes in cells[2:] if code(python)]


def code(cell):
    return re.findall("`([^`]+)`", cell)


def name_of(code):
    """The name that a piece of code in the first column explains, members with their object."""
    return re.match(r"(?:(?:sk|server|handler)\.)?\w+", code).group()


def declaration_of(code):
    """What a header has for a name that is the same: functions with their parenthesis."""
    return name_of(code).split(".")[-1] + ("(" if "(" in code else "")


def declarations():
    lines = (line.split("//")[0] for header in INCLUDE.glob("thinsock/*.hpp")
             for line in header.read_text().splitlines())
    return "\n".join(line for line in lines if line[:1] != "#")


@unittest.skipIf(sys.version_info < (3, 9), "older ones lack names")
class Names(unittest.TestCase):
    def setUp(self):
        self.rows = rows()
        self.declarations = declarations()

    def test_every_name_of_python_stands_in_one_row(self):
        sockets = module_names() | {f"sk.{name}" for name in socket_names()}
        servers = server_classes() | server_names()
        self.assertGreater(len(sockets), 70)
        self.assertGreater(len(servers), 50)
        expected = sockets | servers
        listed = [name_of(one) for codes, _, _ in self.rows for one in codes]
        # socket(fileno=fd) has a row besides that of socket().
        listed.remove("socket")
        self.assertEqual(sorted(expected - set(listed)), [], "missing")
        self.assertEqual(sorted(set(listed) - expected), [], "not Python's")
        self.assertEqual(len(listed), len(set(listed)), "twice")

    def test_what_is_the_same_is_declared(self):
        same = [declaration_of(one) for codes, ours, _ in self.rows if ours.startswith("the same")
                for one in codes]
        self.assertGreater(len(same), 100)
        self.assert_declared(same)

    def test_every_class_of_socketserver_is_declared(self):
        self.assert_declared(server_classes())

    def test_every_name_of_ours_is_declared(self):
        ours = set()
        for _, column, notes in self.rows:
            for one in code(column):
                ours.update(re.findall(r"(?<!std::)\b\w+\(", one))
                ours.update(re.findall(r"^\w+$|^\w+(?=<)|\b\w+(?=::)", one))
            for one in code(notes):
                ours.update(re.findall(r"\b(?:sk|server)\.(\w+\()", one))
                ours.update(re.findall(r"^[A-Za-z]\w+(?:$|(?=\(\)$))", one))
        self.assertGreater(len(ours), 40)
        self.assert_declared(ours - {"std"})

    def test_every_header_of_ours_is_there(self):
        headers = set(re.findall(r"<(thinsock/\w+\.hpp)>", MANUAL.read_text()))
        self.assertGreater(len(headers), 5)
        self.assertEqual([one for one in headers if not (INCLUDE / one).exists()], [])

    def assert_declared(self, names):
        missing = [name for name in names
                   if not re.search(r"(?<![\w.])" + re.escape(name) + r"(?:(?<=\()|\b)",
                                    self.declarations)]
        self.assertEqual(missing, [])


class Programs(unittest.TestCase):
    def test_the_programs_of_the_readme_are_samples(self):
        samples = [sample.read_text() for sample in (ROOT / "samples").glob("*.cpp")]
        blocks = re.findall(r"```cpp\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
        programs = [block for block in blocks if block.startswith("#include")]
        self.assertEqual(len(programs), 3)
        for program in programs:
            self.assertTrue(any(program in sample for sample in samples), program)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
