"""The benchmarks in which c_client loads a server: `client_server.py NAME PROGRAMS RESULTS`.

Each name has one workload or a series of them. All contenders take part in turn, round by round.
"""

from dataclasses import dataclass

from bench import (Arguments, Client, Workload, compare, everyone, pin_to_one_cpu,
                   raise_descriptor_limit)


@dataclass
class Load:
    """One workload: what c_client does, to which servers, and how much cost is acceptable.

    count: units of work of all clients together. pinned: client and server share one CPU, and the
    JSON has the ratios of CPU time too. cpu: the server's CPU time is a second workload, with
    cpu_target. system_calls: they are counted as well, for each unit.
    """

    title: str
    servers: dict
    mode: str
    count: int
    unit: str
    size: int = 64
    clients: int = 1
    alone: bool = False
    scaled: bool = True
    pinned: bool = True
    target: float | None = None
    cpu: bool = False
    cpu_target: float | None = None
    system_calls: bool = False


ECHO = everyone("tcp_echo")
THREADING_ECHO = everyone("threading_echo")


def connect(arguments):
    """A thread for each connection, on all CPUs; the raw C creates one for each."""
    servers = THREADING_ECHO | {
        "C, threads that wait in accept": "c_accepting_echo",
        "thinsock, a derived server": "thinsock_derived_echo",
    }
    return {
        f"connect_{clients}": Load(
            f"TCP connect, echo, close; {clients} client{'s' * (clients > 1)}",
            servers, "connect", 8000, "connection", clients=clients, pinned=False,
            target=target, cpu=True, cpu_target=cpu, system_calls=True)
        for clients, target, cpu in [(1, 0.65, 0.55), (4, 0.65, 0.55), (16, 0.40, 0.33)]
    }


def forking(arguments):
    """A process for each connection; the floor has a thread for each.

    A fork costs more the more memory is mapped, so there is also C with C++'s library loaded.
    """
    servers = {
        "C": "c_threading_echo",
        "C, a fork each": "c_forking_echo",
        "C, a fork each with libstdc++ loaded": "c_forking_echo libstdc++.so.6",
        "thinsock": "thinsock_forking_echo",
        "Python": "python_forking_echo",
    }
    return {
        "forking": Load("TCP connect, echo, close; a fork each, over a thread each in C", servers,
                        "connect", 3000, "connection", pinned=False, target=2.4)
    }


def growth_busy(arguments):
    """How the cost of a round trip grows with busy handlers, each of which has a thread."""
    return {
        f"growth_busy_{clients}": Load(
            f"TCP ping-pong, {clients} busy handler{'s' * (clients > 1)}",
            THREADING_ECHO, "pingpong", 16000, "round trip", clients=clients)
        for clients in [1, 4, 16, 64]
    }


def growth_connections(arguments):
    """How the cost of a connection grows with open connections, each of which has a thread."""
    return {
        f"growth_connections_{connections}": Load(
            f"TCP connect, echo; {connections} open",
            THREADING_ECHO, "hold", 4000, "connection", clients=connections, alone=True)
        for connections in [1, 10, 100, 1000, 10000]
    }


def growth_size(arguments):
    """How the cost of a round trip grows with the size of the message."""
    return {
        f"growth_size_{size}": Load(f"TCP ping-pong, {text}", ECHO, "pingpong", count,
                                    "round trip", size=size)
        for size, text, count in [
            (1, "1 byte", 10000),
            (64, "64 bytes", 10000),
            (1 << 10, "1 KiB", 10000),
            (1 << 14, "16 KiB", 5000),
            (1 << 17, "128 KiB", 1000),
            (1 << 20, "1 MiB", 200),
        ]
    }


def lines(arguments):
    """A server reads lines of 64 bytes and writes each back, buffered both ways.

    Python's StreamRequestHandler does not buffer writes by default, so it is measured both ways.
    """
    servers = everyone("line_echo") | {"Python, writes unbuffered": "python_line_echo unbuffered"}
    return {
        "lines": Load("Line echo, buffered", servers, "lines", 2000000, "line", target=1.3,
                      cpu=True, cpu_target=1.3)
    }


def tcp_bulk(arguments):
    """A server sends as fast as the client takes it."""
    mebibytes = arguments.amount(2048)
    servers = {name: f"{program} {mebibytes << 20}"
               for name, program in everyone("tcp_bulk").items()}
    return {
        "tcp_bulk": Load("TCP bulk stream, writes of 64 KiB", servers, "receive", mebibytes, "MiB",
                         scaled=False, target=1.02)
    }


def tcp_pingpong(arguments):
    """A message there and back, over and over, on one TCP connection."""
    return {
        "tcp_pingpong": Load("TCP ping-pong, 64 bytes", ECHO, "pingpong", 40000, "round trip",
                             target=1.02, system_calls=True)
    }


def tcp_pingpong_timeout(arguments):
    """The same with a timeout of 5 s on each call, which the floor does without."""
    servers = {name: f"{program} 5" for name, program in ECHO.items()}
    servers |= {"C": ECHO["C"], "C with SO_RCVTIMEO": servers["C"]}
    return {
        "tcp_pingpong_timeout": Load(
            "TCP ping-pong with a timeout on each call, over C without", servers, "pingpong", 40000,
            "round trip", target=1.1, system_calls=True)
    }


def udp_pingpong(arguments):
    """A datagram there and back, over and over."""
    return {
        "udp_pingpong": Load("UDP ping-pong, 64 bytes", everyone("udp_echo"), "udp", 40000,
                             "round trip", target=1.02, system_calls=True)
    }


def udp_server(arguments):
    """64 datagrams are always under way; the floor is a loop.

    The peers have no server of datagrams, so theirs are loops too. thinsock is measured with its
    UDPServer and with a loop over its Socket.
    """
    servers = everyone("udp_echo") | {
        "thinsock": "thinsock_udp_server",
        "thinsock, a loop": "thinsock_udp_echo",
        "Python": "python_udp_server",
    }
    return {
        "udp_server": Load("UDP server, 64 datagrams under way", servers, "udp_window", 80000,
                           "datagram", target=1.05, system_calls=True)
    }


def udp_server_threading(arguments):
    """The same with a thread for each datagram; the floor is still the loop."""
    servers = {
        "C": "c_udp_echo",
        "C, threads that wait in recvfrom": "c_udp_threads",
        "C, a new thread each": "c_threading_udp",
        "thinsock": "thinsock_threading_udp",
        "Python": "python_threading_udp",
    }
    return {
        "udp_server_threading": Load("UDP server, a thread each, over a loop in C", servers,
                                     "udp_window", 20000, "datagram", target=1.2,
                                     system_calls=True)
    }


BENCHMARKS = {
    function.__name__: function
    for function in [connect, forking, growth_busy, growth_connections, growth_size, lines,
                     tcp_bulk, tcp_pingpong, tcp_pingpong_timeout, udp_pingpong, udp_server,
                     udp_server_threading]
}


def measure(arguments, name, load):
    client = Client(arguments, load.mode, load.count, load.size, load.clients, load.scaled,
                    load.alone)
    extra = {}
    if load.pinned:
        extra["ratios of CPU time, client and server"] = client.cpu_ratios
    if load.system_calls:
        extra[f"system calls per {load.unit}"] = client.system_calls(load.servers)
    unit = f"µs per {load.unit}"
    workloads = [Workload(name, load.title, unit, load.target, extra=extra)]
    if load.cpu:
        workloads.append(
            Workload(f"{name}_cpu", f"{load.title}: server CPU", unit, load.cpu_target))
    compare(arguments, workloads, client.loads(load.servers, cpu=load.cpu))


def main():
    arguments = Arguments(BENCHMARKS)
    descriptors = raise_descriptor_limit()
    loads = BENCHMARKS[arguments.name](arguments)
    if any(load.pinned for load in loads.values()):
        pin_to_one_cpu()
    for name, load in loads.items():
        if load.clients + 100 > descriptors:
            print(f"skipped: {load.clients} clients, the limit is {descriptors} descriptors",
                  flush=True)
            continue
        measure(arguments, name, load)


main()
