"""Programs on bad networks, where packets are lost, late, overtaken, fragments, or all gone:
`networks.py PROGRAM [MEGABYTES]`. PROGRAM is networks.cpp."""

import concurrent.futures
import contextlib
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from network import CLIENT, LEAVING, OTHER, SERVER, Network, inside

PATIENCE = 60  # seconds until a program counts as hung
SLACK = 4  # seconds that a busy machine may add to a time
CONNECTIONS = 32  # A single one would take a minute.
VANISHING = 20


class Networks(unittest.TestCase):
    def network(self, **options):
        network = Network(**options)
        self.addCleanup(network.close)
        return network

    def start(self, host, *args, prefix=()):
        """A program at that host, killed at the end of the test."""
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with inside(host.namespace):
            program = subprocess.Popen([*prefix, PROGRAM, *map(str, args)], text=True, **pipes)
        watchdog = threading.Timer(PATIENCE, program.kill)
        watchdog.start()
        for step in (program.communicate, program.kill, watchdog.cancel):  # The last one first.
            self.addCleanup(step)
        return program

    def serve(self, network, *args):
        """A server at the far host, and its port."""
        server = self.start(network.far, *args)
        return server, int(server.stdout.readline())

    def result(self, program):
        """What the program prints until it ends without an error."""
        out, err = program.communicate()
        self.assertEqual((program.returncode, err), (0, ""))
        return out.rstrip()

    def connect(self, network, port, source=CLIENT):
        """A connection from Python, on which the server has echoed a byte."""
        with inside(network.near.namespace):
            client = socket.create_connection((SERVER, port), PATIENCE, (source, 0))
        self.addCleanup(client.close)
        client.sendall(b"s")
        self.echo_time(client)
        return client

    def echo_time(self, client):
        start = time.monotonic()
        client.sendall(b".")
        self.assertEqual(client.recv(2), b".")
        return time.monotonic() - start

    def exchange(self, network, port):
        with self.connect(network, port) as client:
            data = os.urandom(BYTES // CONNECTIONS)
            sender = threading.Thread(
                target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
            sender.start()
            got = b"".join(iter(lambda: client.recv(65536), b""))
            sender.join()
            self.assertTrue(got == data)

    def test_every_byte_arrives(self):
        bad = {mtu: self.network(mtu=mtu, delay=0.05, loss=0.05, reordering=0.1)
               for mtu in (1280, 576)}
        ports = {mtu: self.serve(bad[mtu], "serve", "none")[1] for mtu in bad}
        programs = {how: self.start(bad[1280].near, "exchange", SERVER, ports[1280], how[0], BYTES,
                                    CONNECTIONS) for how in ("sendall", "lines", "file")}
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
            [*pool.map(lambda _: self.exchange(bad[576], ports[576]), range(CONNECTIONS))]
        times = f"Python, MTU 576: {time.monotonic() - start:.1f} s"
        for how, program in programs.items():
            times += f", {how}: {float(self.result(program)):.1f} s"
        counts = [sum(getattr(each, count) for each in bad.values())
                  for count in ("carried", "lost", "overtaken")]
        print(f"networks: {BYTES} bytes there and back: {times};",
              "{} packets carried, {} lost, {} overtaken".format(*counts))
        self.assertGreater(min(counts), counts[0] * 0.03)

    def callers(self, network, host, port, rows, prefix=()):
        """A program for each row, which waits at its step "go"."""
        programs = [self.start(network.near, "call", host, port, *row[0].split(), prefix=prefix)
                    for row in rows]
        for program in programs:
            self.assertEqual(program.stdout.readline(), "ready\n")
        return programs

    def go(self, programs):
        for program in programs:
            program.stdin.write("\n")
            program.stdin.flush()

    def expect_ends(self, what, rows, programs):
        """Each row has steps, after how many seconds at least and at most they end, and how."""
        results = [self.result(program).split(" ", 1) for program in programs]
        print(f"networks: {what}:", ", ".join(f"{row[0]}: {float(seconds):.2f} s"
                                              for row, (seconds, _) in zip(rows, results)))
        for (steps, least, most, end), (seconds, text) in zip(rows, results):
            with self.subTest(steps):
                self.assertEqual(text, end)
                self.assertTrue(least <= float(seconds) <= most + SLACK, seconds)

    def test_calls_end_after_the_link_is_cut(self):
        network = self.network()
        port = self.serve(network, "serve", "none")[1]
        there = f"{SERVER}:{port}"
        own = f"TimeoutError timeout {{}} {there}, after 1s: timed out"
        kernel = f"TimeoutError system {{}} {there}: Connection timed out"
        flowing = [
            ("connect timeout go sendall", 1, 1, own.format("sendall")),
            ("connect timeout go sendfile", 1, 1, own.format("sendfile")),
            ("connect user_timeout go sendall", 1, 1.7, kernel.format("sendall")),
            # sendfile(2) drops the ETIMEDOUT, because it returns how much it has sent before.
            ("connect user_timeout go sendfile", 1, 1.7,
             f"Error system sendfile {there}: Broken pipe"),
        ]
        silent = [
            ("connect timeout go recv", 1, 1, own.format("recv")),
            ("connect timeout go readline", 1, 1, own.format("read")),
            ("connect user_timeout go send recv", 1, 1.5, kernel.format("recv")),
            ("connect keepalive go recv", 1, 3, kernel.format("recv")),
            ("timeout go connect", 1, 1, own.format("connect")),
            ("go connect", 2, 3, kernel.format("connect")),
        ]
        with inside(network.near.namespace):  # The kernel gives up a connection after two SYNs.
            pathlib.Path("/proc/sys/net/ipv4/tcp_syn_retries").write_text("1")
        programs = self.callers(network, SERVER, port, flowing + silent)
        self.go(programs[:len(flowing)])
        time.sleep(0.2)
        network.gone = {SERVER}
        self.go(programs[len(flowing):])
        self.expect_ends("the link is cut", flowing + silent, programs)

    def test_a_peer_that_vanished_and_came_back_resets(self):
        network = self.network()
        with inside(network.far.namespace), socket.create_server((SERVER, 0)) as listener:
            port = listener.getsockname()[1]
            reset = f"Error system recv {SERVER}:{port}: Connection reset by peer"
            rows = [("connect go send recv", 0, 0, reset),
                    ("connect keepalive go recv", 0, 1, reset)]
            programs = self.callers(network, SERVER, port, rows)
            peers = [listener.accept()[0] for _ in rows]
        network.gone = {SERVER}
        for peer in peers:  # Its kernel forgets the connection, and its RST is lost.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer.close()
        time.sleep(0.1)
        network.gone = set()
        self.go(programs)
        self.expect_ends("the peer came back", rows, programs)

    def test_the_second_address_is_used_if_the_first_is_a_black_hole(self):
        network = self.network(delay=0.05)
        network.gone = {SERVER}  # It comes first, because CLIENT has more leading bits of it.
        port = self.serve(network, "serve", "none")[1]
        hosts = self.enterContext(tempfile.NamedTemporaryFile("w"))
        hosts.write(f"{SERVER} both\n{OTHER} both\n")
        hosts.flush()
        with_hosts = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"',
                      hosts.name]
        delay_and_round_trip = 0.25 + 2 * network.delay
        rows = [("patience go race", delay_and_round_trip, delay_and_round_trip,
                 f"connected {OTHER}:{port}")]
        programs = self.callers(network, "both", port, rows, with_hosts)
        self.go(programs)
        self.expect_ends("a black hole first", rows, programs)

    def used(self, server):
        """How many sockets and threads the server has."""
        process = pathlib.Path(f"/proc/{server.pid}")
        sockets = 0
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                sockets += os.readlink(descriptor).startswith("socket:")
        return sockets, len(os.listdir(process / "task"))

    def watch(self, server, other, before):
        """How long the server has more sockets, and more threads, than before, and how long an
        echo to another client takes meanwhile, in seconds."""
        start, ends, slowest = time.monotonic(), [None, None], 0
        while None in ends:
            slowest = max(slowest, self.echo_time(other))
            took = time.monotonic() - start
            ends = [end or (took if now <= then else None)
                    for end, now, then in zip(ends, self.used(server), before)]
            self.assertLess(took, PATIENCE / 2)
        return *ends, slowest

    def test_servers_shed_clients_that_vanished(self):
        network = self.network()
        limits = {"keepalive": ": Connection timed out", "idle": ", after 3s: timed out"}
        with concurrent.futures.ThreadPoolExecutor(VANISHING) as pool:
            servers = [self.serve(network, "serve", limit) for limit in limits]
            watched = []
            for server, port in servers:
                other = self.connect(network, port)
                before = self.used(server)
                [*pool.map(lambda _: self.connect(network, port, LEAVING), range(VANISHING))]
                self.assertEqual(self.used(server)[0], before[0] + VANISHING)
                watched.append(pool.submit(self.watch, server, other, before))
            network.gone = {LEAVING}
        for (server, port), limit, each in zip(servers, limits, watched):
            closed, ended, slowest = each.result()
            print(f"networks: {VANISHING} clients vanished from a server with {limit}: connections "
                  f"gone after {closed:.1f} s, threads after {ended:.1f} s; an echo took at most "
                  f"{slowest * 1000:.0f} ms")
            self.assertLess(slowest, SLACK)
            self.connect(network, port)
            server.terminate()
            self.assertEqual(server.wait(PATIENCE), 0)
            said = [line for line in server.stderr if LEAVING in line]
            self.assertEqual(len(said), VANISHING)
            for line in said:
                self.assertRegex(line, f"^socketserver: recv {LEAVING}:[0-9]+{limits[limit]}$")

    def test_sigterm_ends_a_server_although_the_link_is_cut(self):
        network = self.network()
        server, port = self.serve(network, "serve", "none")
        clients = [self.connect(network, port) for _ in range(10)]
        clients[0].settimeout(0.5)
        with self.assertRaises(TimeoutError):  # It does not receive, so the handler cannot send.
            clients[0].sendall(bytes(100_000_000))
        network.gone = {CLIENT}
        start = time.monotonic()
        server.terminate()
        self.assertEqual(server.wait(PATIENCE), 0)
        took = time.monotonic() - start
        print(f"networks: SIGTERM with the link cut: {took:.2f} s, shutdown_timeout 1 s")
        self.assertTrue(0.99 <= took <= 1 + SLACK, took)

    def test_large_datagrams_arrive(self):
        network = self.network(reordering=0.1)
        port = self.serve(network, "answer")[1]
        for address in (SERVER, OTHER):
            self.result(self.start(network.near, "ask", address, port))
        print(f"networks: datagrams of up to 65507 bytes, there and back: {network.carried} "
              f"fragments, {network.overtaken} overtaken")
        self.assertGreater(network.carried, 200)
        self.assertGreater(network.overtaken, 0)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    BYTES = int(float(sys.argv.pop(1) if len(sys.argv) > 1 else 2) * 1_000_000)
    try:
        Network().close()
    except (PermissionError, FileNotFoundError) as error:
        print(f"networks: skipped, because this system lets it make no network: {error}")
        sys.exit(77)
    unittest.main()
