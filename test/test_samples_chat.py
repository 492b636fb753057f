"""Runs the samples in which people talk with each other, at terminals of their own: against
Python's socket, nc, socat, and the sample of the other side."""

import contextlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

import pexpect

from sample import PATIENCE, WAYS_TO_VANISH, at_terminal, connected, line_of, running

NOT_UTF8 = b"\xff\xfe \xc3"
LONG = b"x" * (1 << 20)


class AtTerminals(unittest.TestCase):
    """Somebody types at the server, and at each kind of client."""

    def serving(self, name):
        server = self.enterContext(at_terminal(name, "127.0.0.1", 0))
        server.expect(r"listening on 127\.0\.0\.1:(\d+)\r\n")
        server.port = int(server.match[1])
        server.address = ("127.0.0.1", server.port)
        return server

    @contextlib.contextmanager
    def client(self, name, server):
        """At a terminal too: ours, or a foreign one."""
        address = ["127.0.0.1", server.port]
        if name == "socat":
            address = ["-", f"TCP:127.0.0.1:{server.port}"]
        with self.subTest(client=name), at_terminal(shutil.which(name) or name, *address) as client:
            yield client

    def assert_ends(self, terminal, status, by=None):
        terminal.expect(pexpect.EOF)
        terminal.close()
        self.assertEqual((terminal.exitstatus, terminal.signalstatus), (status, by))


class ChatServer(AtTerminals):
    def setUp(self):
        self.server = self.serving("chat_server")

    def assert_serves(self):
        with connected(self.server) as client:
            self.server.expect_exact(f":{client.getsockname()[1]} has come")
            client.sendall(b"Hello!\n")
            self.server.expect_exact("Hello!\r\n> ")
            self.server.sendline("Who is there?")
            self.assertEqual(line_of(client), b"Who is there?\n")
        self.server.expect_exact("has left")

    def test_chats_in_turn_until_its_own_byebye(self):
        for name in ("nc", "socat", "chat_client"):
            with self.client(name, self.server) as client:
                for said, answer in (("Hello!", "Who is there?"), ("Me.", "ByeBye")):
                    client.sendline(said)
                    self.server.expect_exact(f"{said}\r\n> ")
                    self.server.sendline(answer)
                    client.expect_exact(answer)
                self.server.expect_exact("has left")

    def test_ends_with_the_clients_byebye_without_another_prompt(self):
        with connected(self.server) as client:
            client.sendall(b"ByeBye\n")
            self.server.expect(r"ByeBye\r\n127\.0\.0\.1:\d+ has left")
            self.assertEqual(client.recv(1), b"")

    def test_serves_one_after_the_other(self):
        with connected(self.server) as first, connected(self.server) as second:
            second.sendall(b"second\n")
            first.sendall(b"first\n")
            self.server.expect_exact("first\r\n> ")
            self.assertNotIn("second", self.server.before)
            self.server.sendline("ByeBye")
            self.server.expect_exact(f":{second.getsockname()[1]} has come")
            self.server.expect_exact("second\r\n> ")

    def test_survives_clients_that_vanish_without_a_prompt(self):
        for vanish in WAYS_TO_VANISH:
            with self.subTest(vanish=vanish.__name__):
                vanish(connected(self.server))
                self.server.expect_exact("has left")
                self.assertNotIn(" > ", self.server.before)
                self.assert_serves()

    def test_survives_clients_that_vanish_while_the_operator_types(self):
        for vanish in WAYS_TO_VANISH:
            with self.subTest(vanish=vanish.__name__):
                client = connected(self.server)
                client.sendall(b"Hello!\n")
                self.server.expect_exact("Hello!\r\n")
                self.server.expect_exact("> ")
                vanish(client)
                self.server.sendline("Who is there?")
                self.server.expect_exact("has left")
                self.assert_serves()

    def test_survives_any_bytes(self):
        with running("chat_server", stdin=subprocess.PIPE, errors="replace") as server:
            server.stdin.write("ok\nok\n")  # For a line that never ends there is no answer.
            server.stdin.close()
            printed = threading.Thread(target=server.stdout.read)
            printed.start()
            with connected(server) as client, contextlib.suppress(ConnectionError):
                client.sendall(LONG)
            for data in (NOT_UTF8 + b"\n", b"\0\n"):
                with connected(server) as client:
                    client.sendall(data)
                    self.assertEqual(line_of(client), b"ok\n")
            server.send_signal(signal.SIGINT)
            printed.join()

    def test_ctrl_c_ends_it_at_the_prompt(self):
        with connected(self.server) as client:
            client.sendall(b"Hello!\n")
            self.server.expect_exact("> ")
            self.server.sendintr()
            self.assert_ends(self.server, 0)

    def test_ctrl_d_ends_it_at_the_prompt(self):
        with connected(self.server) as client:
            client.sendall(b"Hello!\n")
            self.server.expect_exact("> ")
            self.server.sendeof()
            self.assert_ends(self.server, 0)
            self.assertEqual(client.recv(1), b"")


class OperatorServer(AtTerminals):
    def setUp(self):
        self.server = self.serving("operator_server")

    def answer(self):
        """Answers whoever is next with the port at the prompt."""
        self.server.expect(r"127\.0\.0\.1:(\d+) > ")
        self.server.sendline(self.server.match[1])

    def test_chats_with_each_kind_of_client(self):
        for name in ("nc", "socat", "chat_client"):
            with self.client(name, self.server) as client:
                client.sendline("Is anybody there?")
                self.server.expect_exact("says Is anybody there?\r\n")
                self.answer()
                client.expect_exact(self.server.match[1])

    def test_answers_each_of_many_clients_by_its_prompt_though_one_is_silent(self):
        with contextlib.ExitStack() as stack:
            silent, *clients = [stack.enter_context(connected(self.server)) for _ in range(50)]
            for client in clients:
                client.sendall(b"Hello!\n")
            for _ in clients:
                self.answer()
            for client in clients:
                self.assertEqual(line_of(client), b"%d\n" % client.getsockname()[1])

    def test_survives_clients_that_vanish_while_the_operator_types(self):
        for vanish in WAYS_TO_VANISH:
            with self.subTest(vanish=vanish.__name__), connected(self.server) as next_one:
                client = connected(self.server)
                client.sendall(b"Hello!\n")
                self.server.expect_exact(f"{client.getsockname()[1]} > ")
                vanish(client)
                next_one.sendall(b"Hello!\n")
                self.server.sendline("Who is there?")
                self.answer()
                self.assertEqual(line_of(next_one), b"%d\n" % next_one.getsockname()[1])

    def test_does_not_ask_for_an_answer_to_byebye(self):
        with connected(self.server) as leaves, connected(self.server) as stays:
            leaves.sendall(b"ByeBye\n")
            self.assertEqual(leaves.recv(1), b"")
            stays.sendall(b"Hello!\n")
            self.answer()
            self.assertEqual(line_of(stays), b"%d\n" % stays.getsockname()[1])

    def test_ctrl_c_ends_it_at_the_prompt(self):
        with connected(self.server) as client:
            client.sendall(b"Hello!\n")
            self.server.expect_exact(" > ")
            self.server.sendintr()
            self.assert_ends(self.server, 0)

    def test_ctrl_d_ends_it_at_the_prompt(self):
        with connected(self.server) as client:
            client.sendall(b"Hello!\n")
            self.server.expect_exact(" > ")
            self.server.sendeof()
            self.assert_ends(self.server, 0)


class Member:
    """Somebody in the room, who has read that he has come."""

    def __init__(self, server, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", server.port))
        self.name = "127.0.0.1:%d" % self.socket.getsockname()[1]
        self.file = self.socket.makefile("rb")
        self.hear(f"{self.name} has come")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def say(self, *lines):
        self.socket.sendall("".join(line + "\n" for line in lines).encode())

    def hear(self, wanted):
        """Reads on until that line has come."""
        while (line := self.file.readline()) != wanted.encode() + b"\n":
            assert line, f"the connection has ended before: {wanted}"


class BroadcastChat(AtTerminals):
    def setUp(self):
        self.server = self.enterContext(running("broadcast_chat"))

    def member(self, **options):
        return self.enterContext(Member(self.server, **options))

    def test_everyones_line_goes_to_everyone(self):
        members = [self.member() for _ in range(50)]
        for member in members:
            member.say("Hello, everybody!")
        said = {f"{member.name}: Hello, everybody!\n".encode() for member in members}
        members[0].hear(f"{members[-1].name} has come")
        for member in members[0], members[-1]:
            self.assertEqual({member.file.readline() for _ in members}, said)

    def test_each_kind_of_client_is_a_member(self):
        python = self.member()
        for name in ("nc", "socat"):
            with self.client(name, self.server) as client:
                client.expect(r"(\S+) has come")
                client.sendline("Hello, everybody!")
                python.hear(f"{client.match[1]}: Hello, everybody!")
                python.say("Hello, you!")
                client.expect_exact(f"{python.name}: Hello, you!")

    def test_says_who_has_left_and_goes_on(self):
        stays = self.member()
        for vanish in WAYS_TO_VANISH:
            with self.subTest(vanish=vanish.__name__), Member(self.server) as goes:
                goes.file.close()
                vanish(goes.socket)
                stays.hear(f"{goes.name} has left")
                stays.say("I am still here.")
                stays.hear(f"{stays.name}: I am still here.")

    def test_any_bytes_pass(self):
        writes, reads = self.member(), self.member()
        writes.socket.sendall(NOT_UTF8 + b"\0\n")
        self.assertEqual(reads.file.readline(), writes.name.encode() + b": " + NOT_UTF8 + b"\0\n")

    def test_survives_a_line_that_never_ends(self):
        stays = self.member()
        with Member(self.server) as goes, contextlib.suppress(ConnectionError):
            goes.socket.sendall(LONG)
        stays.say("I am still here.")
        stays.hear(f"{stays.name}: I am still here.")

    def test_who_does_not_read_is_thrown_out_and_holds_up_nobody(self):
        sleeps, writes = self.member(receive_buffer=4096), self.member()
        thrown_out = f"{sleeps.name} has left\n".encode()
        said = f"{writes.name}: {'x' * 1000}\n".encode()
        deadline = time.monotonic() + PATIENCE
        heard = set()
        while thrown_out not in heard:
            self.assertLess(time.monotonic(), deadline)
            writes.say(*["x" * 1000] * 20)
            for _ in range(20):
                heard.add(writes.file.readline())
        self.assertEqual(heard, {thrown_out, said})

    def test_ctrl_c_ends_it_though_members_stay(self):
        member = self.member()
        self.server.send_signal(signal.SIGINT)
        self.assertEqual(self.server.wait(PATIENCE), 0)
        member.file.read()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
