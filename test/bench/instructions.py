"""User-space instructions of a round trip, and its allocations, counted by valgrind's callgrind.

Both are counted for COUNTS round trips and subtracted, so that starting and ending a program is not
in them. They repeat to the instruction, but for Python's. The kernel's instructions are not seen,
and the clock is asked by a system call, where otherwise the vDSO costs some fifty instructions.

    instructions.py PROGRAMS RESULTS    the benchmark
    instructions.py --check BUILD       fails if thinsock needs more than instructions.json says
    instructions.py --renew BUILD       writes what it needs now to instructions.json

The kept numbers are those of one compiler and C library. Renew them, with a word in the commit on
what the instructions are for, whenever --check asks for it; BUILD is set up with the default
options.
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

from bench import AGAIN, FLOOR, HERE, OURS, Arguments, Server, Workload, output, write

COUNTS = 100, 200
TOLERANCE = 1.05
KEPT = HERE / "instructions.json"
PREFIXES = {
    "C": "c",
    "thinsock": "thinsock",
    "asio": "asio",
    "Poco": "poco",
    "SFML": "sfml",
    "Python": "python",
}
ALLOCATORS = {"malloc", "calloc", "realloc", "memalign", "aligned_alloc", "posix_memalign"}
READY = f"c_trip_peer {max(COUNTS)}"  # Sends ahead.
LATE = "c_trip_peer 0"
ECHO = "c_udp_echo"
TIMEOUT = ["5"]

# name: (program, its other end, its arguments, the target)
KINDS = {
    "tcp": ("tcp_trip", READY, [], 1.6),
    "tcp_timeout": ("tcp_trip", READY, TIMEOUT, 2.0),
    "tcp_timeout_waiting": ("tcp_trip", LATE, TIMEOUT, 2.0),
    "udp": ("udp_trip", ECHO, [], 1.6),
}
TITLES = {
    "tcp": "Instructions of a TCP round trip",
    "tcp_timeout": "Instructions of a TCP round trip with a timeout (floor: none)",
    "tcp_timeout_waiting":
        "Instructions of a TCP round trip with a timeout that waits (floor: none)",
    "udp": "Instructions of a UDP round trip",
}
# Strings in place of recv_into; the name of each is what it calls.
BUFSIZES = {f"recv({size})": str(size) for size in [1024, 16384, 65536, 1 << 20]}


def profile(command):
    """The instructions of a whole program, and its calls of an allocator."""
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
    """The instructions and allocations of one; None if there is no such program."""
    if not arguments.command(program):
        return None
    few, many = COUNTS
    with Server(arguments.command(*peer.split())) as server:
        before = profile(arguments.command(program, server.port, few, *options))
        after = profile(arguments.command(program, server.port, many, *options))
    return [round((b - a) / (many - few), 2) for a, b in zip(before, after)]


def ours(arguments):
    """What is kept in the tree: {name: [instructions, allocations]}."""
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
            name: round_trip(arguments, f"{prefix}_{program}", peer, options)
            for name, prefix in PREFIXES.items()
            if name != FLOOR
        }
        # What a timeout costs is what it adds to doing without.
        plain = [round_trip(arguments, f"c_{program}", peer, []) for _ in range(2)]
        counts = {FLOOR: plain[0], **counts, AGAIN: plain[1]}
        if options:
            counts["C, poll"] = round_trip(arguments, f"c_{program}", peer, [*options, "poll"])
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
    """A build directory in place of the arguments of a benchmark."""

    def __init__(self, directory):
        self.programs = Path(directory, "test", "bench")
        needed = ["c_trip_peer", "c_udp_echo"]
        needed += [f"{OURS}_{kind}_trip" for kind in ["recv", "tcp", "udp"]]
        subprocess.run(["meson", "compile", "-C", directory, *needed], check=True)
        commands = json.loads(Path(directory, "compile_commands.json").read_text())
        compiler = next(one["command"].split() for one in commands
                        if one["file"].endswith(f"{OURS}_tcp_trip.cpp"))
        compiler = [word for word in compiler[:2] if not word.startswith("-")]  # Perhaps ccache.
        version = output([*compiler, "--version"]).splitlines()[0]
        self.tools = ", ".join([version, " ".join(platform.libc_ver()), platform.machine()])

    def command(self, name, *args):
        return [str(self.programs / name), *map(str, args)]


def kept():
    """{tools: {name: [instructions, allocations]}}"""
    return json.loads(KEPT.read_text()) if KEPT.exists() else {}


def check(build):
    """Whether nothing has grown. Prints what has changed."""
    if build.tools not in kept():
        print(f"{KEPT.name} has no numbers for {build.tools}: add them by --renew")
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
        print(f"Where that has to be, renew the numbers: {Path(__file__).name} --renew BUILD")
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
