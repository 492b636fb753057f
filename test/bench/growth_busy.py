"""How the cost of a round trip grows with the number of busy handlers, each with its thread."""

from bench import Arguments, Client, Workload, compare, pin_to_one_cpu

arguments = Arguments()
pin_to_one_cpu()
for clients in [1, 4, 16, 64]:
    client = Client(arguments, "pingpong", count=16000, clients=clients)
    compare(
        arguments,
        Workload(
            f"growth_busy_{clients}",
            f"TCP ping-pong, {clients} busy handler{'s' * (clients > 1)}",
            "µs per round trip",
            extra=client.extra,
        ),
        client.loads(
            {
                "C": "c_threading_echo",
                "thinsock": "thinsock_threading_echo",
                "asio": "asio_threading_echo",
                "Poco": "poco_threading_echo",
                "SFML": "sfml_threading_echo",
                "Python": "python_threading_echo",
            }
        ),
    )
