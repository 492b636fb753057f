"""How long it takes to stop an idle server: until what served has returned and is joined."""

import statistics

from bench import Arguments, Workload, compare, output

PROGRAMS = {
    "C": "c_stop",
    "thinsock": "thinsock_stop",
    "asio": "asio_stop",
    "Poco": "poco_stop",
    "Python": "python_stop",
}

arguments = Arguments()
times = arguments.amount(20)


def stop(command):
    took = [float(line) for line in output(command).split()]
    return statistics.median(took), max(took)


commands = {name: arguments.command(program, times) for name, program in PROGRAMS.items()}
compare(
    arguments,
    [
        Workload("stop", "Stopping an idle server, median", "µs", limit=200),
        Workload("stop_worst", "Stopping an idle server, worst", "µs", limit=1000, worst=True),
    ],
    {
        name: lambda command=command: stop(command) for name, command in commands.items() if command
    },
)
