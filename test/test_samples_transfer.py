"""Runs the samples that transfer values, commands and files, against peers that are not ours."""

import contextlib
import datetime
import hashlib
import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from subprocess import DEVNULL, PIPE

from sample import FOLDER, PATIENCE, at_terminal, connected, run, running

HALF = 1 << 20
WHOLE = os.urandom(2 * HALF)
UNSHARE = shutil.which("unshare") or ""


def may_unshare(namespaces):
    return UNSHARE and not subprocess.run([UNSHARE, namespaces, "true"],
                                          stderr=DEVNULL).returncode


def program(name):
    return os.path.join(FOLDER, name)


def memory_peak(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


# Sanitizers do not keep what was freed, and let strace look on.
FRUGAL = {**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") +
          ":quarantine_size_mb=1:detect_leaks=0"}


def foreign_clients(server):
    for command in (["nc", "127.0.0.1", str(server.port)],
                    ["socat", "-", f"TCP:127.0.0.1:{server.port}"]):
        with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, bufsize=0) as client:
            yield client
            client.kill()


@contextlib.contextmanager
def serving(handle):
    """A server in Python for one client, whose stream it handles; its host and port."""
    def serve():
        conn, _ = listener.accept()
        with conn, conn.makefile("rwb", 0) as stream, contextlib.suppress(ConnectionError):
            conn.settimeout(PATIENCE)
            handle(stream)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()
        thread.join()


def ask(client, message):
    """The JSON that answers a line."""
    client.sendall(message + b"\n")
    with client.makefile("rb", 0) as stream:
        return json.loads(stream.readline())


@unittest.skipUnless(os.path.exists(program("json_server")), "built without nlohmann-json")
class JsonServer(unittest.TestCase):
    def test_lowers_a_text(self):
        with running("json_server") as server, connected(server) as client:
            self.assertEqual(ask(client, b'{"action": "lower", "text": "A\\n\\u00fc"}'),
                             {"result": "a\nü"})

    def test_tells_the_time_in_utc(self):
        with running("json_server") as server, connected(server) as client:
            told = datetime.datetime.fromisoformat(ask(client, b'{"action": "time"}')["result"])
            self.assertLess(abs(told.timestamp() - time.time()), PATIENCE)

    def test_quit_is_answered_and_ends_the_connection(self):
        with running("json_server") as server, connected(server) as client:
            self.assertIn("result", ask(client, b'{"action": "quit"}'))
            self.assertEqual(client.recv(1), b"")

    def test_what_it_cannot_do_is_an_error_and_the_connection_lives(self):
        with running("json_server") as server, connected(server) as client:
            for message in (b"", b"{", b"nonsense", b"null", b"1", b"[]", b'"time"', b"{}", b"\0",
                            b'{"action": 1}', b'{"action": null}', b'{"action": "fly"}',
                            b'{"action": ""}', b'{"action": "lower"}', b'{"action": ["time"]}',
                            b'{"action": "lower", "text": 1}', b'{"action": "time"} {}',
                            b'{"action": "\xff"}', b'{"action": "lower", "text": "\xc3"}',
                            b'{"action": "lower", "text": "\\ud800"}', b"[" * 30000):
                with self.subTest(message=message[:40]):
                    self.assertEqual([*ask(client, message)], ["error"])
                    self.assertEqual(ask(client, b'{"action": "lower", "text": "B"}'),
                                     {"result": "b"})

    def test_a_line_however_long_is_not_taken_for_several(self):
        with running("json_server") as server, connected(server) as client:
            answers = []
            with client.makefile("rb", 0) as stream, contextlib.suppress(ConnectionError):
                client.sendall(b'{"action": "lower", "text": "%s"}\n' % (b"A" * (1 << 20)))
                client.sendall(b'{"action": "quit"}\n')
                answers.extend(stream)
            self.assertLess(len(answers), 3)

    def test_answers_foreign_clients(self):
        with running("json_server") as server:
            for client in foreign_clients(server):
                with self.subTest(client=client.args[0]):
                    client.stdin.write(b'{"action": "lower", "text": "HELLO"}\n')
                    self.assertEqual(json.loads(client.stdout.readline()), {"result": "hello"})

    def test_answers_curl(self):
        with running("json_server") as server:
            done = subprocess.run(["curl", "-sN", f"telnet://127.0.0.1:{server.port}"],
                                  input=b'{"action": "quit"}\n', stdout=PIPE, timeout=PATIENCE)
            self.assertIn("result", json.loads(done.stdout))


@unittest.skipUnless(os.path.exists(program("json_client")), "built without nlohmann-json")
class JsonClient(unittest.TestCase):
    def test_prints_the_servers_answer(self):
        with running("json_server") as server:
            done = run("json_client", "127.0.0.1", server.port,
                       input='{"action": "lower", "text": "HELLO"}\n{"action": "quit"}\n')
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue(done.stdout.startswith('{\n  "result": "hello"\n}\n{\n'), done.stdout)

    def test_sends_a_value_on_a_line_to_a_server_in_python(self):
        def double(stream):
            for line in stream:
                stream.write(json.dumps(json.loads(line) * 2).encode() + b"\n")

        with serving(double) as address:
            done = run("json_client", *address, input='[1,  "ü"]\n 2\n')
        self.assertEqual(done.returncode, 0)
        self.assertEqual(done.stdout, '[\n  1,\n  "ü",\n  1,\n  "ü"\n]\n4\n')

    def test_typed_nonsense_is_told_and_not_sent(self):
        with serving(lambda stream: stream.write(stream.readline())) as address:
            done = run("json_client", *address, input="{\n7\n")
        self.assertEqual((done.returncode, done.stdout), (0, "7\n"))
        self.assertIn("parse error", done.stderr)


def pieces(stream):
    """What the frames bring: kind and bytes; at last "exit" and the status."""
    while (head := stream.readline()) and not head.startswith(b"exit "):
        kind, size = re.fullmatch(rb"(stdout|stderr) (\d+)\n", head).groups()
        yield kind.decode(), stream.read(int(size))
    yield "exit", int(head.split()[1])


def result(stream):
    """The exit status, standard output and error of a command."""
    output = {"stdout": b"", "stderr": b""}
    for kind, piece in pieces(stream):
        if kind == "exit":
            return piece, output["stdout"], output["stderr"]
        output[kind] += piece


class ExecServer(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.quiet = {"stderr": DEVNULL}

    def check(self, line, *expected):
        with running("exec_server", **self.quiet) as server, connected(server) as client:
            client.sendall(line + b"\n")
            with client.makefile("rb") as stream:
                self.assertEqual([result(stream) for _ in expected], [*expected])

    @contextlib.contextmanager
    def held(self, line):
        """A command under way, all processes of which hold a pipe; they have to end meanwhile."""
        path = os.path.join(self.folder, "pipe")
        os.mkfifo(path)
        with (open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", 0) as pipe,
              running("exec_server", **self.quiet) as server, connected(server) as client):
            client.sendall(b"exec 3>%s; started() { echo $$ >&3; }; %s\n" % (path.encode(), line))
            self.assertTrue(select.select([pipe], [], [], PATIENCE)[0], "it has not started")
            group = int(pipe.read(100))
            try:
                yield server, client
                self.assertTrue(select.select([pipe], [], [], PATIENCE / 4)[0], "it lives on")
                self.assertEqual(pipe.read(1), b"")
            finally:
                os.remove(path)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)

    def test_passes_on_the_output_and_the_exit_status(self):
        self.check(b"echo out; echo err >&2; exit 3", (3, b"out\n", b"err\n"))

    def test_a_signal_is_128_and_its_number(self):
        for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                self.check(b"kill -%d $$" % number, (128 + number, b"", b""))

    def test_a_command_finds_nothing_at_its_standard_input(self):
        self.check(b"cat; echo $?", (0, b"0\n", b""))

    def test_a_command_may_open_its_output_by_name(self):
        self.check(b"echo out > /dev/stdout; echo err > /dev/stderr", (0, b"out\n", b"err\n"))

    def test_commands_sent_in_one_piece_do_not_stick_together(self):
        self.check(b"printf a\nprintf 'exit 9\\n'; exit 1\n\n/no/such 2>&-\nprintf b >&2",
                   (0, b"a", b""), (1, b"exit 9\n", b""), (0, b"", b""), (127, b"", b""),
                   (0, b"", b"b"))

    def test_interleaved_output_stays_in_order(self):
        expected = b"".join(b"%d\n" % number for number in range(1, 3001))
        self.check(b"for i in $(seq 3000); do echo $i; echo $i >&2; done", (0, expected, expected))

    def test_100_megabytes_pass_in_little_memory(self):
        data = os.urandom(100_000_000)
        pathlib.Path(self.folder, "data").write_bytes(data)
        with (running("exec_server", patience=60, env=FRUGAL, **self.quiet) as server,
              connected(server) as client, client.makefile("rb") as stream):
            client.sendall(b"true\n")
            self.assertEqual(result(stream)[0], 0)
            before = memory_peak(server)
            client.sendall(b"cat %s/data\n" % self.folder.encode())
            digest = hashlib.sha256()
            for kind, piece in pieces(stream):
                if kind != "exit":
                    digest.update(piece)
            self.assertLess(memory_peak(server) - before, 20_000_000)
        self.assertEqual(digest.digest(), hashlib.sha256(data).digest())

    def test_what_is_not_a_whole_line_is_not_run(self):
        trace = os.path.join(self.folder, "trace")
        tail = f"touch {trace}".encode()
        with running("exec_server", **self.quiet) as server:
            for line in (tail, b":%65534s;" % b"" + tail + b"\n"):
                with self.subTest(size=len(line)), connected(server) as client:
                    client.sendall(line)
                    if line == tail:
                        client.shutdown(socket.SHUT_WR)
                    with contextlib.suppress(ConnectionResetError):
                        while client.recv(1000):
                            pass
                    self.assertFalse(os.path.exists(trace))

    def test_a_client_that_leaves_ends_its_command_and_all_children(self):
        for line in (b"started; sleep 1000", b"started; sleep 1000 & sleep 1000 | cat",
                     b"started; yes", b"started; yes >&2 & yes",
                     b"trap '' HUP INT TERM PIPE; started; sleep 1000; sleep 1000",
                     b"exec >&- 2>&-; sleep 0.2; started; sleep 1000"):
            with self.subTest(line), self.held(line) as (_, client):
                client.close()

    def test_ctrl_c_ends_the_server_and_its_commands(self):
        for line in (b"started; sleep 1000", b"started; sleep 1000 | cat", b"started; yes",
                     b"exec >&- 2>&-; sleep 0.2; started; sleep 1000"):
            with self.subTest(line), self.held(line) as (server, _):
                server.send_signal(signal.SIGINT)
                self.assertEqual(server.wait(PATIENCE / 4), 0)

    def test_runs_50_at_once(self):
        gate = os.path.join(self.folder, "gate")
        os.mkfifo(gate)
        with (running("exec_server", **self.quiet) as server, contextlib.ExitStack() as stack,
              open(os.open(gate, os.O_RDWR)) as opened):
            streams = []
            for number in range(50):
                client = stack.enter_context(connected(server))
                client.sendall(b"exec <%s; echo; read x; exit %d\n" % (gate.encode(), number))
                streams.append(stack.enter_context(client.makefile("rb")))
            for stream in streams:
                self.assertEqual(stream.readline() + stream.readline(), b"stdout 1\n\n")
            opened.close()
            self.assertEqual([result(stream)[0] for stream in streams], [*range(50)])

    def test_answers_foreign_clients(self):
        with running("exec_server", **self.quiet) as server:
            for client in foreign_clients(server):
                with self.subTest(client=client.args[0]):
                    client.stdin.write(b"echo hello; exit 3\n")
                    self.assertEqual(result(client.stdout), (3, b"hello\n", b""))

    def test_warns_of_what_it_does(self):
        with running("exec_server", stderr=PIPE) as server:
            with server.stderr as stream:
                self.assertIn("runs commands", stream.readline())

    @unittest.skipUnless(may_unshare("-rn"), "needs a network of its own for the default port")
    def test_listens_for_this_host_only_unless_told_else(self):
        with running(UNSHARE, "-rn", "sh", "-c", 'exec "$0"', program("exec_server"),
                     **self.quiet) as server:
            sockets = "".join(pathlib.Path(f"/proc/{server.pid}/net/{protocol}").read_text()
                              for protocol in ("tcp", "tcp6")).splitlines()
            listening = [line.split()[1] for line in sockets if " 0A " in line]
            self.assertEqual(listening, [f"{socket.htonl(0x7F000001):08X}:{8888:04X}"])


class ExecClient(unittest.TestCase):
    def test_prints_both_outputs_and_ends_as_the_last_command_did(self):
        with running("exec_server", stderr=DEVNULL) as server:
            done = run("exec_client", "127.0.0.1", server.port,
                       input="exit 5\necho out; echo err >&2; kill -9 $$\n")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (137, "out\n", "err\n"))

    def test_talks_to_a_server_in_python(self):
        received = []

        def answer(stream):
            received.append(stream.readline())
            for byte in b"stderr 2\nnostdout 4\nyes\nexit 4\n":
                stream.write(bytes([byte]))

        with serving(answer) as address:
            done = run("exec_client", *address, input="true\n")
        self.assertEqual(received, [b"true\n"])
        self.assertEqual((done.returncode, done.stdout, done.stderr), (4, "yes\n", "no"))

    def test_an_answer_that_is_cut_off_or_nonsense_is_an_error(self):
        for answer in (b"", b"stdout", b"stdout 10", b"stdout 10\nabc", b"stdout 3\nabc", b"exit",
                       b"exit 0", b"exit zero\n", b"stdout -1\n", b"stdout 99999999999\nabc",
                       b"stdout 2147483647\nabc", b"\0\xff\n"):
            def cut_off(stream):
                stream.readline()
                stream.write(answer)

            with self.subTest(answer), serving(cut_off) as address:
                done = run("exec_client", *address, input="true\n")
                self.assertNotEqual(done.returncode, 0)
                self.assertNotEqual(done.stderr, "")


class UploadServer(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def post(self, server, name, data, size=None):
        """A client that has sent what the server lacks of the data, and what it was answered."""
        client = connected(server)
        client.sendall(b"post|%s|%d\n" % (name, len(data) if size is None else size))
        with client.makefile("rb") as stream:
            answer = stream.readline()
            with contextlib.suppress(ConnectionError):
                if answer.startswith(b"have|"):
                    client.sendall(data[int(answer[5:]):])
            if size is None:
                answer += stream.readline()
        return client, answer

    def upload(self, server, name, data=b"hello", have=0):
        client, answer = self.post(server, name, data)
        with client:
            self.assertEqual(answer, b"have|%d\ndone\n" % have)
            self.assertEqual(client.recv(1), b"")
        self.assertTrue((self.folder / os.fsdecode(name)).read_bytes() == data)

    def wait_for_two(self, server):
        """Until both clients have the file open, so that one waits for the other."""
        deadline = time.monotonic() + PATIENCE
        while self.opened(server) < 2:
            self.assertLess(time.monotonic(), deadline)

    def opened(self, server):
        links = pathlib.Path(f"/proc/{server.pid}/fd").iterdir()
        return sum(os.path.realpath(link).startswith(f"{self.folder}/") for link in links)

    def leave_half(self, server):
        self.post(server, b"x", WHOLE[:HALF], len(WHOLE))[0].close()

    def test_stores_a_file_under_the_name_it_has(self):
        with running("upload_server", self.folder) as server:
            for name in (b"x.txt", b"with space", b"a|b|3", "ünï".encode(), b"-rf", b"x" * 200,
                         b"\xff", b"a\\b", b"x..", b"$(id)"):
                with self.subTest(name):
                    self.upload(server, name)

    def test_an_empty_file_is_stored(self):
        with running("upload_server", self.folder) as server:
            self.upload(server, b"x", b"")

    def test_other_names_and_sizes_are_refused_and_leave_nothing(self):
        with running("upload_server", self.folder) as server:
            for asked in (b"../../etc/passwd|5", b"/|5", b"..|5", b".|5", b".x|5", b"|5", b"a/b|5",
                          b"a\0b|5", b"x" * 300 + b"|5", b"x" * 5000 + b"|5", b"x|2147483648",
                          b"x|-1", b"x|", b"x|5 ", b"x|0x5", b"x|99999999999999999999", b"x", b""):
                with self.subTest(asked), connected(server) as client:
                    client.sendall(b"post|" + asked + b"\n")
                    self.assertRegex(client.recv(1000), rb"\Aerror\|.+\n\Z")
            self.assertEqual(os.listdir(self.folder), [])

    def test_goes_on_after_a_client_has_vanished(self):
        with running("upload_server", self.folder) as server:
            self.leave_half(server)
            self.upload(server, b"x", WHOLE, HALF)

    def test_the_file_appears_only_when_it_is_whole(self):
        with running("upload_server", self.folder) as server:
            client, _ = self.post(server, b"x", WHOLE[:-1], len(WHOLE))
            client.shutdown(socket.SHUT_WR)
            self.assertEqual(client.recv(100), b"")  # What is declared has to come.
            client.close()
            self.assertFalse((self.folder / "x").exists())
            self.upload(server, b"x", WHOLE, len(WHOLE) - 1)

    def test_bytes_beyond_the_declared_size_are_no_part_of_it(self):
        with running("upload_server", self.folder) as server:
            for client in foreign_clients(server):
                with self.subTest(client.args[0]):
                    client.stdin.write(b"post|x|5\nhello, world")
                    self.assertEqual(client.stdout.readline() + client.stdout.readline(),
                                     b"have|0\ndone\n")
                    self.assertEqual((self.folder / "x").read_bytes(), b"hello")

    def test_a_symlink_in_place_of_the_partial_file_is_not_followed(self):
        with tempfile.TemporaryDirectory() as elsewhere:
            victim = pathlib.Path(elsewhere, "victim")
            with running("upload_server", self.folder) as server:
                self.leave_half(server)
                [partial] = self.folder.iterdir()
                for exists in (False, True):
                    partial.unlink()
                    partial.symlink_to(victim)
                    with self.subTest(exists=exists):
                        client, answer = self.post(server, b"x", WHOLE)
                        client.close()
                        self.assertRegex(answer, rb"\Aerror\|")
                        self.assertEqual(victim.exists(), exists)
                    victim.write_bytes(b"")
            self.assertEqual(victim.read_bytes(), b"")

    def test_two_clients_with_one_file_at_once_are_both_done(self):
        answers = []

        def follow(server):
            client, answer = self.post(server, b"x", WHOLE)
            client.close()
            answers.append(answer)

        with running("upload_server", self.folder) as server:
            first, _ = self.post(server, b"x", WHOLE[:HALF], len(WHOLE))
            second = threading.Thread(target=follow, args=[server])
            second.start()
            self.wait_for_two(server)
            with first:
                first.sendall(WHOLE[HALF:])
                self.assertEqual(first.recv(100), b"done\n")
            second.join()
        self.assertRegex(answers[0], rb"\Ahave\|\d+\ndone\n\Z")
        self.assertTrue((self.folder / "x").read_bytes() == WHOLE)

    def test_ctrl_c_ends_it_though_a_client_waits_for_another(self):
        with running("upload_server", self.folder) as server:
            first, _ = self.post(server, b"x", WHOLE[:HALF], len(WHOLE))
            with first, connected(server) as second:
                second.sendall(b"post|x|%d\n" % len(WHOLE))
                self.wait_for_two(server)
                server.send_signal(signal.SIGINT)
                self.assertEqual(server.wait(PATIENCE / 4), 0)

    def test_serves_50_at_once(self):
        with running("upload_server", self.folder) as server, contextlib.ExitStack() as stack:
            clients = [stack.enter_context(self.post(server, b"%d" % number, b"", 5)[0])
                       for number in range(50)]
            for client in reversed(clients):
                client.sendall(b"hello")
                self.assertEqual(client.recv(100), b"done\n")
        self.assertEqual({file.read_bytes() for file in self.folder.iterdir()}, {b"hello"})

    @unittest.skipUnless(may_unshare("-rm"), "needs to mount a small disk")
    def test_a_full_disk_is_told_to_clients(self):
        small_disk = 'mount -t tmpfs -o size=1m none "$1" && exec "$0" "$@"'
        with running(UNSHARE, "-rm", "sh", "-c", small_disk, program("upload_server"),
                     self.folder) as server:
            client, answer = self.post(server, b"x", WHOLE)
            client.close()
            self.assertEqual(answer, b"have|0\nerror|No space left on device\n")
            self.assertFalse(pathlib.Path(f"/proc/{server.pid}/root{self.folder}/x").exists())
            (self.folder / "y").write_bytes(WHOLE * 10)
            done = run("upload_client", self.folder / "y", "127.0.0.1", server.port)
            self.assertEqual(done.returncode, 1)
            self.assertIn("No space left on device", done.stderr)


class UploadClient(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.file = self.folder / "a|b ü"
        self.file.write_bytes(WHOLE)
        (self.folder / "stored").mkdir()
        self.stored = self.folder / "stored" / self.file.name

    def test_goes_on_after_it_was_killed(self):
        with (running("upload_server", self.folder / "stored") as server,
              socket.create_server(("127.0.0.1", 0)) as between):
            host, port = between.getsockname()
            between.settimeout(PATIENCE)
            with subprocess.Popen([program("upload_client"), self.file, host, str(port)],
                                  stdout=DEVNULL) as client:
                with between.accept()[0] as ours, connected(server) as theirs:
                    ours.settimeout(PATIENCE)
                    with ours.makefile("rb") as stream:
                        theirs.sendall(stream.readline())
                        ours.sendall(theirs.recv(1000))
                        theirs.sendall(stream.read(HALF))
                    client.kill()
                    self.assertEqual(client.wait(), -signal.SIGKILL)
            done = run("upload_client", self.file, host, server.port)
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"\A\n#{25}-{25} 50%")
        self.assertTrue(self.stored.read_bytes() == WHOLE)

    def test_shows_a_bar_that_grows_to_100_percent(self):
        for size in (0, 1, 5_000_000):
            self.file.write_bytes(b"\0" * size)
            with self.subTest(size), running("upload_server", self.folder / "stored") as server:
                with at_terminal("upload_client", self.file, "127.0.0.1", server.port) as terminal:
                    terminal.expect("#{50} 100%\r\n")
                    shown = [int(part) for part in re.findall(r"(\d+)%", terminal.before)]
                    self.assertEqual(shown, sorted({*shown}))
                    self.assertEqual(len(shown) > 2, size > 1000)

    def test_200_megabytes_are_sent_by_sendfile_and_stored(self):
        with self.file.open("wb") as file:
            for number in range(200):
                file.write(number.to_bytes(4, "big") + WHOLE[:(1 << 20) - 4])
        with running("upload_server", self.folder / "stored", patience=60, env=FRUGAL) as server:
            before = memory_peak(server)
            tracing = shutil.which("strace"), "-f", "-e", "trace=read,sendfile,sendfile64"
            command = [program("upload_client"), self.file, "127.0.0.1", str(server.port)]
            done = subprocess.run([*(tracing if tracing[0] else ()), *command], text=True,
                                  capture_output=True, timeout=60, env=FRUGAL)
            self.assertEqual(done.returncode, 0)
            self.assertLess(memory_peak(server) - before, 20_000_000)
        if tracing[0]:
            sent = re.findall(r"sendfile(?:64)?\(.*\) = (\d+)", done.stderr)
            self.assertEqual(sum(map(int, sent)), self.file.stat().st_size)
        with self.file.open("rb") as file, self.stored.open("rb") as stored:
            self.assertEqual(hashlib.file_digest(stored, "sha256").digest(),
                             hashlib.file_digest(file, "sha256").digest())

    def test_sends_the_rest_to_a_server_in_python(self):
        received = []

        def take(stream):
            received.append(stream.readline())
            stream.write(b"have|%d\n" % (len(WHOLE) - 5))
            received.append(stream.read(5))
            stream.write(b"done\n")
            received.append(stream.read())

        with serving(take) as address:
            self.assertEqual(run("upload_client", self.file, *address).returncode, 0)
        self.assertEqual(received, ["post|a|b ü|2097152\n".encode(), WHOLE[-5:], b""])

    def test_ends_with_an_error_if_the_server_does_not_take_it(self):
        for answer in (b"", b"error|no\n", b"have", b"have|\n", b"have|0", b"have|0\n", b"have|x\n",
                       b"have|-1\n", b"have|2097152\n", b"have|2097152\nerror|no\n",
                       b"have|9999999\n", b"done|\n", b"\n"):
            def refuse(stream):
                stream.readline()
                stream.write(answer)

            with self.subTest(answer), serving(refuse) as address:
                done = run("upload_client", self.file, *address)
                self.assertNotIn(done.returncode, (0, -signal.SIGPIPE))
                self.assertRegex(done.stderr, "server|sendfile|recv")

    def test_names_a_file_that_is_not_there(self):
        done = run("upload_client", "/no/such", "127.0.0.1", 1)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("/no/such", done.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
