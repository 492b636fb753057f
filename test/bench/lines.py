"""A stream of lines of 64 bytes that a server reads and writes back one by one, buffered.

Python's StreamRequestHandler does not buffer what is written unless it is told to.
"""

from bench import Arguments, Client, Workload, compare, pin_to_one_cpu

arguments = Arguments()
pin_to_one_cpu()
client = Client(arguments, "lines", count=2000000, size=64)
compare(
    arguments,
    [
        Workload("lines", "Line echo, buffered", "µs per line", target=1.3),
        Workload("lines_cpu", "Line echo, buffered: server CPU", "µs per line", target=1.3),
    ],
    client.loads(
        {
            "C": "c_line_echo",
            "thinsock": "thinsock_line_echo",
            "asio": "asio_line_echo",
            "Poco": "poco_line_echo",
            "Python": "python_line_echo",
            "Python, unbuffered": "python_line_echo unbuffered",
        },
        cpu=True,
    ),
)
