"""Runs the samples that speak TLS against OpenSSL's own programs, curl and Python's ssl."""

import contextlib
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest

from sample import FOLDER, PATIENCE, connected, make_certificate, python_server, run, running

PIECE = 1 << 16
DATA = os.urandom(20 * PIECE) * 16


def received(conn):
    """All that comes until the end."""
    return b"".join(iter(lambda: conn.recv(65536), b""))


@unittest.skipUnless(os.path.exists(os.path.join(FOLDER, "tls_client")), "built without OpenSSL")
class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.files = [cls.folder / "CERT", cls.folder / "KEY"]
        make_certificate(cls.folder)

    def serving(self, **options):
        return running("tls_echo_server", *self.files, **options)

    def wrapped(self, client):
        context = ssl.create_default_context(cafile=self.files[0])
        return context.wrap_socket(client, server_hostname="localhost")

    @contextlib.contextmanager
    def s_server(self, *options):
        """The port where OpenSSL's server sends every line back in reverse."""
        command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", self.files[0],
                   "-key", self.files[1], "-rev", *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL) as server:
            try:
                while not (line := server.stdout.readline()).startswith(b"ACCEPT"):
                    self.assertIsNone(server.poll())
                yield int(line.split(b":")[-1])
            finally:
                server.kill()

    def test_server_sends_back_what_python_sends(self):
        with self.serving() as server, self.wrapped(connected(server)) as client:
            for begin in range(0, len(DATA), PIECE):  # An SSLSocket is for one thread.
                client.sendall(DATA[begin:begin + PIECE])
                got = b""
                while len(got) < PIECE:
                    data = client.recv(65536)
                    self.assertNotEqual(data, b"")
                    got += data
                self.assertTrue(got == DATA[begin:begin + PIECE])
            client.unwrap().close()

    def test_server_answers_openssl_and_curl(self):
        with self.serving() as server:
            command = ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{server.port}",
                       "-CAfile", self.files[0], "-verify_return_error", "-verify_hostname",
                       "localhost"]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
                                  stderr=subprocess.DEVNULL) as client:
                client.stdin.write(b"hello\n")
                self.assertEqual(client.stdout.readline(), b"hello\n")
                client.kill()
            done = subprocess.run(["curl", "-sS", "--http0.9", "-m", "4", "--cacert", self.files[0],
                                   "--resolve", f"localhost:{server.port}:127.0.0.1",
                                   f"https://localhost:{server.port}/x"],
                                  capture_output=True, timeout=PATIENCE)
            self.assertTrue(done.stdout.startswith(b"GET /x HTTP/1.1\r\n"), done)

    def test_server_survives_what_is_no_tls(self):
        with self.serving(stderr=subprocess.DEVNULL) as server:
            for data in (b"", b"GET / HTTP/1.0\r\n\r\n", os.urandom(10000), b"\x16\x03\x01\x02\x00"):
                with connected(server) as client, contextlib.suppress(OSError):
                    client.sendall(data)
                    client.shutdown(socket.SHUT_WR)
                    received(client)
            with self.wrapped(connected(server)) as client:
                client.sendall(b"x")
                self.assertEqual(client.recv(1), b"x")

    def test_ctrl_c_ends_the_server_within_a_read(self):
        with (self.serving(stderr=subprocess.PIPE) as server, server.stderr,
              self.wrapped(connected(server)) as client):
            client.sendall(b"x")
            self.assertEqual(client.recv(1), b"x")
            server.send_signal(signal.SIGINT)
            self.assertEqual(server.wait(PATIENCE / 4), 0)
            self.assertEqual(server.stderr.read(), "")

    def test_client_talks_to_openssl(self):
        for version in "-tls1_2", "-tls1_3":
            with self.subTest(version), self.s_server(version) as port:
                done = run("tls_client", self.files[0], "localhost", port, input="hello\nworld\n")
                self.assertEqual((done.returncode, done.stdout, done.stderr),
                                 (0, "olleh\ndlrow\n", ""))

    def test_client_talks_to_ours(self):
        with self.serving() as server:
            done = run("tls_client", self.files[0], "localhost", server.port, input="hello\n")
            self.assertEqual((done.returncode, done.stdout), (0, "hello\n"))

    def test_client_trusts_neither_strangers_nor_another_host(self):
        with self.s_server() as port, tempfile.TemporaryDirectory() as folder:
            make_certificate(pathlib.Path(folder))
            for trusted, host in ((pathlib.Path(folder, "CERT"), "localhost"),
                                  (self.files[0], "127.0.0.1")):
                with self.subTest(host):
                    done = run("tls_client", trusted, host, port, input="secret\n")
                    self.assertEqual((done.returncode, done.stdout, done.stderr),
                                     (1, "", "TLS: certificate verify failed\n"))

    def test_a_timeout_of_the_client_holds_in_the_handshake(self):
        with python_server(received) as address:
            start = time.monotonic()
            done = run("tls_client", self.files[0], *address, input="")
            self.assertEqual((done.returncode, done.stderr), (1, "TLS: Connection timed out\n"))
            self.assertAlmostEqual(time.monotonic() - start, 5, delta=1)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
