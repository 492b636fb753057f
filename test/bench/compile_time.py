"""CPU time of the compiler's front end for the smallest client, and the size of its program."""

import json
import os
import resource
import shlex
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from bench import (AGAIN, FLOOR, OURS, Arguments, Workload, compare, everyone, pin_to_one_cpu,
                   write)

# Headers that every C++ program with strings and system errors includes.
HEADERS = ["string", "optional", "system_error"]


def front_end(entry):
    """The compiler's command, with the paths and macros that Meson gives it and nothing else."""
    words = shlex.split(entry["command"])
    compiler = words[: next(i for i, word in enumerate(words) if word.startswith("-"))]
    paths = [word for word in words if word.startswith(("-I", "-D", "-isystem"))]
    standard = [] if entry["file"].endswith(".c") else ["-std=c++20"]
    return [*compiler, *paths, *standard, "-O0", "-fsyntax-only"]


def cpu_milliseconds(command, directory):
    """The CPU time of one run, from as many runs as take half a second together."""
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
os.environ["CCACHE_DISABLE"] = "1"  # A cache would answer instead of the compiler.
pin_to_one_cpu()
build = next(parent for parent in arguments.programs.resolve().parents
             if (parent / "compile_commands.json").exists())
entries = {Path(entry["file"]).stem: entry
           for entry in json.loads((build / "compile_commands.json").read_text())}
programs = everyone("smallest")
runs, sizes = {}, {}
for contender, [program] in arguments.commands(programs).items():
    entry = entries[programs[contender]]
    file = Path(entry["directory"], entry["file"])
    runs[contender] = partial(cpu_milliseconds, [*front_end(entry), str(file)], entry["directory"])
    sizes[contender] = program
includes = [word for header in HEADERS for word in ("-include", header)]
ours = entries[programs[OURS]]
runs[", ".join(f"`<{header}>`" for header in HEADERS) + " only"] = partial(
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
