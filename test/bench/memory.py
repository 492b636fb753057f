"""The memory a server needs for a connection that waits in a thread: pages and page tables."""

import re
import subprocess
from functools import partial
from pathlib import Path

from bench import Arguments, Server, Workload, compare, everyone, raise_descriptor_limit

SERVERS = everyone("threading_echo") | {"thinsock, recv(1024)": "thinsock_recv_hold"}
# Only these can be told how large a thread's stack is: 64 KiB.
SMALL_STACKS = {
    "C": "c_threading_echo 65536",
    "thinsock": "thinsock_threading_echo 65536",
}

arguments = Arguments()
most = raise_descriptor_limit()
connections = arguments.amount(10000)
if connections + 100 > most:
    connections = most - 100
    print(f"only {connections} connections, the limit is {most} descriptors", flush=True)


def memory(server):
    """In KiB: what the server's pages take, and its page tables."""
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
            # The server ends first, or Python's would report each connection that it loses.
            server.process.kill()
            server.process.wait()
            holding.stdin.close()
    pages, tables = [(b - a) / connections for a, b in zip(before, after)]
    return pages + tables, tables


def holders(servers):
    return {name: partial(held, command) for name, command in arguments.commands(servers).items()}


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
