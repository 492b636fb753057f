"""Runs the samples as a user would, against peers that are not ours: Python's socket and nc."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import unittest

from sample import PATIENCE, connected, run, running


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
            client = connected(server)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
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

        def serve(listener):
            conn, _ = listener.accept()
            with conn:
                received.append(conn.recv(1024))
                conn.sendall(b"Gun!!")

        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(PATIENCE)
            serving = threading.Thread(target=serve, args=[listener])
            serving.start()
            done = run("hello_client", *listener.getsockname())
            serving.join()
        self.assertEqual((done.returncode, done.stdout), (0, "server says Gun!!\n"))
        self.assertEqual(received, [b"Hello!!"])

    def test_says_where_nobody_answers(self):
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            port = holder.getsockname()[1]
            done = run("hello_client", "127.0.0.1", port)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(f"connect 127.0.0.1:{port}: Connection refused", done.stderr)


class UpperServer(unittest.TestCase):
    def test_answers_the_client_of_pythons_documentation(self):
        with running("upper_server") as server:
            for words in ("hello world with TCP", "python is nice"):
                with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
                    sock.settimeout(PATIENCE)
                    sock.connect(("127.0.0.1", server.port))
                    sock.sendall(bytes(words + "\n", "utf-8"))
                    self.assertEqual(str(sock.recv(1024), "utf-8"), words.upper() + "\n")

    def test_ctrl_c_ends_it_though_a_client_stays(self):
        with running("upper_server") as server:
            with connected(server) as client:
                server.send_signal(signal.SIGINT)
                with contextlib.suppress(ConnectionResetError):  # If it was not accepted yet.
                    self.assertEqual(client.recv(1024), b"")
                self.assertEqual(server.wait(PATIENCE), 0)


class EchoServer(unittest.TestCase):
    def test_serves_many_clients_at_once(self):
        with running("echo_server") as server:
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(
                    connected(server))
                    for _ in range(50)]
                for number, client in enumerate(reversed(clients)):
                    client.sendall(b"client %d" % number)
                for number, client in enumerate(reversed(clients)):
                    self.assertEqual(client.recv(1024), b"client %d" % number)

    def test_ctrl_c_ends_it_though_clients_stay(self):
        with running("echo_server") as server:
            with connected(server) as client:
                client.sendall(b"abc")
                self.assertEqual(client.recv(1024), b"abc")
                server.send_signal(signal.SIGINT)
                self.assertEqual(client.recv(1024), b"")
                self.assertEqual(server.wait(PATIENCE), 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
