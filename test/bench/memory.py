"""The memory of a connection that waits in a thread of its own: the server's, with page tables."""

import re
import resource
import subprocess
from functools import partial
from pathlib import Path

from bench import Arguments, Server, Workload, compare

SERVERS = {
    "C": "c_hold",
    "thinsock": "thinsock_hold",
    "thinsock, recv(1024)": "thinsock_recv_hold",
    "asio": "asio_threading_echo",
    "Poco": "poco_threading_echo",
    "SFML": "sfml_threading_echo",
    "Python": "python_threading_echo",
}
# With stacks of 64 KiB, where there is a way to say so.
SMALL_STACKS = {
    "C": "c_hold 65536",
    "thinsock": "thinsock_hold 65536",
}

arguments = Arguments()
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
connections = arguments.amount(10000)
if connections + 100 > most:
    connections = most - 100
    print(f"only {connections} connections, the limit is {most} descriptors", flush=True)


def memory(server):
    """In KiB: of the pages, and of the tables that find them."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return [int(re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE).group(1))
            for field in ["VmRSS", "VmPTE"]]


def held(command):
    client = arguments.command("c_hold_client")
    with Server(command) as server:
        before = memory(server)
        with subprocess.Popen([*client, str(server.port), str(connections)], text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holding:
            if holding.stdout.readline() != "held\n":
                raise RuntimeError(f"{command[0]} does not hold {connections} connections")
            after = memory(server)
            server.process.kill()  # First, or Python's tells of every connection it loses.
            server.process.wait()
            holding.stdin.close()
    pages, tables = [(b - a) / connections for a, b in zip(before, after)]
    return pages + tables, tables


def holders(servers):
    commands = {name: arguments.command(*program.split()) for name, program in servers.items()}
    return {name: partial(held, command) for name, command in commands.items() if command}


huge = Path("/sys/kernel/mm/transparent_hugepage/enabled")
extra = {"connections": connections}
if huge.exists():
    extra["transparent huge pages"] = re.search(r"\[(\w+)\]", huge.read_text()).group(1)
title = "Memory of an idle connection, a thread each"
unit = "KiB per connection"
compare(
    arguments,
    [
        Workload("memory", title, unit, limit=12.4, extra=extra),
        Workload("memory_tables", f"{title}; of that, page tables", unit),
    ],
    holders(SERVERS),
)
compare(
    arguments,
    [
        Workload("memory_small_stacks", f"{title} with 64 KiB of stack", unit, limit=8.7,
                 extra=extra),
        Workload("memory_small_stacks_tables", f"{title} with 64 KiB of stack; page tables", unit),
    ],
    holders(SMALL_STACKS),
)
