"""User-space instructions of a round trip, and its allocations, counted by valgrind's callgrind.

A program runs twice, with the COUNTS of round trips, and the difference leaves out its start and
its end. Counts repeat to the instruction, except Python's. callgrind does not see the kernel's
instructions, and under it reading the clock is a system call, where the vDSO would execute about
fifty instructions.

    instructions.py PROGRAMS RESULTS    runs the benchmark
    instructions.py --check BUILD       fails if thinsock needs more than instructions.json says
    instructions.py --renew BUILD       writes the numbers of today to instructions.json

instructions.json has the numbers of one compiler and C library. When --check fails for a good
reason, renew them and say in the commit what the instructions are for. BUILD is a build directory
with the default options.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import AGAIN, FLOOR, HERE, OURS, Arguments, Server, Workload, everyone, output, write

COUNTS = 100, 200
TOLERANCE = 1.05
KEPT = HERE / "instructions.json"
ALLOCATORS = {"malloc", "calloc", "realloc", "memalign", "aligned_alloc", "posix_memalign"}
READY = f"c_trip_peer {max(COUNTS)}"  # Sends all messages in advance: no receive waits.
LATE = "c_trip_peer 0"  # Answers each message a little later: every receive waits.
ECHO = "c_udp_echo"
TIMEOUT = ["5"]

# name: (program, its other end, its arguments, the target)
KINDS = {
    "tcp": ("tcp_trip", READY, [], 2.2),
    "tcp_timeout": ("tcp_trip", READY, TIMEOUT, 2.2),
    "tcp_timeout_waiting": ("tcp_trip", LATE, TIMEOUT, 2.0),
    "udp": ("udp_trip", ECHO, [], 1.6),
}
TITLES = {
    "tcp": "Instructions of a TCP round trip",
    "tcp_timeout": "Instructions of a TCP round trip with a timeout, over C without",
    "tcp_timeout_waiting":
        "Instructions of a TCP round trip with a timeout, when each receive waits",
    "udp": "Instructions of a UDP round trip",
}
# recv, which returns a string, in place of recv_into: {call: size}.
BUFSIZES = {f"recv({size})": str(size) for size in [1024, 16384, 65536, 1 << 20]}


def profile(command):
    """The instructions of a whole program, and how often it calls an allocator."""
    with tempfile.NamedTemporaryFile("r") as out:
        counted = ["valgrind", "--tool=callgrind", "--quiet", "--compress-strings=no"]
        environment = os.environ | {"PYTHONHASHSEED": "0"}
        subprocess.run([*counted, f"--callgrind-out-file={out.name}", *command], check=True,
                       timeout=300, env=environment)
        text = out.read()
    instructions = int(re.search(r"^totals: (\d+)$", text, re.MULTILINE).group(1))
    called = re.findall(r"^cfn=(.*)\ncalls=(\d+) ", text, re.MULTILINE)
    return instructions, sum(int(calls) for name, calls in called if name in ALLOCATORS)


def round_trip(arguments, program, peer, options):
    """[instructions, allocations] of one round trip; None if the program is not built."""
    if not arguments.command(program):
        return None
    few, many = COUNTS
    with Server(arguments.command(*peer.split())) as server:
        before = profile(arguments.command(program, server.port, few, *options))
        after = profile(arguments.command(program, server.port, many, *options))
    return [round((b - a) / (many - few), 2) for a, b in zip(before, after)]


def ours(arguments):
    """What instructions.json keeps: {name: [instructions, allocations]}."""
    counts = {
        kind: round_trip(arguments, f"{OURS}_{program}", peer, options)
        for kind, (program, peer, options, _) in KINDS.items()
    }
    for name, bufsize in BUFSIZES.items():
        counts[name] = round_trip(arguments, f"{OURS}_recv_trip", LATE, [bufsize])
    return counts


def benchmark(arguments):
    for kind, (program, peer, options, target) in KINDS.items():
        counts = {
            name: round_trip(arguments, command, peer, options)
            for name, command in everyone(program).items()
            if name != FLOOR
        }
        # The floor has no timeout, so that the ratio tells what a timeout adds.
        plain = [round_trip(arguments, f"c_{program}", peer, []) for _ in range(2)]
        counts = {FLOOR: plain[0], **counts, AGAIN: plain[1]}
        if options:
            counts["C with poll"] = round_trip(arguments, f"c_{program}", peer, [*options, "poll"])
        counts = {name: count for name, count in counts.items() if count}
        extra = {"allocations": {name: allocations for name, (_, allocations) in counts.items()}}
        if kind == "tcp":
            extra["thinsock, strings: instructions, allocations"] = {
                name: round_trip(arguments, f"{OURS}_recv_trip", LATE, [bufsize])
                for name, bufsize in BUFSIZES.items()
            }
        workload = Workload(f"instructions_{kind}", TITLES[kind], "instructions per round trip",
                            target=target, extra=extra)
        write(arguments, workload, {name: [count] for name, (count, _) in counts.items()})


class Build:
    """A build directory, used where a benchmark has its Arguments."""

    def __init__(self, directory):
        self.programs = Path(directory, "test", "bench")
        needed = ["c_trip_peer", "c_udp_echo"]
        needed += [f"{OURS}_{kind}_trip" for kind in ["recv", "tcp", "udp"]]
        subprocess.run(["meson", "compile", "-C", directory, *needed], check=True)
        commands = json.loads(Path(directory, "compile_commands.json").read_text())
        compiler = next(one["command"].split() for one in commands
                        if one["file"].endswith(f"{OURS}_tcp_trip.cpp"))
        # The first word may be ccache.
        compiler = [word for word in compiler[:2] if not word.startswith("-")]
        version = output([*compiler, "--version"]).splitlines()[0]
        self.tools = ", ".join([version, " ".join(platform.libc_ver()), platform.machine()])

    def command(self, name, *args):
        return [str(self.programs / name), *map(str, args)]


def kept():
    """{tools: {name: [instructions, allocations]}}"""
    return json.loads(KEPT.read_text()) if KEPT.exists() else {}


def check(build):
    """Whether no number has grown. Prints the ones that have changed."""
    if build.tools not in kept():
        print(f"{KEPT.name} has no numbers for {build.tools}: add them with --renew")
        return False
    numbers = kept()[build.tools]
    good = True
    for name, now in ours(build).items():
        before = numbers.get(name, [0, 0])
        grown = now[0] > before[0] * TOLERANCE or now[1] > before[1]
        good = good and not grown
        if now != before:
            print(f"{name}: {now[0]:g} instructions and {now[1]:g} allocations, kept are "
                  f"{before[0]:g} and {before[1]:g}" + (": it has grown" if grown else ""))
    if not good:
        print(f"For a good reason, renew the numbers: {Path(__file__).name} --renew BUILD")
    return good


def renew(build):
    numbers = json.dumps(kept() | {build.tools: ours(build)}, indent=1)
    KEPT.write_text(re.sub(r"\[\s+([\d.]+),\s+([\d.]+)\s+\]", r"[\1, \2]", numbers) + "\n")


def main():
    option = sys.argv[1] if len(sys.argv) == 3 else None
    if not shutil.which("valgrind"):
        print("skipped: valgrind is not installed")
        return 1 if option == "--check" else 0
    if option == "--check":
        return 0 if check(Build(sys.argv[2])) else 1
    if option == "--renew":
        return renew(Build(sys.argv[2]))
    return benchmark(Arguments())


sys.exit(main())
