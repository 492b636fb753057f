"""The CPU time of the sender of a file of 1 GiB over TCP, which is sent TIMES times a round."""

import statistics
import tempfile
from functools import partial

from bench import Arguments, Client, Workload, compare, everyone, pin_to_one_cpu

TIMES = 3

arguments = Arguments()
pin_to_one_cpu()
mebibytes = arguments.amount(1024)
size = mebibytes << 20
client = Client(arguments, "receive", count=mebibytes, scaled=False)
arguments.results.mkdir(parents=True, exist_ok=True)
with tempfile.NamedTemporaryFile(dir=arguments.results) as file:
    file.truncate(size)
    while file.read(1 << 20):  # Reading brings its pages into memory.
        pass
    servers = {name: f"{program} {file.name} {size}"
               for name, program in everyone("sendfile").items()}
    loads = client.loads(servers, cpu=True)

    def sender(load):
        return statistics.mean(load()[1] for _ in range(TIMES))

    compare(
        arguments,
        Workload("sendfile", "sendfile, CPU time of the sender", "µs per MiB", target=1.05),
        {name: partial(sender, load) for name, load in loads.items()},
    )
