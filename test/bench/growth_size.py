"""How the cost grows with the size of a message: TCP ping-pong with 1 byte to 1 MiB."""

from bench import Arguments, Client, Workload, compare, pin_to_one_cpu

arguments = Arguments()
pin_to_one_cpu()
for size, name, count in [
    (1, "1 byte", 10000),
    (64, "64 bytes", 10000),
    (1 << 10, "1 KiB", 10000),
    (1 << 14, "16 KiB", 5000),
    (1 << 17, "128 KiB", 1000),
    (1 << 20, "1 MiB", 200),
]:
    client = Client(arguments, "pingpong", count, size)
    compare(
        arguments,
        Workload(
            f"growth_size_{size}",
            f"TCP ping-pong, {name}",
            "µs per round trip",
            extra=client.extra,
        ),
        client.loads(
            {
                "C": "c_tcp_echo",
                "thinsock": "thinsock_tcp_echo",
                "asio": "asio_tcp_echo",
                "Poco": "poco_tcp_echo",
                "SFML": "sfml_tcp_echo",
                "Python": "python_tcp_echo",
            }
        ),
    )
