"""A datagram of 64 bytes there and back, over and over."""

from bench import Arguments, Client, Workload, compare, pin_to_one_cpu

SERVERS = {
    "C": "c_udp_echo",
    "thinsock": "thinsock_udp_echo",
    "asio": "asio_udp_echo",
    "Poco": "poco_udp_echo",
    "SFML": "sfml_udp_echo",
    "Python": "python_udp_echo",
}

arguments = Arguments()
pin_to_one_cpu()
client = Client(arguments, "udp", count=40000, size=64)
compare(
    arguments,
    Workload(
        "udp_pingpong",
        "UDP ping-pong, 64 bytes",
        "µs per round trip",
        target=1.02,
        extra=client.extra | {"system calls per round trip": client.system_calls(SERVERS)},
    ),
    client.loads(SERVERS),
)
