"""Ends every sample server by Ctrl-C in each state it can be in, and starts every sample with
arguments that cannot work."""

import contextlib
import itertools
import pathlib
import signal
import socket
import sys
import time
import unittest

from sample import ALL, ARGUMENTS, FILES, PATIENCE, SERVERS, InFolder, connected, run

SLACK = 0.1 + 0.3  # seconds: what a stop may take, and what the machine may need besides
HTTP = b" HTTP/1.1\r\nHost: x\r\n\r\n"
FTP = b"USER user\r\nPASS pw\r\nEPSV\r\nSTOR new\r\n"

# What brings a handler to the middle of something: sent, then awaited, and sent.
BUSY = {
    "broadcast_chat": (b"", b"has come\n", b"half a li"),
    "chat_server": (b"Hello!\n", None, b""),
    "echo_server": (b"x", b"x", b""),
    "exec_server": (b"echo; sleep 1000\n", b"stdout 1\n\n", b"sleep 1000\n" * 2700),
    "ftp_server": (FTP, b"150 The transfer starts\r\n", b""),
    "http_server": (b"GET /large" + HTTP, b"\r\n\r\n", b""),
    "json_server": (b"{}\n", b"}\n", b"{"),
    "members_only": (b"", b"Welcome, 127.0.0.1!\n", b"x"),
    "operator_server": (b"Hello!\n", None, b""),
    "port_forwarder": (b"", b"x", b"x"),
    "unix_echo_server": (b"x", b"x", b""),
    "upload_server": (b"post|new|5\n", b"have|0\n", b"12"),
    "upper_server": (b"", b"", b""),
    "upper_stream_server": (b"x\n", b"X\n", b"x"),
}
GRACE = {"ftp_server": 1, "http_server": 1, "port_forwarder": 1}  # seconds for what is under way


class Ending(InFolder):
    @contextlib.contextmanager
    def in_state(self, state, server, name):
        """The client of a server that is idle, or has a silent client, or a handler at work."""
        if state == "idle" or name.startswith("udp"):
            yield None
            return
        with connected(server) as client:
            sent, awaited, then = BUSY.get(name, (b"", b"", b"")) if state == "busy" else 3 * (b"",)
            client.sendall(sent)
            received = b""
            while awaited and not received.endswith(awaited):
                received += client.recv(1)
            printed = "" if awaited is None else "> "  # The prompt of those who wait for a person.
            while not printed.endswith("> "):
                printed += server.stdout.read(1)
            client.sendall(then)
            yield client

    def seconds_to_end(self, name, state, number):
        with self.serving(name) as server, self.in_state(state, server, name):
            start = time.monotonic()
            server.send_signal(number)
            self.assertEqual(server.wait(PATIENCE), 0)
            return time.monotonic() - start

    def check(self, name, state, number):
        """Tries again, because the machine may be busy with other tests."""
        may_be_busy = state == "busy" or name == "port_forwarder"
        limit = SLACK + (GRACE.get(name, 0) if may_be_busy else 0)
        with self.subTest(name, state=state, signal=number):
            seconds = [self.seconds_to_end(name, state, number)]
            while seconds[-1] > limit and len(seconds) < 3:
                seconds.append(self.seconds_to_end(name, state, number))
            self.assertLess(min(seconds), limit)

    def test_ctrl_c_ends_every_server_in_every_state(self):
        for name, state in itertools.product(SERVERS, ("idle", "silent", "busy")):
            self.check(name, state, signal.SIGINT)

    def test_so_does_sigterm(self):
        for name in SERVERS:
            self.check(name, "idle", signal.SIGTERM)

    def test_a_request_under_way_has_its_grace(self):
        for name, grace in GRACE.items():
            with self.subTest(name):
                self.assertGreater(self.seconds_to_end(name, "busy", signal.SIGINT), grace)

    def test_a_second_ctrl_c_kills(self):
        for name in GRACE:
            with (self.subTest(name), self.serving(name, status=-signal.SIGINT) as server,
                  self.in_state("busy", server, name)):
                server.send_signal(signal.SIGINT)
                while self.catches(server, signal.SIGINT):
                    pass
                server.send_signal(signal.SIGINT)
                self.assertEqual(server.wait(PATIENCE), -signal.SIGINT)

    @staticmethod
    def catches(process, number):
        status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        return int(status.partition("SigCgt:")[2].split()[0], 16) >> number - 1 & 1


class Starting(InFolder):
    def assert_fails(self, says, name, *args):
        with self.subTest(name, args=args):
            done = run(name, *args, input="x\n", cwd=self.folder)
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stderr, rf"\A.*{says}.*\n\Z")

    def test_arguments_that_make_no_sense_get_the_usage(self):
        for name in ALL:
            usage = rf"usage: {name}\b"
            if name in ARGUMENTS:
                self.assert_fails(usage, name)
            if not name.startswith("unix"):
                for port in "http", "65536", "99999999999":
                    if name != "upper_client" or port.isdigit():  # Else it is a word to send.
                        self.assert_fails(usage, name, *self.arguments(name), "127.0.0.1", port)

    def test_a_server_that_is_not_there_is_named(self):
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            port = holder.getsockname()[1]
            for name in ALL:
                if name.endswith("client") and not name.startswith("udp"):
                    where = self.where(name, port)
                    self.assert_fails(f"{where[0]}.*: (Connection refused|No such file)", name,
                                      *self.arguments(name), *where)

    def test_an_address_in_use_is_named(self):
        kind = lambda name: socket.SOCK_DGRAM if name.startswith("udp") else socket.SOCK_STREAM
        with socket.socket(socket.AF_UNIX) as unix:
            unix.bind(str(self.folder / "socket"))
            unix.listen()
            for name in SERVERS:
                with socket.socket(type=kind(name)) as taken:
                    taken.bind(("127.0.0.1", 0))
                    where = self.where(name, taken.getsockname()[1])
                    self.assert_fails(f"{where[0]}.*: Address already in use", name,
                                      *self.arguments(name), *where)

    def test_a_file_that_is_not_there_is_an_error(self):
        for name in set(FILES).intersection(ALL):
            arguments = [*ARGUMENTS[name][:-1], "/no/such"]
            self.assert_fails("No such file or directory", name, *arguments, "127.0.0.1", 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
