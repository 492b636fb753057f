"""Runs the samples of several sockets or threads at once, and of a server with a constructor and a
hook of its own, against peers that are not ours."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

from sample import PATIENCE, at_terminal, connected, python_server, reset, running

DATA = os.urandom(1 << 20) * 20


def received(conn):
    """All that comes until the end."""
    return b"".join(iter(lambda: conn.recv(65536), b""))


class PortForwarder(unittest.TestCase):
    @contextlib.contextmanager
    def forwarding(self, serve, **options):
        """A client whose peer is a function in Python, behind the forwarder."""
        with (python_server(serve) as target, running("port_forwarder", *target, **options) as server,
              connected(server) as client):
            yield client

    def test_both_directions_flow_at_once(self):
        def echo(conn):
            while data := conn.recv(65536):
                conn.sendall(data)

        with self.forwarding(echo) as client:
            sender = threading.Thread(target=lambda: (client.sendall(DATA),
                                                      client.shutdown(socket.SHUT_WR)))
            sender.start()
            self.assertTrue(received(client) == DATA)
            sender.join()

    def test_the_clients_end_is_passed_on_and_the_answer_still_comes(self):
        with self.forwarding(lambda conn: conn.sendall(received(conn)[::-1])) as client:
            client.sendall(DATA)
            client.shutdown(socket.SHUT_WR)
            self.assertTrue(received(client) == DATA[::-1])

    def test_the_servers_end_is_passed_on_and_the_client_may_still_send(self):
        said = []

        def serve(conn):
            conn.sendall(b"go on")
            conn.shutdown(socket.SHUT_WR)
            said.append(received(conn))

        with self.forwarding(serve) as client:
            self.assertEqual(received(client), b"go on")
            client.sendall(b"thank you")
            client.shutdown(socket.SHUT_WR)
        self.assertEqual(said, [b"thank you"])

    def test_a_client_that_vanishes_ends_the_connection_to_the_server(self):
        ended = []
        with self.forwarding(lambda conn: (conn.sendall(b"x"), ended.append(received(conn)))) as client:
            self.assertEqual(client.recv(1), b"x")
            reset(client)
        self.assertEqual(ended, [b""])

    def test_netcat_and_curl_pass_through(self):
        with (tempfile.TemporaryDirectory() as folder, running("http_server", folder) as web,
              running("port_forwarder", "127.0.0.1", web.port) as server):
            pathlib.Path(folder, "data").write_bytes(DATA)
            got = subprocess.run(["curl", "-sS", f"http://127.0.0.1:{server.port}/data"],
                                 capture_output=True, timeout=PATIENCE).stdout
            self.assertTrue(got == DATA)
            got = subprocess.run(["nc", "-N", "127.0.0.1", str(server.port)], capture_output=True,
                                 input=b"GET /none HTTP/1.0\r\n\r\n", timeout=PATIENCE).stdout
            self.assertTrue(got.startswith(b"HTTP/1.1 404 Not Found\r\n"), got[:99])

    def test_goes_on_where_no_server_is_there(self):
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            with running("port_forwarder", *holder.getsockname(), stderr=subprocess.PIPE) as server:
                for _ in range(2):
                    with connected(server) as client:
                        self.assertEqual(client.recv(1), b"")
                    self.assertIn("Connection refused", server.stderr.readline())
                server.stderr.close()

    def test_ctrl_c_ends_it_though_the_server_takes_nothing(self):
        done = threading.Event()
        with (python_server(lambda conn: done.wait(PATIENCE)) as target,
              running("port_forwarder", *target) as server, connected(server) as client):
            client.settimeout(0.5)
            with contextlib.suppress(TimeoutError):
                client.sendall(DATA)
            server.send_signal(signal.SIGINT)
            self.assertEqual(server.wait(PATIENCE / 4), 0)
            done.set()


class Chat(unittest.TestCase):
    def assert_talk(self, one, other):
        for speaker, listener in ((one, other), (one, other), (other, one), (other, one)):
            speaker.sendline("Hello!")  # Twice each, as nobody has to wait for a turn.
            listener.expect_exact("Hello!\r\n")

    @contextlib.contextmanager
    def waiting(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with at_terminal("chat", "127.0.0.1", port) as first:
            first.expect_exact(f"waiting on 127.0.0.1:{port}\r\n")
            yield first, port

    def test_talks_to_itself_and_to_foreign_clients(self):
        for name, *address in (("chat", "127.0.0.1"), ("nc", "127.0.0.1"), ("socat",)):
            with self.subTest(name), self.waiting() as (first, port):
                address += [port] if address else ["-", f"TCP:127.0.0.1:{port}"]
                with at_terminal(shutil.which(name) or name, *address) as second:
                    first.expect_exact("connected to 127.0.0.1:")
                    self.assert_talk(first, second)
                    self.assert_talk(second, first)

    def test_talks_to_a_foreign_listener(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        with at_terminal(shutil.which("nc"), "-v", "-l", "127.0.0.1", port) as first:
            first.expect("Listening on")
            with at_terminal("chat", "127.0.0.1", port) as second:
                second.expect_exact("connected to")
                self.assert_talk(first, second)

    def test_ends_when_the_other_one_leaves(self):
        with self.waiting() as (first, port):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as second:
                first.expect_exact("connected to")
                second.sendall(b"half a line")
            first.expect_exact("half a line\r\nthe other one has left\r\n")
            first.wait()
            self.assertEqual(first.exitstatus, 0)

    def test_ctrl_d_ends_what_one_says_but_not_what_one_hears(self):
        with self.waiting() as (first, port):
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as second:
                first.expect_exact("connected to")
                first.sendeof()
                self.assertEqual(second.recv(1), b"")
                second.sendall(b"Good night!\n")
                first.expect_exact("Good night!\r\n")
            first.expect_exact("the other one has left\r\n")


class MembersOnly(unittest.TestCase):
    def test_serves_members_and_nobody_else(self):
        with running("members_only", "127.0.0.", where=("0.0.0.0", "0")) as server:
            for host, greeting in (("127.0.0.1", b"Welcome, 127.0.0.1!\n"), ("127.0.0.9", b""),
                                   ("127.1.0.1", b"")):
                greeting = greeting or host.startswith("127.0.0.") and b"Welcome, 127.0.0.9!\n" or b""
                with socket.create_connection(("127.0.0.1", server.port), PATIENCE,
                                              (host, 0)) as client:
                    self.assertEqual(client.recv(100), greeting)
            server.send_signal(signal.SIGINT)
            self.assertEqual(server.stdout.read(), "2 served, 1 refused\n")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
