"""A server of datagrams of 64 bytes, 64 of which are always under way; the floor is a loop.

The peers, which have no such server, are loops too; beside thinsock's UDPServer there is one of its
Socket.
"""

from bench import Arguments, Client, Workload, compare, pin_to_one_cpu

SERVERS = {
    "C": "c_udp_echo",
    "thinsock": "thinsock_udp_server",
    "thinsock, a loop": "thinsock_udp_echo",
    "asio": "asio_udp_echo",
    "Poco": "poco_udp_echo",
    "SFML": "sfml_udp_echo",
    "Python": "python_udp_server",
}

arguments = Arguments()
pin_to_one_cpu()
client = Client(arguments, "udp_window", count=80000, size=64)
compare(
    arguments,
    Workload(
        "udp_server",
        "UDP server, 64 under way",
        "µs per datagram",
        target=1.05,
        extra=client.extra | {"system calls per datagram": client.system_calls(SERVERS)},
    ),
    client.loads(SERVERS),
)
