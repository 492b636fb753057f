"""Runs the samples that send everything back, and all clients that somebody types at."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

import pexpect

from sample import (FOLDER, PATIENCE, WAYS_TO_VANISH, at_terminal, connected, line_of,
                    python_server, run, running)

NOT_UTF8 = b"\xff\xfe \xc3"
LONG = b"x" * (1 << 20)


class EveryClient(unittest.TestCase):
    NAMES = ("chat_client", "echo_client", "unix_echo_client")

    @contextlib.contextmanager
    def served(self, name, serve):
        """How to run that client against that server in Python."""
        with self.subTest(name=name), tempfile.TemporaryDirectory() as folder:
            unix = (socket.AF_UNIX, folder + "/sock") if name.startswith("unix") else ()
            with python_server(serve, *unix) as address:
                yield [name, address] if unix else [name, *address]

    def test_prints_what_comes_back(self):
        def serve(conn):
            with conn.makefile("rb") as file:
                conn.sendall(file.readline())

        for line in (b"Hello!\n", b"\n", NOT_UTF8 + b"\n", LONG + b"\n"):
            for name in self.NAMES:
                with self.served(name, serve) as command:
                    done = run(*command, input=line, text=False)
                    self.assertEqual(done.returncode, 0)
                    self.assertTrue(done.stdout == b"> " + line + b"> ", done.stdout[:80])

    def test_ctrl_d_ends_it(self):
        for name in self.NAMES:
            with self.served(name, line_of) as command, at_terminal(*command) as client:
                client.expect_exact("> ")
                client.sendeof()
                client.expect(pexpect.EOF)
                client.close()
                self.assertEqual(client.exitstatus, 0)

    def test_exit_ends_that_of_an_echo_server(self):
        def serve(conn):
            conn.sendall(line_of(conn))
            received.append(conn.recv(9))

        received = []
        for name in self.NAMES[1:]:
            with self.served(name, serve) as command:
                done = run(*command, input="Hello!\nexit\nmore\n")
                self.assertEqual((done.returncode, done.stdout), (0, "> Hello!\n> "))
        self.assertEqual(received, [b"", b""])

    def test_byebye_ends_that_of_a_chat(self):
        received = []
        with self.served("chat_client", lambda conn: received.extend([line_of(conn), conn.recv(9)])
                         ) as command:
            done = run(*command, input="ByeBye\nmore\n")
        self.assertEqual((done.returncode, done.stdout), (0, "> "))
        self.assertEqual(received, [b"ByeBye\n", b""])

    def test_a_servers_byebye_ends_that_of_a_chat(self):
        def serve(conn):
            line_of(conn)
            conn.sendall(b"ByeBye\n")

        with self.served("chat_client", serve) as command:
            done = run(*command, input="Hello!\nmore\n")
            self.assertEqual((done.returncode, done.stdout), (0, "> ByeBye\n"))

    def test_says_that_the_server_has_gone(self):
        for vanish in WAYS_TO_VANISH:
            for name in self.NAMES:
                with self.served(name, lambda conn: (line_of(conn), vanish(conn))) as command:
                    done = run(*command, input="one\ntwo\nthree\n")
                    self.assertRegex(done.stdout + done.stderr,
                                     "the server has (left|gone)|Connection reset|Broken pipe")

    def test_that_of_an_echo_server_talks_to_ours(self):
        with running("echo_server") as server:
            with at_terminal("echo_client", "127.0.0.1", server.port) as client:
                client.sendline("Hello!")
                client.expect_exact("Hello!\r\n")


class SelectEchoServer(unittest.TestCase):
    NAME = "select_echo_server"

    def test_survives_clients_that_vanish(self):
        with running(self.NAME) as server:
            for vanish in WAYS_TO_VANISH:
                vanish(connected(server))
            with connected(server) as client:
                client.sendall(b"hello\n")
                self.assertEqual(client.recv(1024), b"hello\n")

    def test_serves_many_clients_at_once(self):
        with running(self.NAME) as server:
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(
                    connected(server))
                    for _ in range(50)]
                for number, client in enumerate(reversed(clients)):
                    client.sendall(b"client %d" % number)
                for number, client in enumerate(reversed(clients)):
                    self.assertEqual(client.recv(1024), b"client %d" % number)


class EchoServer(SelectEchoServer):
    NAME = "echo_server"

    def test_ctrl_c_ends_it_though_clients_stay(self):
        with running("echo_server") as server:
            with connected(server) as client:
                client.sendall(b"abc")
                self.assertEqual(client.recv(1024), b"abc")
                server.send_signal(signal.SIGINT)
                self.assertEqual(client.recv(1024), b"")
                self.assertEqual(server.wait(PATIENCE), 0)


class UnixEchoServer(unittest.TestCase):
    def setUp(self):
        self.path = self.enterContext(tempfile.TemporaryDirectory()) + "/sock"
        self.server = self.enterContext(self.serving())

    @contextlib.contextmanager
    def serving(self):
        with subprocess.Popen([os.path.join(FOLDER, "unix_echo_server"), self.path],
                              stdout=subprocess.PIPE, text=True) as server:
            watchdog = threading.Timer(PATIENCE, server.kill)
            watchdog.start()
            try:
                self.assertEqual(server.stdout.readline(), f"listening on {self.path}\n")
                yield server
            finally:
                watchdog.cancel()
                server.kill()

    def connected(self):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect(self.path)
        return client

    def assert_serves(self):
        with self.connected() as client:
            client.sendall(b"Hello!")
            self.assertEqual(client.recv(1024), b"Hello!")

    def test_serves_many_clients_at_once(self):
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(self.connected()) for _ in range(50)]
            for number, client in enumerate(reversed(clients)):
                client.sendall(b"client %d" % number)
            for number, client in enumerate(reversed(clients)):
                self.assertEqual(client.recv(1024), b"client %d" % number)

    def test_sends_everything_back(self):
        data = NOT_UTF8 + b"\0\n" + LONG
        for command in (["nc", "-N", "-U", self.path], ["socat", "-t9", "-", "UNIX:" + self.path]):
            with self.subTest(command=command[0]):
                done = subprocess.run(command, input=data, stdout=subprocess.PIPE, timeout=PATIENCE)
                self.assertTrue(done.stdout == data, len(done.stdout))

    def test_survives_clients_that_vanish(self):
        for vanish in WAYS_TO_VANISH:
            vanish(self.connected())
        self.assert_serves()

    def test_takes_over_the_path_of_one_that_was_killed(self):
        self.server.kill()
        self.server.wait()
        self.assertTrue(os.path.exists(self.path))
        with self.serving():
            self.assert_serves()

    def test_leaves_the_path_to_one_that_runs(self):
        done = run("unix_echo_server", self.path)
        self.assertIn(f"{self.path}: Address already in use", done.stderr)
        self.assert_serves()

    def test_ctrl_c_ends_it_though_a_client_stays_and_removes_the_path(self):
        with self.connected():
            self.server.send_signal(signal.SIGINT)
            self.assertEqual(self.server.wait(PATIENCE), 0)
        self.assertFalse(os.path.exists(self.path))

    def test_talks_to_our_client(self):
        done = run("unix_echo_client", self.path, input="one\ntwo\nexit\n")
        self.assertEqual((done.returncode, done.stdout), (0, "> one\n> two\n> "))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
