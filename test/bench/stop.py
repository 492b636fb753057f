"""How long it takes to stop an idle server: until its thread has ended and is joined."""

import statistics

from functools import partial

from bench import Arguments, Workload, compare, everyone, output

arguments = Arguments()
times = arguments.amount(20)


def stop(command):
    took = [float(line) for line in output(command).split()]
    return statistics.median(took), max(took)


programs = {name: f"{program} {times}" for name, program in everyone("stop").items()}
compare(
    arguments,
    [
        Workload("stop", "Stopping an idle server, median", "µs", limit=200),
        Workload("stop_worst", "Stopping an idle server, worst", "µs", limit=1000, worst=True),
    ],
    {name: partial(stop, command) for name, command in arguments.commands(programs).items()},
)
