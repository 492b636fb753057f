"""What the benchmarks share: arguments, contenders, rounds, figures, servers, tables and JSON.

A benchmark ends in compare(). Its script is run as `script PROGRAMS RESULTS`, the directory of the
compiled programs and the directory for the JSON; client_server.py takes the name of the benchmark
before them. Rounds are short and many, because other work on the machine comes in bouts.
`--rounds 5 --effort 0.1` gives a quick look.
"""

import argparse
import json
import os
import random
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

FLOOR = "C"
AGAIN = "C again"
OURS = "thinsock"
# Each contender and how the names of its programs begin.
PREFIXES = {
    "C": "c",
    "thinsock": "thinsock",
    "asio": "asio",
    "Poco": "poco",
    "SFML": "sfml",
    "Python": "python",
}
HERE = Path(__file__).resolve().parent


def everyone(program):
    """{contender: its program of that name}, for all contenders that have one."""
    names = {contender: f"{prefix}_{program}" for contender, prefix in PREFIXES.items()}
    return {contender: name for contender, name in names.items() if any(HERE.glob(f"{name}.*"))}


@dataclass
class Workload:
    """What one figure of each contender means.

    The target is the highest cost ratio that thinsock should have, the limit its highest figure.
    With worst the worst of all rounds counts instead of their median. extra goes into the JSON
    too: values, or functions that return them.
    """

    name: str
    title: str
    unit: str
    target: float | None = None
    limit: float | None = None
    worst: bool = False
    extra: dict = field(default_factory=dict)

    def missed(self, figure, ratio):
        """Whether thinsock misses its target, with the ratio rounded as the table shows it."""
        if self.limit is not None:
            return figure > self.limit
        return self.target is not None and round(ratio, 2) > self.target


class Arguments:
    def __init__(self, names=()):
        """names: the benchmarks of a script that has several; the first argument is one of them."""
        parser = argparse.ArgumentParser()
        if names:
            parser.add_argument("name", choices=names)
        parser.add_argument("programs", type=Path)
        parser.add_argument("results", type=Path)
        parser.add_argument("--rounds", type=int, default=15)
        parser.add_argument("--effort", type=float, default=0.5, help="scales all amounts of work")
        given = parser.parse_args()
        self.name = given.name if names else None
        self.programs, self.results = given.programs.resolve(), given.results
        self.rounds, self.effort = given.rounds, given.effort
        build = self.programs.parent.parent
        subprocess.run(["meson", "compile", "-C", build, "benchmarks"], check=True,
                       stdout=subprocess.DEVNULL)
        self.missing = set()

    def amount(self, most, least=1):
        return max(least, round(most * self.effort))

    def command(self, name, *args):
        """The command that runs a program; None, with a message, if the program is not built."""
        if name.startswith("python_"):
            return [sys.executable, str(HERE / f"{name}.py"), *map(str, args)]
        path = self.programs / name
        if not path.exists():
            if name not in self.missing:
                print(f"skipped: {name} is not built, something it needs is missing", flush=True)
            self.missing.add(name)
            return None
        return [str(path), *map(str, args)]

    def commands(self, programs):
        """{contender: command} of {contender: "program arguments"}, without what is not built."""
        commands = {name: self.command(*program.split()) for name, program in programs.items()}
        return {name: command for name, command in commands.items() if command}


def pin_to_one_cpu():
    """Programs started from now on share one CPU, so that waking an idle one is not measured."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def raise_descriptor_limit():
    """Gives this process and the programs it starts as many descriptors as allowed: how many."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


class Server:
    """A running server program: `with Server(command) as server`. It prints its port first."""

    def __init__(self, command):
        self.command = command

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.strip().isdigit():
            self.__exit__()
            raise RuntimeError(f"{self.command[0]} has no port, it says {line!r}")
        self.port = int(line)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def cpu_seconds(self):
        """The CPU time of all its threads, ended ones included: clock_getcpuclockid(3)."""
        return time.clock_gettime((~self.process.pid << 3) | 2)


class Client:
    """c_client, which loads all servers, in one of its modes."""

    def __init__(self, arguments, mode, count, size=64, clients=1, scaled=True, alone=False):
        """count is what all clients do together; with alone one does it and the others are idle."""
        self.arguments, self.mode, self.size, self.clients = arguments, mode, size, clients
        self.workers = 1 if alone else clients
        self.each = max(1, (arguments.amount(count) if scaled else count) // self.workers)
        self.cpu = {}

    def seconds(self, port, each=None):
        client = self.arguments.command("c_client", self.mode, port, each or self.each, self.size,
                                        self.clients)
        return figure(client) / 1e9

    def microseconds(self, command):
        """What a unit of work takes: time, the server's CPU time, and CPU time of both."""
        count = self.each * self.workers
        with Server(command) as server:
            server_before, client_before = server.cpu_seconds(), cpu_seconds_of_children()
            took = self.seconds(server.port)
            of_server = server.cpu_seconds() - server_before
            of_both = of_server + cpu_seconds_of_children() - client_before
        return [1e6 * seconds / count for seconds in (took, of_server, of_both)]

    def loads(self, servers, cpu=False):
        """{contender: "program arguments"} as functions for compare.

        Each returns the time, and with cpu the CPU time of the server too.
        """

        def load(name, command):
            took, of_server, of_both = self.microseconds(command)
            self.cpu.setdefault(name, []).append(of_both)
            return (took, of_server) if cpu else took

        return {name: partial(load, name, command)
                for name, command in self.arguments.commands(servers).items()}

    def system_calls(self, servers):
        """{contender: system calls of its server for each unit}, start and end left out."""
        if not shutil.which("strace"):
            return "not counted, strace is missing"
        each = max(10, 200 // self.workers)
        calls = {}
        for name, command in self.arguments.commands(servers).items():
            few, many = (
                system_calls(command, lambda port, times=times: self.seconds(port, times))
                for times in (each, 2 * each)
            )
            calls[name] = round((many - few) / each / self.workers, 1)
        return calls

    def cpu_ratios(self):
        """On one CPU these are the ratios of time, less disturbed by other work on that CPU."""
        medians = {name: statistics.median(values) for name, values in self.cpu.items()}
        return {name: round(median / medians[FLOOR], 3) for name, median in medians.items()}


def cpu_seconds_of_children():
    """The CPU time of all children that have been waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def output(command):
    """What a program prints. An exception tells if it failed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed with {done.returncode}")
    return done.stdout


def figure(command):
    """The one number a program prints."""
    return float(output(command))


def system_calls(command, load):
    """The number of system calls of a server until load(port) returns, counted by strace."""
    with tempfile.NamedTemporaryFile("r") as summary:
        traced = ["strace", "-f", "-c", "-o", summary.name, *command]
        process = subprocess.Popen(traced, stdout=subprocess.PIPE, text=True)
        load(int(process.stdout.readline()))
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        for child in children.split():
            os.kill(int(child), signal.SIGKILL)
        process.wait()
        process.stdout.close()
        total = re.search(r"^100\.00.* total$", summary.read(), re.MULTILINE)
    # The columns: % time, seconds, usecs/call, calls, perhaps errors, total.
    return int(total.group().split()[3])


def compare(arguments, workloads, contenders):
    """Runs all contenders in turn, round by round, then prints and writes every workload.

    contenders maps a name to a function that returns a figure for each workload, or just the figure
    if there is one workload. The contender named FLOOR is measured twice. Smaller is better.
    """
    if isinstance(workloads, Workload):
        workloads = [workloads]
    contenders = dict(contenders)
    contenders[AGAIN] = contenders[FLOOR]
    values = [{name: [] for name in contenders} for _ in workloads]
    others = [name for name in contenders if name != FLOOR]
    for _ in range(arguments.rounds):
        random.shuffle(others)  # No contender always runs after the same one.
        for name in [FLOOR, *others]:
            figures = contenders[name]()
            figures = figures if isinstance(figures, (tuple, list)) else [figures]
            for each, value in zip(values, figures, strict=True):
                each[name].append(value)
    for workload, each in zip(workloads, values, strict=True):
        write(arguments, workload, each)


def write(arguments, workload, values):
    """Prints the table of a workload and writes its JSON; values is {contender: [one a round]}."""
    summary = max if workload.worst else statistics.median
    figures = {name: summary(each) for name, each in values.items()}
    floor = figures[FLOOR]
    noise = noise_of(values[FLOOR], values[AGAIN])
    extra = {what: value() if callable(value) else value for what, value in workload.extra.items()}
    print(f"\n{workload.title}, {workload.unit} (noise {noise:.1%})")
    for name, value in figures.items():
        print(f"  {name:<32} {value:>12.4g} {value / floor:>8.3f}"
              + judgement(workload, name, value, value / floor), flush=True)
    for what, value in extra.items():
        print(f"  {what}: {value}", flush=True)
    result = {
        "name": workload.name,
        "title": workload.title,
        "unit": workload.unit,
        "floor": FLOOR,
        "target": workload.target,
        "limit": workload.limit,
        "worst": workload.worst,
        "missed": OURS in figures and workload.missed(figures[OURS], figures[OURS] / floor),
        "noise": noise,
        "rows": [{"contender": name, "values": each} for name, each in values.items()],
        "extra": extra,
    }
    arguments.results.mkdir(parents=True, exist_ok=True)
    path = arguments.results / f"{workload.name}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def noise_of(floor, again):
    """The larger of: the distance of the floor's two medians, half its interquartile range."""
    median = statistics.median(floor)
    quarters = statistics.quantiles(floor + again, n=4)
    return max(abs(statistics.median(again) / median - 1), (quarters[2] - quarters[0]) / 2 / median)


def judgement(workload, name, value, ratio):
    if name != OURS or workload.target is workload.limit is None:
        return ""
    asked = f"target {workload.target:g}" if workload.limit is None else f"limit {workload.limit:g}"
    return f"  {'missed' if workload.missed(value, ratio) else 'met'}, {asked}"
