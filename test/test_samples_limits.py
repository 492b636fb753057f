"""Goes to the limits that the sample servers promise: of clients, of silence, of what one may send."""

import concurrent.futures
import contextlib
import os
import pathlib
import select
import socket
import sys
import time
import unittest

from sample import PATIENCE, SERVERS, InFolder, connected, line_of

UPLOAD = b"post|new|5000000\n"
HTTP = b"GET /large HTTP/1.1\r\nHost: x\r\n"

# What a client sends first and then every second, and after how many seconds it is left.
SLOW = [
    ("chat_server", b"", b"", 60), ("echo_server", b"x", b"", 60),
    ("exec_server", b"true\n", b"", 60), ("ftp_server", b"", b"", 30),
    ("ftp_server", b"", b"NOOP\r\n", 30), ("hello_server", b"", b"", 5),
    ("http_server", b"", b"", 10), ("http_server", HTTP, b"X: y\r\n", 5),
    ("json_server", b"{}\n", b"", 60), ("members_only", b"x", b"", 30),
    ("operator_server", b"", b"", 60), ("port_forwarder", b"x", b"", 60),
    ("tls_echo_server", b"", b"", 10), ("tls_echo_server", b"\x16\x03\x01\x02\0\1", b"\0", 10),
    ("unix_echo_server", b"x", b"", 60), ("upload_server", b"", b"", 30),
    ("upload_server", UPLOAD, b"x", 30), ("upper_server", b"", b"", 30),
    ("upper_stream_server", b"", b"", 30), ("upper_stream_server", b"", b"x\n", 60),
]

MOST = {"broadcast_chat": 200, "echo_server": 200, "exec_server": 100, "ftp_server": 200,
        "http_server": 100, "json_server": 200, "members_only": 200, "operator_server": 100,
        "port_forwarder": 200, "tls_echo_server": 200, "unix_echo_server": 200,
        "upload_server": 100}


class Limits(InFolder):
    def time_until_left(self, name, first, again):
        with self.serving(name, patience=5 * PATIENCE) as server, connected(server) as client:
            start = time.monotonic()
            with contextlib.suppress(ConnectionError):
                client.sendall(first)
                while not select.select([client], [], [], 0.5)[0] or client.recv(65536):
                    client.sendall(again)
                    select.select([], [], [], 0.5)
            took = time.monotonic() - start
        return took

    def time_until_killed(self):
        with (self.serving("exec_server", patience=5 * PATIENCE) as server,
              connected(server) as client):
            client.settimeout(5 * PATIENCE)
            client.sendall(b"sleep 1000\n")
            start = time.monotonic()
            self.assertEqual(line_of(client), b"exit 137\n")
            return time.monotonic() - start

    def test_who_is_silent_or_slow_is_left_and_a_silent_command_killed(self):
        rows = [row for row in SLOW if row[0] in SERVERS]
        with concurrent.futures.ThreadPoolExecutor(len(rows) + 1) as pool:
            killed = pool.submit(self.time_until_killed)
            times = [pool.submit(self.time_until_left, *row[:3]) for row in rows]
            for (name, first, again, limit), took in zip(rows, times):
                with self.subTest(name, first=first, again=again):
                    self.assertAlmostEqual(took.result(), limit + 1, delta=2.5)
            self.assertAlmostEqual(killed.result(), 60, delta=2.5)

    def test_more_clients_than_that_wait(self):
        for name in MOST.keys() & {*SERVERS}:
            with (self.subTest(name), self.serving(name) as server,
                  contextlib.ExitStack() as stack):
                for _ in range(MOST[name] + 20):
                    stack.enter_context(connected(server))
                tasks = pathlib.Path(f"/proc/{server.pid}/task")
                self.until(lambda: len(os.listdir(tasks)) > MOST[name])
                select.select([], [], [], 0.1)  # There is nothing that tells of no more threads.
                self.assertLess(len(os.listdir(tasks)), MOST[name] + 5)

    @unittest.skipUnless("json_server" in SERVERS, "built without nlohmann-json")
    def test_a_long_or_deep_message_takes_little_memory(self):
        with self.serving("json_server") as server:
            before = self.memory_peak(server)
            for line in (b"[" * (1 << 24), b"[" * 65000, b'{"a":' * 13000, b"[" * 10):
                with connected(server) as client, contextlib.suppress(ConnectionError):
                    client.sendall(line + b"\n")
                    self.assertIn(b"too deeply" if len(line) < 65536 else b"", line_of(client))
            self.assertLess(self.memory_peak(server) - before, 20_000_000)

    def test_commands_of_a_client_that_has_left_are_not_run(self):
        def work(server):
            """The page faults of its children that have ended."""
            return int(pathlib.Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()[8])

        with self.serving("exec_server") as server:
            with connected(server) as client:
                client.sendall(b"true\n")
                self.assertEqual(line_of(client), b"exit 0\n")
            one = work(server)
            with connected(server) as client:
                client.sendall(b"echo; sleep 1000\n" + b"true\n" * 2700)
                self.assertEqual(line_of(client) + line_of(client), b"stdout 1\n\n")
            self.until(lambda: len(os.listdir(f"/proc/{server.pid}/fd")) < 8)
            self.assertLess(work(server) - one, 10 * one)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
