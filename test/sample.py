"""What the tests of the samples share: each runs the real program as a user would."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading

import pexpect

FOLDER = sys.argv.pop(1)  # Where the programs are.
PATIENCE = 20  # seconds until a peer counts as hung


def run(name, *args, **options):
    """A program from start to end."""
    command = [os.path.join(FOLDER, name), *map(str, args)]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE,
                          **{"text": True, **options})


@contextlib.contextmanager
def running(name, *args, port="0", patience=PATIENCE, **options):
    """A server, ready, with the port it listens on; Ctrl-C ends it."""
    command = [os.path.join(FOLDER, name), *map(str, args), "127.0.0.1", port]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)
    watchdog = threading.Timer(patience, server.kill)
    watchdog.start()
    try:
        first = server.stdout.readline()
        assert first.startswith("listening on "), first
        server.port = int(first.rpartition(":")[2])
        yield server
        server.send_signal(signal.SIGINT)
        assert server.wait() in (0, -signal.SIGINT), server.returncode
    finally:
        watchdog.cancel()
        server.kill()
        server.wait()
        server.stdout.close()


def connected(server):
    """Python's client of a server."""
    return socket.create_connection(("127.0.0.1", server.port), PATIENCE)


@contextlib.contextmanager
def at_terminal(name, *args):
    """A program at a terminal of its own: pexpect's expect and sendline."""
    command = os.path.join(FOLDER, name)
    with pexpect.spawn(command, [*map(str, args)], timeout=PATIENCE, encoding="utf-8",
                       echo=False) as terminal:
        yield terminal
