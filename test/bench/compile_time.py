"""What the front end of the compiler takes for the smallest client, and how large that becomes."""

import json
import resource
import shlex
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from bench import AGAIN, FLOOR, Arguments, Workload, compare, pin_to_one_cpu, write

SOURCES = {
    "C": "c_smallest.c",
    "thinsock": "thinsock_smallest.cpp",
    "asio": "asio_smallest.cpp",
    "Poco": "poco_smallest.cpp",
    "SFML": "sfml_smallest.cpp",
}
# What any C++ with strings and exceptions has to include.
HEADERS = ["string", "optional", "system_error"]


def front_end(entry):
    """The compiler, with what it needs to find the headers and nothing else of meson's."""
    words = shlex.split(entry["command"])
    compiler = words[: next(i for i, word in enumerate(words) if word.startswith("-"))]
    paths = [word for word in words if word.startswith(("-I", "-D", "-isystem"))]
    standard = [] if entry["file"].endswith(".c") else ["-std=c++20"]
    return [*compiler, *paths, *standard, "-O0", "-fsyntax-only"]


def cpu_milliseconds(command, directory):
    """Of one run; there are so many that they take half a second together."""
    start = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = runs = 0
    while took < 0.5 * arguments.effort:
        subprocess.run(command, cwd=directory, check=True)
        runs += 1
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        took = now.ru_utime + now.ru_stime - start.ru_utime - start.ru_stime
    return 1e3 * took / runs


def stripped_size(program):
    with tempfile.NamedTemporaryFile() as stripped:
        subprocess.run(["strip", "-o", stripped.name, program], check=True)
        return Path(stripped.name).stat().st_size


arguments = Arguments()
pin_to_one_cpu()
build = next(parent for parent in arguments.programs.resolve().parents
             if (parent / "compile_commands.json").exists())
entries = {Path(entry["file"]).name: entry
           for entry in json.loads((build / "compile_commands.json").read_text())}
runs, sizes = {}, {}
for contender, source in SOURCES.items():
    if program := arguments.command(Path(source).stem):
        entry = entries[source]
        file = Path(entry["directory"], entry["file"])
        runs[contender] = partial(cpu_milliseconds, [*front_end(entry), str(file)],
                                  entry["directory"])
        sizes[contender] = program[0]
includes = [word for header in HEADERS for word in ("-include", header)]
ours = entries[SOURCES["thinsock"]]
runs[", ".join(f"`<{header}>`" for header in HEADERS) + " alone"] = partial(
    cpu_milliseconds, [*front_end(ours), *includes, "-x", "c++", "/dev/null"], ours["directory"])
compare(
    arguments,
    Workload("compile_time", "Front end of the compiler, smallest client", "ms of CPU time",
             target=13),
    runs,
)
if shutil.which("strip"):
    bytes_of = {name: [stripped_size(program) / 1000] for name, program in sizes.items()}
    write(arguments, Workload("compile_size", "The smallest client, stripped", "kB", target=1.5),
          bytes_of | {AGAIN: bytes_of[FLOOR]})
