"""A file of 1 GiB sent over TCP, TIMES over: the CPU time of the sender."""

import statistics
import tempfile
from functools import partial

from bench import Arguments, Client, Workload, compare, pin_to_one_cpu

TIMES = 3

arguments = Arguments()
pin_to_one_cpu()
mebibytes = arguments.amount(1024)
size = mebibytes << 20
client = Client(arguments, "receive", count=mebibytes, scaled=False)
arguments.results.mkdir(parents=True, exist_ok=True)
with tempfile.NamedTemporaryFile(dir=arguments.results) as file:
    file.truncate(size)
    while file.read(1 << 20):  # From here on its pages are in memory.
        pass
    loads = client.loads(
        {
            contender: f"{prefix}_sendfile {file.name} {size}"
            for contender, prefix in {
                "C": "c",
                "thinsock": "thinsock",
                "asio": "asio",
                "Poco": "poco",
                "SFML": "sfml",
                "Python": "python",
            }.items()
        },
        cpu=True,
    )

    def sender(load):
        return statistics.mean(load()[1] for _ in range(TIMES))

    compare(
        arguments,
        Workload("sendfile", "sendfile, CPU time of the sender", "µs per MiB", target=1.05),
        {name: partial(sender, load) for name, load in loads.items()},
    )
