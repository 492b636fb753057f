"""The same as udp_server with a thread for each datagram; the floor is the loop all the same."""

from bench import Arguments, Client, Workload, compare, pin_to_one_cpu

SERVERS = {
    "C": "c_udp_echo",
    "C, waiting in recvfrom": "c_udp_threads",
    "C, pthread_create": "c_threading_udp",
    "thinsock": "thinsock_threading_udp",
    "Python": "python_threading_udp",
}

arguments = Arguments()
pin_to_one_cpu()
client = Client(arguments, "udp_window", count=20000, size=64)
compare(
    arguments,
    Workload(
        "udp_server_threading",
        "UDP server, a thread each (floor: a loop)",
        "µs per datagram",
        target=1.2,
        extra=client.extra | {"system calls per datagram": client.system_calls(SERVERS)},
    ),
    client.loads(SERVERS),
)
