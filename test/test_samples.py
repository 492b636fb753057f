"""Runs the samples as a user would, against peers that are not ours: Python's socket and nc."""

import socket
import subprocess
import sys
import unittest

from sample import PATIENCE, connected, python_server, reset, run, running


class Quickstart(unittest.TestCase):
    def test_both_sides_print_what_they_received(self):
        done = run("quickstart")
        self.assertEqual(done.returncode, 0)
        self.assertEqual(sorted(done.stdout.split("\n")),
                         ["", "client received Gun!!", "server received Hello!!"])


class HelloServer(unittest.TestCase):
    def test_answers_pythons_client(self):
        with running("hello_server") as server:
            with connected(server) as client:
                client.sendall(b"Hello!!")
                self.assertEqual(client.recv(1024), b"Gun!!")
                self.assertEqual(client.recv(1024), b"")
                peer = client.getsockname()
            self.assertEqual(server.stdout.readline(), f"127.0.0.1:{peer[1]} says Hello!!\n")

    def test_answers_netcat(self):
        with running("hello_server") as server:
            done = subprocess.run(["nc", "-N", "127.0.0.1", str(server.port)], input=b"Hello!!",
                                  capture_output=True, timeout=PATIENCE)
            self.assertEqual(done.stdout, b"Gun!!")

    def test_outlives_a_client_that_resets(self):
        with running("hello_server") as server:
            reset(connected(server))
            self.assertIn("127.0.0.1", server.stdout.readline())
            with connected(server) as client:
                client.sendall(b"Hello!!")
                self.assertEqual(client.recv(1024), b"Gun!!")

    def test_a_port_in_use_is_named(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            done = run("hello_server", "127.0.0.1", port)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(f"bind 127.0.0.1:{port}: Address already in use", done.stderr)


class HelloClient(unittest.TestCase):
    def test_talks_to_a_server_in_python(self):
        received = []
        with python_server(lambda conn: (received.append(conn.recv(1024)),
                                         conn.sendall(b"Gun!!"))) as address:
            done = run("hello_client", *address)
        self.assertEqual((done.returncode, done.stdout), (0, "server says Gun!!\n"))
        self.assertEqual(received, [b"Hello!!"])

    def test_says_where_nobody_answers(self):
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            port = holder.getsockname()[1]
            done = run("hello_client", "127.0.0.1", port)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f"connect 127.0.0.1:{port}: Connection refused", done.stderr)


class Inspect(unittest.TestCase):
    def test_shows_each_address_and_who_won(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            done = run("inspect", "localhost", port)
            self.assertEqual(done.returncode, 0)
            self.assertRegex(done.stdout, rf"(?m)^127\.0\.0\.1:{port} +\d+\.\d\d ms  connected")
            self.assertRegex(done.stdout,
                             rf"create_connection.* ms  connected to 127\.0\.0\.1:{port}\n")

    def test_shows_the_options_of_the_connection(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            done = run("inspect", *listener.getsockname())
            for name in ("SO_SNDBUF", "SO_RCVBUF", "TCP_MAXSEG", "TCP_NODELAY", "SO_KEEPALIVE"):
                self.assertRegex(done.stdout, rf"(?m)^{name} +\d+$")

    def test_shows_why_nobody_was_reached(self):
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            done = run("inspect", *holder.getsockname())
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout.count(" ms  Connection refused\n"), 2)

    def test_names_a_host_that_cannot_be_found(self):
        done = run("inspect", "x" * 300, 80)  # Too long to ask anybody for it.
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("getaddrinfo xxx", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
