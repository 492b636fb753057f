"""Connections that are served by a process each; the floor is a thread for each.

The more a process has mapped, the more a fork costs: beside C there is C with C++'s library loaded.
"""

from bench import Arguments, Client, Workload, compare

arguments = Arguments()
client = Client(arguments, "connect", count=3000)
compare(
    arguments,
    Workload(
        "forking",
        "TCP connect, echo, close; a fork each (floor: a thread)",
        "µs per connection",
        target=2.4,
    ),
    client.loads(
        {
            "C": "c_threading_echo",
            "C, fork": "c_forking_echo",
            "C, fork with libstdc++": "c_forking_echo libstdc++.so.6",
            "thinsock": "thinsock_forking_echo",
            "Python": "python_forking_echo",
        }
    ),
)
