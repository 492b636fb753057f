"""What the tests of the samples share: each runs the real program as a user would."""

import contextlib
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import pexpect

# In the background of a shell it is ignored, which the programs would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

FOLDER = os.path.abspath(sys.argv.pop(1))  # Where the programs are.
PATIENCE = 20  # seconds until a peer counts as hung
ALL = sorted(path.name for path in pathlib.Path(FOLDER).iterdir()
             if path.is_file() and path.suffix == "" and path.name != "quickstart")
SERVERS = [name for name in ALL
           if name.endswith("_server") or name in ("broadcast_chat", "members_only", "port_forwarder")]
# What comes before HOST and PORT. Files are in the folder where the samples run.
ARGUMENTS = {"ftp_server": ["DIR", "USERS"], "http_server": ["DIR"], "members_only": ["127."],
             "port_forwarder": ["127.0.0.1", "UPSTREAM"], "tls_client": ["CERT"],
             "tls_echo_server": ["CERT", "KEY"], "upload_client": ["USERS"],
             "upload_server": ["DIR"], "upper_client": ["word"]}
FILES = ("ftp_server", "http_server", "tls_client", "tls_echo_server", "upload_client",
         "upload_server")


def run(name, *args, **options):
    """A program from start to end."""
    command = [os.path.join(FOLDER, name), *map(str, args)]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE,
                          **{"text": True, **options})


class Server(subprocess.Popen):
    def send_signal(self, number):
        """ThreadSanitizer holds a signal back until the next system call returns: it is lost if it
        comes just before the server sleeps. Such a server must be asleep."""
        if number != signal.SIGKILL and b"__tsan_init" in pathlib.Path(self.args[0]).read_bytes():
            status = pathlib.Path(f"/proc/{self.pid}/status")
            while self.poll() is None and "State:\tR" in status.read_text():
                pass
        super().send_signal(number)


@contextlib.contextmanager
def running(name, *args, where=("127.0.0.1", "0"), status=0, patience=PATIENCE, **options):
    """A server, ready, with the address it listens on; Ctrl-C ends it, with that status."""
    command = [os.path.join(FOLDER, name), *map(str, args), *where]
    server = Server(command, stdout=subprocess.PIPE, text=True, **options)
    watchdog = threading.Timer(patience, server.kill)
    watchdog.start()
    try:
        first = server.stdout.readline()
        assert first.startswith("listening on "), first
        server.address = first[len("listening on "):-1]
        if len(where) == 2:
            server.port = int(first.rpartition(":")[2])
            server.address = (where[0], server.port)
        yield server
        if server.poll() is None:
            server.send_signal(signal.SIGINT)
        assert server.wait() == status, server.returncode
    finally:
        watchdog.cancel()
        server.kill()
        server.wait()
        server.stdout.close()
        if server.stdin:
            server.stdin.close()


def connected(server):
    """Python's client of a server."""
    if isinstance(server.address, tuple):
        return socket.create_connection(server.address, PATIENCE)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(PATIENCE)
    client.connect(server.address)
    return client


@contextlib.contextmanager
def at_terminal(name, *args):
    """A program at a terminal of its own: pexpect's expect and sendline."""
    command = os.path.join(FOLDER, name)
    with pexpect.spawn(command, [*map(str, args)], timeout=PATIENCE, encoding="utf-8",
                       echo=False) as terminal:
        yield terminal


def make_certificate(folder):
    """The files CERT and KEY, for localhost but for no address."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", folder / "KEY", "-out",
                    folder / "CERT", "-subj", "/CN=test", "-addext", "subjectAltName=DNS:localhost"],
                   check=True, capture_output=True)


def reset(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()


def close_mid_line(client):
    client.sendall(b"half a li")
    client.close()


def reset_mid_line(client):
    client.sendall(b"half a li")
    reset(client)


WAYS_TO_VANISH = (socket.socket.close, reset, close_mid_line, reset_mid_line)


def line_of(client):
    """The next line, and not a byte more."""
    line = b""
    while not line.endswith(b"\n") and (byte := client.recv(1)):
        line += byte
    return line


@contextlib.contextmanager
def python_server(serve, family=socket.AF_INET, address=("127.0.0.1", 0)):
    """The address of a server in Python that serves one connection and goes."""
    def accept():
        conn, _ = listener.accept()
        conn.settimeout(PATIENCE)
        with conn:
            serve(conn)

    with socket.create_server(address, family=family) as listener:
        listener.settimeout(PATIENCE)
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            thread.join()


class InFolder(unittest.TestCase):
    """Runs any sample, in a folder with the files that some of them need."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        (cls.folder / "DIR").mkdir()
        (cls.folder / "USERS").write_text("user:pw\n")
        with open(cls.folder / "DIR" / "large", "wb") as large:
            large.truncate(100_000_000)
        if "tls_client" in ALL:
            make_certificate(cls.folder)
        cls.upstream = socket.create_server(("127.0.0.1", 0), backlog=1000)
        threading.Thread(target=cls.greet).start()
        cls.addClassCleanup(cls.upstream.shutdown, socket.SHUT_RDWR)

    @classmethod
    def greet(cls):
        """The server that others forward to: sends a byte, and says no more."""
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError), cls.upstream:
            while True:
                stack.enter_context(cls.upstream.accept()[0]).sendall(b"x")

    def arguments(self, name):
        port = str(self.upstream.getsockname()[1])
        return [argument.replace("UPSTREAM", port) for argument in ARGUMENTS.get(name, [])]

    def where(self, name, port):
        return [self.folder / "socket"] if name.startswith("unix") else ["127.0.0.1", str(port)]

    def until(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            select.select([], [], [], 0.01)

    def memory_peak(self, server):
        status = pathlib.Path(f"/proc/{server.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) << 10

    def serving(self, name, **options):
        return running(name, *self.arguments(name), where=self.where(name, 0), cwd=self.folder,
                       stdin=subprocess.PIPE, **{"stderr": subprocess.DEVNULL, **options})
