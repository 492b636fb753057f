"""Runs samples/http_server against curl, Python's client, Chromium, wrk and raw sockets."""

import contextlib
import email.utils
import http.client
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from html.parser import HTMLParser

from sample import PATIENCE, connected, running

HEAD = b" HTTP/1.1\r\nHost: x\r\n"


def until(condition):
    """Waits for what nothing announces."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        select.select([], [], [], 0.01)


def rest(client):
    """All there is to come."""
    return b"".join(iter(lambda: client.recv(65536), b""))


class Served(unittest.TestCase):
    """A folder, and the server of it."""

    def setUp(self):
        Served.serve(self, self.enterContext)

    def serve(self, enter):
        self.folder = pathlib.Path(enter(tempfile.TemporaryDirectory()))
        self.root = self.folder / "root"
        self.root.mkdir()
        (self.root / "a.txt").write_bytes(b"0123456789")
        (self.folder / "secret").write_bytes(b"secret")
        self.server = enter(running("http_server", self.root, patience=3 * PATIENCE))

    def ask(self, target="/a.txt", method="GET", **fields):
        """The response to Python's client, whole."""
        client = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
        with contextlib.closing(client):
            client.request(method, target,
                           headers={name.replace("_", "-"): text for name, text in fields.items()})
            response = client.getresponse()
            response.body = response.read()
            return response

    def answers(self, data):
        """Everything that comes back for these bytes."""
        with connected(self.server) as client:
            client.sendall(data)
            client.shutdown(1)
            return rest(client)

    def codes(self, data):
        return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d+) ", self.answers(data))]

    def curl(self, target, *args):
        url = f"http://127.0.0.1:{self.server.port}{target}"
        done = subprocess.run(["curl", "-sS", "--path-as-is", *args, url], capture_output=True,
                              timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def open_files(self):
        """What its descriptors are, but for those that threads wait at."""
        folder = f"/proc/{self.server.pid}/fd"
        names = []
        for number in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                names.append(os.readlink(f"{folder}/{number}"))
        return [name for name in names if not name.startswith("anon_inode")]

    def drain_log(self):
        """Lest the server waits for us while it writes."""
        log = os.dup(self.server.stdout.fileno())

        def read():
            while os.read(log, 65536):
                pass
            os.close(log)
        threading.Thread(target=read).start()


class Files(Served):
    def test_a_file_comes_whole_with_its_length_and_type(self):
        response = self.ask()
        self.assertEqual((response.status, response.body), (200, b"0123456789"))
        self.assertEqual((response.headers["Content-Length"], response.headers["Content-Type"]),
                         ("10", "text/plain"))

    def test_the_date_is_now_and_the_files_its_own(self):
        os.utime(self.root / "a.txt", (0, 784111777))
        response = self.ask()
        self.assertEqual(response.headers["Last-Modified"], "Sun, 06 Nov 1994 08:49:37 GMT")
        now = email.utils.parsedate_to_datetime(response.headers["Date"]).timestamp()
        self.assertAlmostEqual(now, time.time(), delta=PATIENCE)

    def test_the_type_follows_the_suffix(self):
        types = {"a.html": "text/html", "a.CSS": "text/css", "a.js": "text/javascript",
                 "a.png": "image/png", "a.svg": "image/svg+xml", "a.wasm": "application/wasm",
                 "a.tar.json": "application/json", "txt": "application/octet-stream",
                 "a.unknown": "application/octet-stream"}
        for name, kind in types.items():
            (self.root / name).touch()
            with self.subTest(name):
                self.assertEqual(self.ask("/" + name).headers.get_content_type(), kind)

    def test_curl_gets_a_large_file_unharmed(self):
        data = os.urandom(5_000_000)
        (self.root / "large").write_bytes(data)
        self.assertEqual(self.curl("/large"), data)

    def test_an_empty_file_comes_empty(self):
        (self.root / "empty").touch()
        response = self.ask("/empty", Range="bytes=0-")
        self.assertEqual((response.status, response.body), (200, b""))

    def test_any_name_can_be_asked_for(self):
        for name in ("ü 100%.txt", "?#&+;=", "a:b", "\udcff", "...", "%2e"):
            (self.root / name).write_text("found")
            target = "/" + "".join(f"%{byte:02x}" for byte in os.fsencode(name))
            with self.subTest(name):
                self.assertEqual(self.ask(target).body, b"found")

    def test_what_follows_a_question_mark_is_no_part_of_the_name(self):
        self.assertEqual(self.ask("/a.txt?b=/../c").body, b"0123456789")

    def test_a_whole_url_is_understood(self):
        self.assertEqual(self.ask("http://example/a.txt").body, b"0123456789")

    def test_what_is_not_there_is_not_found(self):
        for target in ("/b", "/b/", "/a.txt/", "/a.txt/b", "/" + "b" * 300):
            with self.subTest(target):
                self.assertEqual(self.ask(target).status, 404)

    def test_head_has_the_fields_of_get_and_nothing_more(self):
        head, get = self.ask(method="HEAD"), self.ask()
        del head.headers["Date"], get.headers["Date"]
        self.assertEqual((head.headers.items(), head.body), (get.headers.items(), b""))


class Folders(Served):
    def test_are_redirected_to_their_slash_with_the_query(self):
        (self.root / "ä:b").mkdir()
        response = self.ask("/%c3%a4:b?c=d")
        self.assertEqual((response.status, response.headers["Location"]), (301, "/%C3%A4%3Ab/?c=d"))

    def test_are_never_redirected_to_another_host(self):
        (self.root / "evil").mkdir()
        self.assertEqual(self.ask("//evil").headers["Location"], "/evil/")

    def test_no_name_can_inject_a_field(self):
        (self.root / "a\r\nX: y").mkdir()
        response = self.ask("/a%0d%0aX:%20y")
        self.assertEqual((response.status, response.headers["X"]), (301, None))

    def test_show_their_index(self):
        (self.root / "index.html").write_text("the index")
        self.assertEqual(self.ask("/").body, b"the index")

    def test_list_every_name_as_a_link_to_it(self):
        names = {"a.txt", "sub", "<b>&\"'.txt", "javascript:alert(1)", "ü?#", "%41", ".hidden"}
        for name in names - {"a.txt", "sub"}:
            (self.root / name).write_text("x")
        (self.root / "sub").mkdir()
        links, texts = [], []
        parser = HTMLParser()
        parser.handle_starttag = lambda tag, attrs: links.extend(u for k, u in attrs if k == "href")
        parser.handle_data = texts.append
        parser.feed(self.ask("/").body.decode())
        self.assertEqual({text.rstrip("/") for text in texts} & names, names)
        self.assertEqual([self.ask("/" + link).status for link in links], [200] * len(names))


class Ranges(Served):
    def test_give_the_bytes_asked_for(self):
        for asked, body, told in (("0-0", b"0", "0-0"), ("2-4", b"234", "2-4"),
                                  ("8-", b"89", "8-9"), ("-3", b"789", "7-9"),
                                  ("-99", b"0123456789", "0-9"), ("5-99", b"56789", "5-9"),
                                  ("9-" + "9" * 40, b"9", "9-9")):
            with self.subTest(asked):
                response = self.ask(Range="bytes=" + asked)
                self.assertEqual((response.status, response.body, response.headers["Content-Range"]),
                                 (206, body, f"bytes {told}/10"))

    def test_behind_the_end_are_refused(self):
        for asked in ("10-", "10-10", "-0", "9" * 40 + "-"):
            with self.subTest(asked):
                response = self.ask(Range="bytes=" + asked)
                self.assertEqual((response.status, response.headers["Content-Range"]),
                                 (416, "bytes */10"))

    def test_that_make_no_sense_give_the_whole(self):
        for asked in ("bytes=", "bytes=-", "bytes=4-2", "bytes=a-b", "bytes=1-2,4-5", "lines=1-2",
                      "bytes=+1-2", "bytes=--1", "bytes=1", "1-2"):
            with self.subTest(asked):
                response = self.ask(Range=asked)
                self.assertEqual((response.status, response.body), (200, b"0123456789"))

    def test_count_for_get_only(self):
        self.assertEqual(self.ask(method="HEAD", Range="bytes=1-2").headers["Content-Length"], "10")

    def test_let_curl_go_on_with_a_download(self):
        part = self.folder / "part"
        part.write_bytes(b"abc")
        self.curl("/a.txt", "-C", "-", "-o", part)
        self.assertEqual(part.read_bytes(), b"abc3456789")

    def test_near_the_end_of_two_gigabytes(self):
        with open(self.root / "sparse", "wb") as file:
            file.seek(2**31 + 10)
            file.write(b"end")
        self.assertEqual(self.curl("/sparse", "-r", f"{2**31 + 9}-"), b"\0end")

    def test_hold_if_the_file_is_the_same_still(self):
        etag = self.ask().headers["ETag"]
        self.assertEqual(self.ask(Range="bytes=1-2", If_Range=etag).body, b"12")

    def test_do_not_hold_if_the_file_is_another(self):
        for other in ('"other"', "Sun, 06 Nov 1994 08:49:37 GMT"):
            self.assertEqual(self.ask(Range="bytes=1-2", If_Range=other).status, 200)


class Conditions(Served):
    def test_what_the_client_has_is_not_sent_again(self):
        headers = self.ask().headers
        for fields in ({"If_None_Match": f'"x", W/{headers["ETag"]}'}, {"If_None_Match": "*"},
                       {"If_Modified_Since": headers["Last-Modified"]}):
            with self.subTest(fields):
                response = self.ask(**fields)
                self.assertEqual((response.status, response.body), (304, b""))

    def test_what_it_has_not_is(self):
        modified = self.ask().headers["Last-Modified"]
        for fields in ({"If_None_Match": '"x"', "If_Modified_Since": modified},
                       {"If_Modified_Since": "Sun, 06 Nov 1994 08:49:37 GMT"},
                       {"If_Modified_Since": "yesterday"}):
            with self.subTest(fields):
                self.assertEqual(self.ask(**fields).status, 200)

    def test_a_change_within_a_second_is_one(self):
        os.utime(self.root / "a.txt", ns=(0, 10**18))
        etag = self.ask().headers["ETag"]
        os.utime(self.root / "a.txt", ns=(0, 10**18 + 1))
        self.assertEqual(self.ask(If_None_Match=etag).status, 200)


class Connections(Served):
    def test_go_on_after_every_answer_python_asks_for(self):
        client = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
        with contextlib.closing(client):
            client.connect()
            first = client.sock
            for method, target in (("HEAD", "/a.txt"), ("GET", "/b"), ("HEAD", "/b"), ("GET", "/"),
                                   ("DELETE", "/a.txt"), ("GET", "/a.txt")):
                client.request(method, target)
                body = client.getresponse().read()
            self.assertEqual((client.sock, body), (first, b"0123456789"))

    def test_have_nothing_between_the_head_of_a_head_and_the_next(self):
        head, get = b"HEAD /a.txt" + HEAD + b"\r\n", b"GET /a.txt" + HEAD + b"\r\n"
        got = self.answers(head + get + b"HEAD /b" + HEAD + b"\r\n" + get)
        self.assertEqual([part[:9] for part in re.split(rb"(?<=\r\n\r\n)", got)][1:],
                         [b"HTTP/1.1 ", b"012345678", b"HTTP/1.1 ", b"012345678"])

    def test_answer_requests_in_a_row_in_their_order(self):
        get = b"GET /a.txt" + HEAD
        got = self.answers(b"".join(get + b"Range: bytes=%d-%d\r\n\r\n" % (n, n) for n in range(9)))
        self.assertEqual(re.findall(rb"\r\n\r\n(.)", got), [b"%d" % n for n in range(9)])

    def test_end_where_the_client_says_so(self):
        for head in (b" HTTP/1.1\r\nHost: x\r\nConnection: TE, Close\r\n\r\n", b" HTTP/1.0\r\n\r\n"):
            with self.subTest(head), connected(self.server) as client:
                client.sendall(b"GET /a.txt" + head)
                self.assertIn(b"\r\nConnection: close\r\n", rest(client))

    def test_of_http_1_0_go_on_if_asked(self):
        get = b"GET /a.txt HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
        self.assertEqual(self.codes(2 * get), [200, 200])

    def test_never_take_a_body_for_a_request(self):
        inner = b"GET /a.txt" + HEAD + b"\r\n"
        for method in (b"GET", b"POST"):
            for field in (b"Content-Length: %d" % len(inner), b"Transfer-Encoding: chunked",
                          b"Transfer-Encoding: x\r\nContent-Length: 0"):
                with self.subTest(method + field):
                    got = self.codes(method + b" /a.txt" + HEAD + field + b"\r\n\r\n" + inner)
                    self.assertEqual(got, [200 if method == b"GET" else 405])

    def test_tell_an_uploader_no_before_they_end(self):
        data = self.folder / "data"
        data.write_bytes(bytes(3_000_000))
        got = self.curl("/", "-i", "-H", "Expect:", "--data-binary", f"@{data}")
        self.assertTrue(got.startswith(b"HTTP/1.1 405 "))


class Refusals(Served):
    def test_400_what_is_no_request(self):
        for head in (b"\x16\x03\x01\r\n\r\n", b"GET\r\n\r\n", b"GET /a.txt\r\n\r\n",
                     b"GET /a.txt x HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /a.txt FTP/1.1\r\n\r\n",
                     b"GET /a.txt HTTP/1.1\r\n\r\n", b"GET a.txt" + HEAD + b"\r\n",
                     b"GET /a.txt" + HEAD + b"Host: y\r\n\r\n", b"GET /a.txt" + HEAD + b"X\r\n\r\n",
                     b"GET /a.txt" + HEAD + b"X : y\r\n\r\n", b"GET /a.txt" + HEAD + b": y\r\n\r\n",
                     b"GET /a.txt" + HEAD + b" folded: y\r\n\r\n",
                     b"GET /a.txt" + HEAD + b"X: a\rb\r\n\r\n", b"GET /a.txt" + HEAD + b"X: \0\r\n\r\n",
                     b"GET /a.txt" + HEAD + b"Content-Length: -1\r\n\r\n",
                     b"GET /a.txt" + HEAD + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
                     b"GET /a.txt" + HEAD + b"X: half a reque"):
            with self.subTest(head):
                self.assertEqual(self.codes(head), [400])

    def test_400_bad_percent_escapes(self):
        for target in ("/%", "/%4", "/%4g", "/%+1", "/a.txt%00", "/%00a.txt"):
            with self.subTest(target):
                self.assertEqual(self.ask(target).status, 400)

    def test_405_other_methods_and_tell_which_there_are(self):
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "get"):
            with self.subTest(method):
                response = self.ask(method=method)
                self.assertEqual((response.status, response.headers["Allow"]), (405, "GET, HEAD"))

    def test_505_other_versions(self):
        self.assertEqual(self.codes(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), [505])

    def test_414_a_line_that_does_not_end(self):
        self.assertEqual(self.codes(b"GET /" + b"a" * 3_000_000), [414])

    def test_431_too_many_or_too_long_fields(self):
        for fields in (b"X: " + b"y" * 3_000_000, b"X: y\r\n" * 100_000):
            self.assertEqual(self.codes(b"GET /a.txt" + HEAD + fields), [431])

    def test_403_what_may_not_be_read(self):
        os.mkfifo(self.root / "fifo")
        self.assertEqual(self.ask("/fifo").status, 403)


class Jail(Served):
    def test_holds_in_every_spelling(self):
        (self.root / "sub").mkdir()
        for up in ("..", "%2e%2e", ".%2E", "sub/../..", "sub/..%2f..", "%2e%2e%2f%2e%2e", "/..",
                   "./..", "%2fetc/../..", "sub//../.."):
            for name in ("secret", "root/../secret"):
                with self.subTest(up):
                    response = self.ask(f"/{up}/{name}")
                    self.assertIn(response.status, (403, 404))
                    self.assertNotEqual(response.body, b"secret")

    def test_holds_for_links(self):
        (self.root / "file").symlink_to("../secret")
        (self.root / "absolute").symlink_to(self.root / "a.txt")
        (self.root / "folder").symlink_to("..")
        (self.root / "magic").symlink_to("/proc/self/root")
        for target in ("/file", "/absolute", "/folder/", "/folder/secret", "/magic/etc/passwd"):
            with self.subTest(target):
                self.assertEqual(self.ask(target).status, 403)

    def test_lets_links_lead_elsewhere_within(self):
        (self.root / "sub").mkdir()
        (self.root / "sub" / "link").symlink_to("../a.txt")
        self.assertEqual(self.ask("/sub/link").body, b"0123456789")

    def test_holds_while_links_are_exchanged(self):
        (self.root / "sub").mkdir()
        (self.root / "sub" / "secret").write_bytes(b"public")
        (self.root / "in").symlink_to("sub")
        (self.root / "out").symlink_to("..")
        for n in range(200):
            link = self.root / "now"
            mover = threading.Thread(target=os.replace, args=[self.root / ("in", "out")[n % 2], link])
            mover.start()
            self.assertNotEqual(self.ask("/now/secret").body, b"secret")
            mover.join()
            os.rename(link, self.root / ("in", "out")[n % 2])


class Peers(Served):
    @unittest.skipUnless(shutil.which("chromium"), "there is no chromium")
    def test_chromium_shows_a_page_with_all_its_parts(self):
        (self.root / "index.html").write_text(
            "<!DOCTYPE html><link rel=stylesheet href=a.css><img src=a.svg><script src=a.js></script>")
        (self.root / "a.css").write_text("body { color: rgb(1, 2, 3) }")
        (self.root / "a.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg' width='7' height='7'/>")
        (self.root / "a.js").write_text(
            "onload = () => document.body.append('color ' + getComputedStyle(document.body).color,"
            " ' width ' + document.images[0].naturalWidth)")
        done = subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
             f"--user-data-dir={self.folder}/profile", f"http://127.0.0.1:{self.server.port}/"],
            capture_output=True, text=True, timeout=2 * PATIENCE)
        self.assertIn("color rgb(1, 2, 3) width 7", done.stdout)

    @unittest.skipUnless(shutil.which("wrk"), "there is no wrk")
    def test_wrk_finds_no_fault(self):
        self.drain_log()
        url = f"http://127.0.0.1:{self.server.port}/a.txt"
        done = subprocess.run(["wrk", "-t1", "-c20", "-d1s", url], capture_output=True, text=True,
                              timeout=PATIENCE)
        self.assertRegex(done.stdout, r"[1-9]\d* requests in")
        self.assertNotRegex(done.stdout, "Socket errors|Non-2xx")

    def test_fifty_at_once_are_served(self):
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(connected(self.server)) for _ in range(50)]
            for client in reversed(clients):
                client.sendall(b"GET /a.txt" + HEAD + b"\r\n")
                self.assertTrue(client.recv(65536).startswith(b"HTTP/1.1 200 OK"))

    def test_who_vanishes_leaves_nothing_behind(self):
        os.truncate(self.root / "a.txt", 100_000_000)
        with connected(self.server) as stays:
            stays.sendall(b"HEAD /b" + HEAD + b"\r\n")
            self.assertTrue(stays.recv(65536))
            before = len(self.open_files())
            for _ in range(5):
                with connected(self.server) as client:
                    client.sendall(b"GET /a.txt" + HEAD + b"\r\n")
                    self.assertTrue(client.recv(1000))
            until(lambda: len(self.open_files()) <= before)
        self.assertEqual(self.ask(method="HEAD").status, 200)

    def test_ctrl_c_ends_it_though_clients_stay(self):
        os.truncate(self.root / "a.txt", 100_000_000)
        with connected(self.server) as idle, connected(self.server) as loading:
            idle.sendall(b"HEAD /a.txt" + HEAD + b"\r\n")
            loading.sendall(b"GET /a.txt" + HEAD + b"\r\n")
            self.assertTrue(idle.recv(65536) and loading.recv(65536))
            self.server.send_signal(signal.SIGINT)
            self.assertEqual(self.server.wait(8), 0)  # They might stay for 10 s.


class Changes(Served):
    """Of a file while it is sent."""

    def sent_while(self, change):
        os.truncate(self.root / "a.txt", 100_000_000)
        with connected(self.server) as client:
            client.sendall(b"GET /a.txt" + HEAD + b"\r\nHEAD /b" + HEAD + b"\r\n")
            start = client.recv(1000)
            change()
            client.shutdown(1)
            head, _, body = (start + rest(client)).partition(b"\r\n\r\n")
            self.assertIn(b"\r\nContent-Length: 100000000\r\n", head + b"\r\n")
            return body

    def test_that_shorten_it_end_the_connection(self):
        body = self.sent_while(lambda: os.truncate(self.root / "a.txt", 50_000_000))
        self.assertEqual(len(body), 50_000_000)

    def test_that_lengthen_it_do_not_count(self):
        body = self.sent_while(lambda: os.truncate(self.root / "a.txt", 150_000_000))
        self.assertTrue(body[100_000_000:].startswith(b"HTTP/1.1 404 Not Found\r\n"))


class Log(Served):
    def test_has_a_line_for_each_request(self):
        self.ask("/b")
        self.assertRegex(self.server.stdout.readline(),
                         r'^127\.0\.0\.1 - - \[.*\] "GET /b HTTP/1\.1" 404 -\n$')

    def test_lets_nothing_through_to_the_terminal(self):
        self.answers(b'\x1b[2J\x9b"\\\x7f\n')
        self.assertIn(r' "\x1B[2J\x9B\x22\x5C\x7F" 400 -', self.server.stdout.readline())


class Slow(Served):
    """Their times pass side by side."""

    @classmethod
    def setUpClass(cls):
        cls.serve(cls, cls.enterClassContext)
        os.truncate(cls.root / "a.txt", 100_000_000)
        cls.silent, cls.loading = [cls.enterClassContext(connected(cls.server)) for _ in "12"]
        cls.loading.sendall(b"GET /a.txt" + HEAD + b"\r\n")

    def setUp(self):
        pass

    def test_a_head_that_drips_is_refused(self):
        with connected(self.server) as client:
            while not select.select([client], [], [], 0.1)[0]:
                client.sendall(b"G")
            self.assertTrue(client.recv(65536).startswith(b"HTTP/1.1 408 "))

    def test_who_does_not_read_is_left(self):
        self.assertTrue(self.loading.recv(1000))
        until(lambda: str(self.root / "a.txt") not in self.open_files())
        self.assertLess(len(rest(self.loading)), 100_000_000)

    def test_who_says_nothing_is_left(self):
        self.assertEqual(self.silent.recv(1), b"")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
