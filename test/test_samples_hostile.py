"""Attacks every sample server. Afterwards it must serve an honest client, and have kept nothing."""

import concurrent.futures
import contextlib
import pathlib
import random
import socket
import subprocess
import sys
import threading
import unittest

from sample import PATIENCE, SERVERS, WAYS_TO_VANISH, InFolder, connected, reset

ATTACKS = 300
AT_ONCE = 8
MOST_MEMORY = 16_000_000  # bytes that the attacks may take
HTTP = b"GET /large HTTP/1.1\r\nHost: x\r\nRange: bytes=0-0\r\n\r\n"
FTP = b"USER user\r\nPASS pw\r\nCWD ..\r\nSIZE large\r\nQUIT\r\n"

# What an honest client sends, and what comes in the answer. Other servers have a person or a server
# behind them, which an attack would keep busy.
HONEST = {
    "broadcast_chat": (b"", b"has come\n"),
    "echo_server": (b"x\n", b"x\n"),
    "exec_server": (b"echo\n", b"exit 0\n"),
    "ftp_server": (FTP, b"221 Goodbye\r\n"),
    "hello_server": (b"Hello!", b"Gun!!"),
    "http_server": (HTTP, b"\r\n\r\n\0"),
    "json_server": (b"{}\n", b"}\n"),
    "members_only": (b"x", b"!\n"),
    "select_echo_server": (b"x", b"x"),
    "tls_echo_server": (b"\x16\x03\x01\x02\0\1", b""),
    "udp_upper_server": (b"x", b"X"),
    "unix_echo_server": (b"x", b"x"),
    "upload_server": (b"post|new|0\n", b"have|0\n"),
    "upper_server": (b"x", b"X"),
    "upper_stream_server": (b"x\n", b"X\n"),
}


def mutated(request, chance):
    """The request, perhaps several times, with bytes changed, lost and repeated."""
    data = bytearray(request * chance.randint(1, 4))
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(data) + 1)
        data[at:at + chance.randint(0, 3)] = chance.choice(
            (b"", b"\0", b"\n", b"|", b"../", b"%00", b"-1", b"9" * 30, chance.randbytes(2)))
    return bytes(data)


def vanish(client, request, chance):
    chance.choice(WAYS_TO_VANISH)(client)


def close_own_half(client, request, chance):
    client.shutdown(socket.SHUT_WR)
    while client.recv(65536):
        pass


def send_an_endless_line(client, request, chance):
    for _ in range(64):
        client.sendall(b"x" * 65536)


def read_nothing(client, request, chance):
    """It gives up once the server's answers and its own requests do not fit any more."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(0.05)
    for _ in range(2000):
        client.sendall(request or b"x\n")
    reset(client)


def send_noise(client, request, chance):
    client.sendall(chance.randbytes(chance.choice((1, 100, 65536))))


def send_mutated(client, request, chance):
    client.sendall(mutated(request, chance))
    client.settimeout(0.02)
    client.recv(65536)


HARMLESS = (vanish, close_own_half, send_an_endless_line, read_nothing)
FUZZING = (send_noise, send_mutated)


class Hostile(InFolder):
    def attack(self, name, server, seed):
        chance = random.Random(seed)
        # exec_server would run what it is sent.
        attack = chance.choice(HARMLESS if name == "exec_server" else HARMLESS + FUZZING)
        with contextlib.suppress(ConnectionError, TimeoutError), connected(server) as client:
            client.settimeout(1)
            attack(client, HONEST[name][0], chance)

    def send_datagram(self, name, server, seed):
        chance = random.Random(seed)
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.sendto(chance.randbytes(chance.choice((0, 1, 100, 65507))), server.address)

    def check_honest(self, name, server):
        request, end = HONEST[name]
        with (self.datagrams(server) if name.startswith("udp") else connected(server)) as client:
            client.sendall(request)
            answer = b""
            while end not in answer and (piece := client.recv(65536)):
                answer += piece
            self.assertIn(end, answer)

    def datagrams(self, server):
        client = socket.socket(type=socket.SOCK_DGRAM)
        client.settimeout(PATIENCE)
        client.connect(server.address)
        return client

    def sockets(self, server):
        listed = subprocess.run(["ls", "-l", f"/proc/{server.pid}/fd"], capture_output=True)
        return listed.stdout.count(b" socket:")

    def check(self, name):
        with self.serving(name, patience=5 * PATIENCE) as server:
            log = threading.Thread(target=server.stdout.buffer.read)  # Or its pipe would be full.
            log.start()
            before = self.sockets(server)
            self.check_honest(name, server)
            memory = self.memory_peak(server)
            attack = self.send_datagram if name.startswith("udp") else self.attack
            with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda seed: attack(name, server, seed), range(ATTACKS)))
            self.check_honest(name, server)
            self.until(lambda: self.sockets(server) <= before)
            if b"san_init" not in pathlib.Path(server.args[0]).read_bytes():
                self.assertLess(self.memory_peak(server) - memory, MOST_MEMORY)
        log.join()

    def test_attacks_leave_every_server_as_it_was(self):
        for name in HONEST.keys() & {*SERVERS}:
            with self.subTest(name):
                self.check(name)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
