"""Connections that are served by a thread each: connect, 64 bytes there and back, close.

Time and the server's CPU time, with 1, 4 and 16 clients on all CPUs; the floor creates a thread for
each. Beside them the number of system calls a server makes for a connection.
"""

from bench import Arguments, Client, Workload, compare

SERVERS = {
    "C": "c_threading_echo",
    "C, waiting in accept": "c_accepting_echo",
    "thinsock": "thinsock_threading_echo",
    "asio": "asio_threading_echo",
    "Poco": "poco_threading_echo",
    "SFML": "sfml_threading_echo",
    "Python": "python_threading_echo",
}

arguments = Arguments()

for clients, target, cpu in [(1, 0.65, 0.55), (4, 0.65, 0.55), (16, 0.40, 0.33)]:
    client = Client(arguments, "connect", count=8000, clients=clients)
    title = f"TCP connect, echo, close; {clients} client{'s' * (clients > 1)}"
    extra = {"system calls per connection": client.system_calls(SERVERS)}
    compare(
        arguments,
        [
            Workload(f"connect_{clients}", title, "µs per connection", target, extra=extra),
            Workload(f"connect_{clients}_cpu", f"{title}: server CPU", "µs per connection", cpu),
        ],
        client.loads(SERVERS, cpu=True),
    )
