"""A message of 64 bytes there and back, over and over, over one TCP connection."""

from bench import Arguments, Client, Workload, compare, pin_to_one_cpu

SERVERS = {
    "C": "c_tcp_echo",
    "thinsock": "thinsock_tcp_echo",
    "asio": "asio_tcp_echo",
    "Poco": "poco_tcp_echo",
    "SFML": "sfml_tcp_echo",
    "Python": "python_tcp_echo",
}

arguments = Arguments()
pin_to_one_cpu()
client = Client(arguments, "pingpong", count=40000, size=64)
compare(
    arguments,
    Workload(
        "tcp_pingpong",
        "TCP ping-pong, 64 bytes",
        "µs per round trip",
        target=1.02,
        extra=client.extra | {"system calls per round trip": client.system_calls(SERVERS)},
    ),
    client.loads(SERVERS),
)
