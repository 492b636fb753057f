"""Runs the samples that answer in upper case, over TCP and UDP."""

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import unittest

from sample import (PATIENCE, WAYS_TO_VANISH, at_terminal, connected, python_server,
                    reset, run, running)


class UpperServer(unittest.TestCase):
    def test_answers_the_client_of_pythons_documentation(self):
        with running("upper_server") as server:
            for words in ("hello world with TCP", "python is nice"):
                with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
                    sock.settimeout(PATIENCE)
                    sock.connect(("127.0.0.1", server.port))
                    sock.sendall(bytes(words + "\n", "utf-8"))
                    self.assertEqual(str(sock.recv(1024), "utf-8"), words.upper() + "\n")

    def test_says_who_wrote_what(self):
        with running("upper_server") as server, connected(server) as client:
            client.sendall(b"hello\n")
            name = "127.0.0.1:%d" % client.getsockname()[1]
            self.assertEqual(server.stdout.readline(), f"{name} wrote: hello\n")

    def test_leaves_what_is_not_ascii(self):
        with running("upper_server", errors="replace") as server, connected(server) as client:
            client.sendall(b"\xff\xc3 \xc3\xa4 a\0b\n")
            self.assertEqual(client.recv(1024), b"\xff\xc3 \xc3\xa4 A\0B\n")

    def test_survives_clients_that_vanish(self):
        with running("upper_server") as server:
            for vanish in WAYS_TO_VANISH:
                vanish(connected(server))
            with connected(server) as client:
                client.sendall(b"hello\n")
                self.assertEqual(client.recv(1024), b"HELLO\n")

    def test_ctrl_c_ends_it_though_a_client_stays(self):
        with running("upper_server") as server:
            with connected(server) as client:
                server.send_signal(signal.SIGINT)
                with contextlib.suppress(ConnectionResetError):  # If it was not accepted yet.
                    self.assertEqual(client.recv(1024), b"")
                self.assertEqual(server.wait(PATIENCE), 0)


class UpperStreamServer(unittest.TestCase):
    def test_answers_line_by_line(self):
        with running("upper_stream_server") as server, connected(server) as client:
            for line in (b"hello world\n", b"\n", b"\xff\xc3 a\0b\r\n"):
                client.sendall(line[:3])
                client.sendall(line[3:])
                self.assertEqual(client.recv(1024), line.upper())

    def test_says_who_wrote_what(self):
        with running("upper_stream_server") as server, connected(server) as client:
            client.sendall(b"one\ntwo\n")
            name = "127.0.0.1:%d" % client.getsockname()[1]
            self.assertEqual([server.stdout.readline(), server.stdout.readline()],
                             [f"{name} wrote: one\n", f"{name} wrote: two\n"])

    def test_answers_foreign_clients(self):
        with running("upper_stream_server") as server:
            for command in (["nc", "-N", "127.0.0.1", str(server.port)],
                            ["socat", "-t9", "-", f"TCP:127.0.0.1:{server.port}"]):
                with self.subTest(command=command[0]):
                    done = subprocess.run(command, input=b"one\ntwo\nhalf a li", timeout=PATIENCE,
                                          stdout=subprocess.PIPE)
                    self.assertEqual(done.stdout, b"ONE\nTWO\nHALF A LI")

    def test_answers_a_line_that_never_ends_in_pieces(self):
        with running("upper_stream_server") as server, connected(server) as client:
            printed = threading.Thread(target=server.stdout.read)
            printed.start()
            sending = threading.Thread(target=client.sendall, args=[b"x" * (1 << 20)])
            sending.start()
            received = 0
            while received < 1 << 20:
                data = client.recv(65536)
                self.assertEqual(data.strip(b"X"), b"")
                self.assertTrue(data)
                received += len(data)
            sending.join()
            server.send_signal(signal.SIGINT)
            printed.join()

    def test_serves_clients_that_come_at_once_one_after_the_other(self):
        with running("upper_stream_server") as server, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connected(server)) for _ in range(50)]
            for number, client in enumerate(clients):
                client.sendall(b"client %d\n" % number)
            for number, client in enumerate(clients):
                self.assertEqual(client.recv(1024), b"CLIENT %d\n" % number)
                client.close()

    def test_survives_clients_that_vanish(self):
        with running("upper_stream_server") as server:
            for vanish in WAYS_TO_VANISH:
                vanish(connected(server))
            with connected(server) as client:
                client.sendall(b"hello\n")
                self.assertEqual(client.recv(1024), b"HELLO\n")

    def test_ctrl_c_ends_it_though_a_client_stays(self):
        with running("upper_stream_server") as server, connected(server) as client:
            client.sendall(b"hello\n")
            self.assertEqual(client.recv(1024), b"HELLO\n")
            server.send_signal(signal.SIGINT)
            self.assertEqual(client.recv(1024), b"")
            self.assertEqual(server.wait(PATIENCE), 0)


class UpperClient(unittest.TestCase):
    def test_prints_what_it_sent_and_what_came(self):
        received = []
        with python_server(lambda conn: (received.append(conn.recv(1024)),
                                         conn.sendall(b"well done\n"))) as address:
            done = run("upper_client", "hello", "big world", *address)
        self.assertEqual((done.returncode, done.stdout),
                         (0, "Sent:     hello big world\nReceived: well done\n"))
        self.assertEqual(received, [b"hello big world\n"])

    def test_talks_to_both_servers(self):
        for name in ("upper_server", "upper_stream_server"):
            with self.subTest(name=name), running(name) as server:
                done = run("upper_client", "hello", 7, "127.0.0.1", server.port)
                self.assertEqual((done.returncode, done.stdout),
                                 (0, "Sent:     hello 7\nReceived: HELLO 7\n"))

    def test_says_that_the_server_has_gone(self):
        for vanish in (socket.socket.close, reset):
            with self.subTest(vanish=vanish.__name__):
                with python_server(lambda conn: (conn.recv(1024), vanish(conn))) as address:
                    done = run("upper_client", "hello", *address)
                self.assertNotEqual(done.returncode, 0)
                self.assertRegex(done.stderr, "the server has gone|Connection reset by peer")


class UdpUpper(unittest.TestCase):
    def client(self, server):
        client = self.enterContext(socket.socket(type=socket.SOCK_DGRAM))
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", server.port))
        return client

    def test_server_answers_the_client_of_pythons_documentation(self):
        with running("udp_upper_server") as server, socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE)
            sock.sendto(b"hello world\n", ("127.0.0.1", server.port))
            self.assertEqual(sock.recvfrom(1024), (b"HELLO WORLD\n", ("127.0.0.1", server.port)))
            name = "127.0.0.1:%d" % sock.getsockname()[1]
            self.assertEqual(server.stdout.readline(), f"{name} wrote: hello world\n")

    def test_server_answers_foreign_clients(self):
        with running("udp_upper_server") as server:
            for name, *args in (("nc", "-u", "127.0.0.1", server.port),
                                ("socat", "-", f"UDP:127.0.0.1:{server.port}")):
                with self.subTest(name=name), at_terminal(shutil.which(name), *args) as client:
                    client.sendline("hello")
                    client.expect_exact("HELLO\r\n")

    def test_server_answers_any_datagram(self):
        with running("udp_upper_server", errors="replace") as server:
            client = self.client(server)
            for data in (b"x" * 65507, b"\xff\xc3 a\0b"):
                client.send(data)
                self.assertEqual(client.recv(65535), data.upper())
                server.stdout.readline()  # Else the pipe is full.

    def test_server_ignores_an_empty_datagram(self):
        with running("udp_upper_server") as server:
            client = self.client(server)
            client.send(b"")
            client.send(b"hello")
            self.assertEqual(client.recv(1024), b"HELLO")

    def test_server_survives_clients_that_are_gone(self):
        with running("udp_upper_server") as server:
            for _ in range(50):
                with socket.socket(type=socket.SOCK_DGRAM) as gone:
                    gone.sendto(b"hello", ("127.0.0.1", server.port))
            client = self.client(server)
            client.send(b"hello")
            self.assertEqual(client.recv(1024), b"HELLO")

    def test_ctrl_c_ends_the_server(self):
        with running("udp_upper_server") as server:
            server.send_signal(signal.SIGINT)
            self.assertEqual(server.wait(PATIENCE), 0)

    def test_client_talks_to_ours(self):
        with running("udp_upper_server") as server:
            done = run("udp_upper_client", "127.0.0.1", server.port, input="one\ntwo\n")
            self.assertEqual((done.returncode, done.stdout),
                             (0, f"127.0.0.1:{server.port} answers ONE\n"
                                 f"127.0.0.1:{server.port} answers TWO\n"))

    def test_client_goes_on_where_nobody_answers(self):
        with socket.socket(type=socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            done = run("udp_upper_client", *silent.getsockname(), input="one\ntwo\n")
            self.assertEqual((done.returncode, done.stdout), (0, "no answer\nno answer\n"))

    def test_client_takes_a_late_answer_for_nothing(self):
        def serve():
            _, first = server.recvfrom(1024)
            _, second = server.recvfrom(1024)
            server.sendto(b"late", first)
            server.sendto(b"in time", second)

        with socket.socket(type=socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            server.settimeout(PATIENCE)
            thread = threading.Thread(target=serve)
            thread.start()
            done = run("udp_upper_client", *server.getsockname(), input="one\ntwo\n")
            thread.join()
            self.assertEqual(done.stdout, "no answer\n127.0.0.1:%d answers in time\n"
                             % server.getsockname()[1])



if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
