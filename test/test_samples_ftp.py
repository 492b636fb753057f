"""Runs the FTP server against curl, lftp, tnftp and Python's ftplib."""

import concurrent.futures
import contextlib
import ftplib
import io
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from sample import FOLDER, PATIENCE, connected, running

DATA = os.urandom(3_000_000)
LONG = 3 * PATIENCE  # for what moves many files


def needs(tool):
    return unittest.skipUnless(shutil.which(tool), f"there is no {tool}")


class Control:
    """A control connection, line by line, for what no decent client sends."""

    def __init__(self, server):
        self.socket = connected(server)
        self.lines = self.socket.makefile("rb")
        self.reply()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.lines.close()
        self.socket.close()

    def reply(self):
        """The last line of a reply, or nothing once the server has closed."""
        while line := self.lines.readline():
            if line[3:4] == b" " and line[:3].isdigit():
                break
        return line.decode(errors="surrogateescape").rstrip("\r\n")

    def ask(self, command):
        command = command if isinstance(command, bytes) else command.encode()
        self.socket.sendall(command + b"\r\n")
        return self.reply()

    def code(self, command):
        return self.ask(command)[:3]

    def login(self):
        self.ask("USER user")
        assert self.code("PASS pw") == "230"
        return self

    def passive(self):
        """A data connection."""
        port = int(self.ask("EPSV").split("|")[3])
        return socket.create_connection(("127.0.0.1", port), PATIENCE)


class FtpServer(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.top = pathlib.Path(folder.name)
        self.site, self.mine = self.top / "site", self.top / "mine"
        self.site.mkdir()
        self.mine.mkdir()
        (self.top / "users").write_text("somebody:else\nuser:pw\n")
        (self.top / "outside").write_text("secret")
        self.server = self.enterContext(
            running("ftp_server", self.site, self.top / "users", patience=LONG))
        self.url = f"ftp://user:pw@127.0.0.1:{self.server.port}/"

    def ftplib(self):
        client = ftplib.FTP(timeout=PATIENCE)
        client.connect("127.0.0.1", self.server.port)
        client.login("user", "pw")
        return contextlib.closing(client)

    def control(self):
        return Control(self.server)

    def ran(self, *command, **options):
        alone = {"HOME": str(self.top), "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, cwd=self.mine,
                              env=alone, timeout=LONG, **options)
        self.assertEqual(done.returncode, 0, done)
        return done.stdout

    def curl(self, *arguments):
        self.ran("curl", "-sS", *arguments)

    def lftp(self, *commands):
        settings = "set net:max-retries 1; set net:timeout 10; set xfer:clobber on; "
        return self.ran("lftp", "--norc", "-e", settings + "; ".join(commands) + "; quit", self.url)

    def tnftp(self, *commands):
        login = f"open 127.0.0.1 {self.server.port}", "user user pw"
        script = "\n".join([*login, *commands, "bye\n"])
        return self.ran("tnftp", "-n", "-i", "-v", input=script)

    @needs("curl")
    def test_curl_uploads_and_downloads(self):
        (self.mine / "data").write_bytes(DATA)
        self.curl("-T", "data", self.url)
        self.assertEqual((self.site / "data").read_bytes(), DATA)
        self.curl("-o", "back", self.url + "data")
        self.assertEqual((self.mine / "back").read_bytes(), DATA)

    @needs("curl")
    def test_curl_resumes_in_both_directions(self):
        for to, fro in ((self.mine / "down", self.site / "down"),
                        (self.site / "up", self.mine / "up")):
            fro.write_bytes(DATA)
            to.write_bytes(DATA[:1_000_001])
        self.curl("-C", "-", "-o", "down", self.url + "down", "--next", "-sS", "-C", "-",
                  "-T", "up", self.url)
        self.assertEqual((self.mine / "down").read_bytes(), DATA)
        self.assertEqual((self.site / "up").read_bytes(), DATA)

    @needs("lftp")
    def test_lftp_mirrors_a_tree_down_and_up(self):
        for number in range(500):
            file = self.site / "tree" / f"{number % 7}" / f"é {number % 11}" / f'"{number}"'
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(DATA[number:17 * number])
        self.lftp("mirror --parallel=4 tree", "mirror -R --parallel=4 tree up")
        for copy in (self.mine / "tree", self.site / "up"):
            self.assertEqual(self.ran("diff", "-r", self.site / "tree", copy), "")

    @needs("lftp")
    def test_lftp_resumes_in_both_directions(self):
        (self.site / "down").write_bytes(DATA)
        (self.mine / "down").write_bytes(DATA[:1_000_001])
        (self.mine / "up").write_bytes(DATA)
        (self.site / "up").write_bytes(DATA[:2_000_001])
        self.lftp("reget down", "put -c up")
        self.assertEqual((self.mine / "down").read_bytes(), DATA)
        self.assertEqual((self.site / "up").read_bytes(), DATA)

    @needs("lftp")
    def test_lftp_reads_both_listings(self):
        (self.site / "data").write_bytes(b"12345")
        os.utime(self.site / "data", (1278000000, 1278000000))
        (self.site / "sub").mkdir()
        for mlsd in ("off", "on"):
            with self.subTest(mlsd=mlsd):
                listed = self.lftp(f"set ftp:use-mlsd {mlsd}",
                                   "cls -1 -s -F --block-size=1 --date --time-style=%Y")
                self.assertRegex(listed, r"5 2010 data\n.* sub/\n")

    @needs("tnftp")
    def test_tnftp_gets_puts_and_lists(self):
        (self.site / "sub").mkdir()
        (self.site / "sub/data").write_bytes(DATA)
        (self.mine / "mine").write_bytes(DATA)
        for mode in ("passive on", "passive off", "epsv4 off"):
            with self.subTest(mode):
                said = self.tnftp(mode, 'ls "-l sub"', "get sub/data back", "put mine theirs")
                self.assertRegex(said, r"-rw-r--r-- .* 3000000 .* data")
                for copy in (self.mine / "back", self.site / "theirs"):
                    self.assertEqual(copy.read_bytes(), DATA)
                    copy.unlink()

    def test_ftplib_in_every_mode_of_transfer(self):
        for passive in (True, False):
            with self.subTest(passive=passive), self.ftplib() as ftp:
                ftp.set_pasv(passive)
                ftp.storbinary("STOR data", io.BytesIO(DATA))
                back = io.BytesIO()
                ftp.retrbinary("RETR data", back.write)
                self.assertEqual(back.getvalue(), DATA)
                ftp.storbinary("APPE data", io.BytesIO(b"more"))
                self.assertEqual(ftp.size("data"), len(DATA) + 4)

    def test_ftplib_manages_directories(self):
        with self.ftplib() as ftp:
            self.assertEqual(ftp.mkd('a "b"'), '/a "b"')
            ftp.cwd('a "b"')
            self.assertEqual(ftp.pwd(), '/a "b"')
            ftp.storbinary("STOR one", io.BytesIO(b"12345"))
            ftp.rename("one", "../ä")
            ftp.cwd("..")
            self.assertEqual(sorted(ftp.nlst()), ['a "b"', "ä"])
            ftp.rmd('a "b"')
            self.assertEqual([(name, facts["type"], facts["size"]) for name, facts in ftp.mlsd()],
                             [("ä", "file", "5")])
            ftp.delete("ä")
            self.assertEqual(os.listdir(self.site), [])

    def test_tells_size_and_time(self):
        (self.site / "data").write_bytes(b"12345")
        os.utime(self.site / "data", (1234567890.5, 1234567890.5))
        with self.control().login() as control:
            self.assertEqual(control.ask("SIZE data"), "213 5")
            self.assertEqual(control.ask("MDTM data"), "213 20090213233130")
            self.assertEqual(control.code("SIZE /"), "550")
        with self.ftplib() as ftp:
            self.assertEqual(dict(ftp.mlsd())["data"]["modify"], "20090213233130")

    def test_ipv6(self):
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            self.skipTest("there is no IPv6")
        command = [os.path.join(FOLDER, "ftp_server"), self.site, self.top / "users", "::1", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, \
                contextlib.ExitStack() as stack:
            stack.callback(server.kill)
            port = int(server.stdout.readline().rpartition(":")[2])
            ftp = ftplib.FTP(timeout=PATIENCE)
            ftp.connect("::1", port)
            ftp.login("user", "pw")
            for passive in (True, False):
                ftp.set_pasv(passive)
                ftp.storbinary("STOR data", io.BytesIO(DATA))
            self.assertEqual((self.site / "data").read_bytes(), DATA)
            self.assertRaisesRegex(ftplib.error_temp, "425", ftp.sendcmd, "PASV")
            self.assertRaisesRegex(ftplib.error_perm, "522", ftp.sendcmd, "EPSV 1")
            ftp.close()
            server.send_signal(signal.SIGINT)
            self.assertEqual(server.wait(PATIENCE), 0)

    def test_fifty_clients_at_once(self):
        def client(number):
            with self.ftplib() as ftp:
                together.wait(PATIENCE)
                ftp.storbinary(f"STOR {number}", io.BytesIO(DATA[number:]))
                back = io.BytesIO()
                ftp.retrbinary(f"RETR {number}", back.write)
                return back.getvalue() == DATA[number:]

        together = threading.Barrier(50)
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            self.assertTrue(all(pool.map(client, range(50))))

    def test_goes_on_where_a_vanished_client_left_off(self):
        with self.control().login() as control, control.passive() as data:
            self.assertEqual(control.code("STOR data"), "150")
            data.sendall(DATA[:1_000_001])
            deadline = time.monotonic() + PATIENCE
            while (self.site / "data").stat().st_size < 500_000:
                self.assertLess(time.monotonic(), deadline)
        with self.ftplib() as ftp:
            there = ftp.size("data")
            self.assertGreaterEqual(there, 500_000)
            ftp.storbinary("STOR data", io.BytesIO(DATA[there:]), rest=there)
            self.assertEqual((self.site / "data").read_bytes(), DATA)

    def test_a_file_beyond_2_gb(self):
        with open(self.site / "huge", "wb") as huge:
            huge.seek((1 << 31) + 5)
            huge.write(b"the end")
        with self.ftplib() as ftp:
            ftp.voidcmd("TYPE I")
            self.assertEqual(ftp.size("huge"), (1 << 31) + 12)
            back = io.BytesIO()
            ftp.retrbinary("RETR huge", back.write, rest=(1 << 31) + 4)
            self.assertEqual(back.getvalue(), b"\0the end")

    def test_rest_beyond_the_end_is_refused(self):
        (self.site / "data").write_bytes(b"12345")
        with self.control().login() as control, control.passive():
            self.assertEqual(control.code("REST 6"), "350")
            self.assertEqual(control.code("RETR data"), "554")
            self.assertEqual(control.code("REST -1"), "350")
            self.assertEqual(control.code("STOR data"), "554")

    def test_abor_ends_a_transfer(self):
        (self.site / "data").write_bytes(DATA * 20)
        signals = (b"", b"\xff\xf4\xff\xf2")
        for before in signals:
            with self.subTest(before), self.control().login() as control, \
                    control.passive() as data:
                self.assertEqual(control.code("RETR data"), "150")
                self.assertEqual(data.recv(1), DATA[:1])
                control.socket.send(before + b"ABOR\r\n", socket.MSG_OOB)
                self.assertEqual([control.reply()[:3], control.reply()[:3]], ["426", "226"])
                self.assertEqual(control.code("NOOP"), "200")

    def test_commands_sent_during_a_transfer_are_answered_after_it(self):
        with self.control().login() as control, control.passive() as data:
            self.assertEqual(control.code("STOR data"), "150")
            control.socket.sendall(b"SIZE data\r\nNO")
            control.socket.sendall(b"OP\r\nSYST\r\n")
            data.sendall(b"12345")
            data.close()
            self.assertEqual([control.reply()[:5] for _ in range(4)],
                             ["226 D", "213 5", "200 D", "215 U"])

    def test_a_data_connection_that_does_not_come_can_be_aborted(self):
        with self.control().login() as control:
            control.ask("EPSV")
            self.assertEqual(control.code("LIST"), "150")
            self.assertEqual(control.code("ABOR"), "425")
            self.assertEqual(control.reply()[:3], "226")

    def test_no_path_leads_out(self):
        (self.site / "absolute").symlink_to(self.top)
        (self.site / "up").symlink_to("../..")
        (self.site / "file").symlink_to(self.top / "outside")
        (self.site / "data").touch()
        with self.control().login() as control, control.passive():
            for way in ("absolute/", "up/", "../", "/../", str(self.top) + "/", "up/../../"):
                for command in ("RETR", "DELE", "SIZE", "MDTM", "LIST", "MLSD", "RNFR", "CWD"):
                    with self.subTest(way=way, command=command):
                        self.assertEqual(control.code(f"{command} {way}outside"), "550")
            for command in ("RETR file", "STOR file", "STOR absolute/new", "MKD absolute/new",
                            "RMD absolute/mine", "CWD absolute"):
                with self.subTest(command):
                    self.assertEqual(control.code(command), "550")
            for target in ("../moved", "up/moved", "../../moved"):
                with self.subTest(target):
                    self.assertEqual(control.code("RNFR data"), "350")
                    self.assertEqual(control.code("RNTO " + target), "250")
                    (self.site / "moved").rename(self.site / "data")
            for command in ("CWD /..", "CDUP", "CWD up", "CWD ../../.."):
                self.assertEqual(control.code(command), "250")
        self.assertEqual(sorted(os.listdir(self.top)), ["mine", "outside", "site", "users"])

    def test_a_link_within_is_followed(self):
        (self.site / "sub").mkdir()
        (self.site / "sub/data").write_bytes(b"12345")
        (self.site / "link").symlink_to("/sub/data")
        with self.ftplib() as ftp:
            back = io.BytesIO()
            ftp.retrbinary("RETR link", back.write)
            self.assertEqual(back.getvalue(), b"12345")
            self.assertEqual(ftp.nlst(), ["sub"])

    def test_port_names_nobody_else_and_no_service(self):
        with self.control().login() as control, socket.create_server(("127.0.0.2", 0)) as other:
            port = other.getsockname()[1]
            for command in (f"PORT 127,0,0,2,{port // 256},{port % 256}", "PORT 127,0,0,1,0,25",
                            f"EPRT |1|127.0.0.2|{port}|", "EPRT |1|127.0.0.1|-9|"):
                self.assertEqual(control.code(command), "504", command)
            self.assertEqual(control.code("EPRT |2|::1|5000|"), "522")
            self.assertEqual(control.code("LIST"), "425")

    def test_nobody_else_gets_the_data(self):
        (self.site / "data").write_bytes(b"12345")
        with self.control().login() as control:
            address = ("127.0.0.1", int(control.ask("EPSV").split("|")[3]))
            with socket.create_connection(address, PATIENCE, ("127.0.0.2", 0)) as other:
                self.assertEqual(control.code("RETR data"), "150")
                self.assertEqual(other.recv(10), b"")
                with socket.create_connection(address, PATIENCE) as data:
                    self.assertEqual(data.recv(10), b"12345")

    def test_nothing_works_before_login(self):
        with self.control() as control:
            for command in ("LIST", "RETR data", "STOR data", "PASV", "CWD /", "MKD x", "SIZE x"):
                self.assertEqual(control.code(command), "530", command)
            self.assertEqual(control.code("PASS pw"), "503")
            self.assertEqual(os.listdir(self.site), [])

    def test_a_wrong_name_looks_like_a_wrong_password(self):
        replies = set()
        for name, password in (("user", "pW"), ("nobody", "pw"), ("user", "pw2"), ("user", "p"),
                               ("user", "else"), ("user", ""), ("", "pw"), ("use", "r:pw\0")):
            with self.control() as control:
                replies.add((control.ask("USER " + name), control.ask("PASS " + password)))
        self.assertEqual(len({pair for pair in replies if pair[1][:3] != "503"}), 1, replies)

    def test_user_begins_a_new_login(self):
        with self.control().login() as control:
            self.assertEqual(control.code("PASS pw"), "503")
            self.assertEqual(control.code("USER user"), "331")
            self.assertEqual(control.code("PWD"), "530")

    def test_three_attempts_are_enough(self):
        with self.control() as control:
            for _ in range(3):
                self.assertEqual(control.code("USER user"), "331")
                self.assertEqual(control.code("PASS guess"), "530")
            self.assertEqual(control.reply(), "")

    def test_odd_commands_get_the_replies_of_the_rfc(self):
        with self.control().login() as control:
            for command, code in (("XYZZY", "500"), ("", "500"), ("RNTO x", "503"), ("CWD", "501"),
                                  ("RNFR .", "350"), ("NOOP", "200"), ("RNTO x", "503"),
                                  ("LIST", "425"),
                                  ("DELE", "501"), ("PORT 1,2,x", "501"), ("PORT", "501"),
                                  ("EPRT", "501"), ("EPRT |1|x|5000|", "504"), ("TYPE E", "504"),
                                  ("PORT 127,0,0,1,99999999,1", "504"), ("REST x", "501"),
                                  ("EPSV 2", "522"), ("RETR nothing", "550"), ("cdup", "250"),
                                  ("STOR a\rb", "553"), ("MKD a\0b", "553"), ("ABOR", "226")):
                self.assertEqual(control.code(command), code, command)

    def test_bytes_that_are_no_utf8_are_names_too(self):
        with self.control().login() as control:
            self.assertEqual(control.code(b"MKD \xc3\x28\xfe"), "257")
            self.assertEqual(control.code(b"CWD \xc3\x28\xfe"), "250")
            self.assertEqual(control.ask("PWD"), '257 "/\udcc3(\udcfe"')

    def test_a_name_of_two_lines_does_not_break_a_listing(self):
        (self.site / "a\r\n-rw-r--r-- 1 ftp ftp 1 Jan 1 2000 b").touch()
        (self.site / "c").touch()
        with self.ftplib() as ftp:
            self.assertEqual(ftp.nlst(), ["c"])

    def test_a_fifo_does_not_hang_a_transfer(self):
        os.mkfifo(self.site / "fifo")
        with self.control().login() as control, control.passive():
            self.assertEqual(control.code("RETR fifo"), "550")
            self.assertEqual(control.code("STOR fifo"), "550")

    def test_an_endless_line_ends_the_connection(self):
        with self.control() as control, contextlib.suppress(ConnectionError):
            control.socket.sendall(b"x" * 1_000_000)
            self.assertIn(control.reply()[:3], ("500", ""))
            self.assertEqual(control.reply(), "")
        with self.control().login() as control:
            self.assertEqual(control.code("NOOP"), "200")

    def test_a_line_of_telnet_commands_during_a_transfer_does_no_harm(self):
        with self.control().login() as control, control.passive(), \
                contextlib.suppress(ConnectionError):
            self.assertEqual(control.code("STOR data"), "150")
            control.socket.sendall(b"\xff" * 1_000_000)
            while control.reply():
                pass
        with self.control().login() as control:
            self.assertEqual(control.code("NOOP"), "200")

    def test_random_bytes_do_no_harm(self):
        random_bytes = random.Random(1)
        words = [b"USER user", b"PASS pw", b"EPSV", b"RETR", b"PORT", b"LIST", b"\xff\xf4", b"/../",
                 b"ABOR", b"REST 99999999999999999999", b"EPRT |1|", b"CWD", b"\0", b"\r\n"]
        for _ in range(100):
            with self.control() as control, contextlib.suppress(ConnectionError):
                control.socket.sendall(b"".join(
                    random_bytes.choice(words) + random_bytes.randbytes(random_bytes.randrange(9))
                    + random_bytes.choice((b"\r\n", b" ", b"\n")) for _ in range(50)))
                control.socket.shutdown(socket.SHUT_WR)
                while control.lines.read(65536):
                    pass
        with self.control().login() as control:
            self.assertEqual(control.code("NOOP"), "200")

    def test_ctrl_c_ends_it_though_clients_stay(self):
        with self.control().login() as idle, self.control().login() as busy, busy.passive():
            self.assertEqual(busy.code("STOR data"), "150")
            self.server.send_signal(signal.SIGINT)
            self.assertEqual(self.server.wait(PATIENCE), 0)
            self.assertEqual(idle.reply(), "")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
