"""What the benchmarks share: their arguments, rounds, figures, servers, the table and the JSON.

A benchmark is a script that ends in compare(), and is run as `script PROGRAMS RESULTS`: the
directory of the compiled programs and the one its JSON goes to. Rounds are short and many, since
whatever else a machine does comes in bouts; `--rounds 5 --effort 0.1` is a quick look.
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
HERE = Path(__file__).resolve().parent


@dataclass
class Workload:
    """What one figure of each contender means.

    target: the cost ratio asked of thinsock; limit: the same as a figure. worst: of all rounds,
    instead of their median. extra: what else goes into the JSON, or functions that return it.
    """

    name: str
    title: str
    unit: str
    target: float | None = None
    limit: float | None = None
    worst: bool = False
    extra: dict = field(default_factory=dict)

    def missed(self, figure, ratio):
        """A ratio is taken as the table shows it, with two digits."""
        if self.limit is not None:
            return figure > self.limit
        return self.target is not None and round(ratio, 2) > self.target


class Arguments:
    def __init__(self):
        parser = argparse.ArgumentParser()
        parser.add_argument("programs", type=Path)
        parser.add_argument("results", type=Path)
        parser.add_argument("--rounds", type=int, default=15)
        parser.add_argument("--effort", type=float, default=0.5, help="scales all amounts of work")
        given = parser.parse_args()
        self.programs, self.results = given.programs.resolve(), given.results
        self.rounds, self.effort = given.rounds, given.effort
        build = self.programs.parent.parent
        subprocess.run(["meson", "compile", "-C", build, "benchmarks"], check=True,
                       stdout=subprocess.DEVNULL)
        self.missing = set()

    def amount(self, most, least=1):
        return max(least, round(most * self.effort))

    def command(self, name, *args):
        """How a program is run; None, with a message, if it was not built on this machine."""
        if name.startswith("python_"):
            return [sys.executable, str(HERE / f"{name}.py"), *map(str, args)]
        path = self.programs / name
        if not path.exists():
            if name not in self.missing:
                print(f"skipped: {name} is not built, something it needs is missing", flush=True)
            self.missing.add(name)
            return None
        return [str(path), *map(str, args)]


def pin_to_one_cpu():
    """All that is started from now on shares one CPU: no wake-up of an idle one is measured."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


class Server:
    """A server program while it runs: with Server(command) as server. It prints its port first."""

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
        """Of all its threads, also of those that have ended: clock_getcpuclockid(3)."""
        return time.clock_gettime((~self.process.pid << 3) | 2)


class Client:
    """The client of all servers, in one of its modes (c_client.c)."""

    def __init__(self, arguments, mode, count, size=64, clients=1, scaled=True, alone=False):
        """count: of all clients together, unless one works alone while the others are there."""
        self.arguments, self.mode, self.size, self.clients = arguments, mode, size, clients
        self.workers = 1 if alone else clients
        self.each = max(1, (arguments.amount(count) if scaled else count) // self.workers)
        self.cpu = {}
        self.extra = {"ratios of CPU time, client and server": self.cpu_ratios}

    def seconds(self, port, each=None):
        client = self.arguments.command("c_client", self.mode, port, each or self.each, self.size,
                                        self.clients)
        return figure(client) / 1e9

    def microseconds(self, command):
        """What each unit takes with a server: time, and CPU time of the server and of both."""
        count = self.each * self.workers
        with Server(command) as server:
            server_before, client_before = server.cpu_seconds(), cpu_seconds_of_children()
            took = self.seconds(server.port)
            of_server = server.cpu_seconds() - server_before
            of_both = of_server + cpu_seconds_of_children() - client_before
        return [1e6 * seconds / count for seconds in (took, of_server, of_both)]

    def loads(self, servers, cpu=False):
        """For compare: {contender: "program arguments"} as functions, without the missing ones.

        They return the time, and with cpu the CPU time of the server too.
        """

        def load(name, command):
            took, of_server, of_both = self.microseconds(command)
            self.cpu.setdefault(name, []).append(of_both)
            return (took, of_server) if cpu else took

        functions = {}
        for name, program in servers.items():
            if command := self.arguments.command(*program.split()):
                functions[name] = partial(load, name, command)
        return functions

    def system_calls(self, servers):
        """{contender: system calls of a server for each unit}, without those to start it."""
        if not shutil.which("strace"):
            return "not counted, strace is missing"
        each = max(10, 200 // self.workers)
        calls = {}
        for name, program in servers.items():
            if command := self.arguments.command(*program.split()):
                few, many = (
                    system_calls(command, lambda port, times=times: self.seconds(port, times))
                    for times in (each, 2 * each)
                )
                calls[name] = round((many - few) / each / self.workers, 1)
        return calls

    def cpu_ratios(self):
        """As the ratios of time are when pinned to one CPU, but less disturbed by others on it."""
        medians = {name: statistics.median(values) for name, values in self.cpu.items()}
        return {name: round(median / medians[FLOOR], 3) for name, median in medians.items()}


def cpu_seconds_of_children():
    """Of those that have been waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def output(command):
    """What a program prints; it has to succeed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed with {done.returncode}")
    return done.stdout


def figure(command):
    """The one number a program prints."""
    return float(output(command))


def system_calls(command, load):
    """How many system calls a server makes until load(port) is done; strace counts them."""
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

    contenders maps a name to a function, which returns a figure for each workload (for a single
    one just that); one of them is the floor, which is measured twice. Smaller figures are better.
    """
    if isinstance(workloads, Workload):
        workloads = [workloads]
    contenders = dict(contenders)
    contenders[AGAIN] = contenders[FLOOR]
    values = [{name: [] for name in contenders} for _ in workloads]
    others = [name for name in contenders if name != FLOOR]
    for _ in range(arguments.rounds):
        random.shuffle(others)  # So that nobody always runs after the same one.
        for name in [FLOOR, *others]:
            figures = contenders[name]()
            figures = figures if isinstance(figures, (tuple, list)) else [figures]
            for each, value in zip(values, figures, strict=True):
                each[name].append(value)
    for workload, each in zip(workloads, values, strict=True):
        write(arguments, workload, each)


def write(arguments, workload, values):
    """Prints the table of a workload and writes its JSON. values: {contender: [one per round]}."""
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
    """How far the floor's two medians are apart, or half its interquartile range if more."""
    median = statistics.median(floor)
    quarters = statistics.quantiles(floor + again, n=4)
    return max(abs(statistics.median(again) / median - 1), (quarters[2] - quarters[0]) / 2 / median)


def judgement(workload, name, value, ratio):
    if name != OURS or workload.target is workload.limit is None:
        return ""
    asked = f"target {workload.target:g}" if workload.limit is None else f"limit {workload.limit:g}"
    return f"  {'missed' if workload.missed(value, ratio) else 'met'}, {asked}"
