"""A server that sends a stream in writes of 64 KiB, as fast as the client takes it."""

from bench import Arguments, Client, Workload, compare, pin_to_one_cpu

arguments = Arguments()
pin_to_one_cpu()
mebibytes = arguments.amount(2048)
size = mebibytes << 20
client = Client(arguments, "receive", count=mebibytes, scaled=False)
compare(
    arguments,
    Workload(
        "tcp_bulk",
        "TCP bulk stream, writes of 64 KiB",
        "µs per MiB",
        target=1.02,
        extra=client.extra,
    ),
    client.loads(
        {
            "C": f"c_tcp_bulk {size}",
            "thinsock": f"thinsock_tcp_bulk {size}",
            "asio": f"asio_tcp_bulk {size}",
            "Poco": f"poco_tcp_bulk {size}",
            "SFML": f"sfml_tcp_bulk {size}",
            "Python": f"python_tcp_bulk {size}",
        }
    ),
)
