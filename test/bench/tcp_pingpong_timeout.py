"""The same as tcp_pingpong with a timeout of 5 s on each call; the floor is without."""

from bench import Arguments, Client, Workload, compare, pin_to_one_cpu

SERVERS = {
    "C": "c_tcp_echo",
    "C, SO_RCVTIMEO": "c_tcp_echo 5",
    "thinsock": "thinsock_tcp_echo 5",
    "asio": "asio_tcp_echo 5",
    "Poco": "poco_tcp_echo 5",
    "SFML": "sfml_tcp_echo 5",
    "Python": "python_tcp_echo 5",
}

arguments = Arguments()
pin_to_one_cpu()
client = Client(arguments, "pingpong", count=40000, size=64)
compare(
    arguments,
    Workload(
        "tcp_pingpong_timeout",
        "TCP ping-pong, a timeout on each call (floor: none)",
        "µs per round trip",
        target=1.02,
        extra=client.extra | {"system calls per round trip": client.system_calls(SERVERS)},
    ),
    client.loads(SERVERS),
)
