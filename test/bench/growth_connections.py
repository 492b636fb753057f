"""How the cost of a connection grows with the number of those that are open, a thread for each."""

import resource

from bench import Arguments, Client, Workload, compare, pin_to_one_cpu

arguments = Arguments()
pin_to_one_cpu()
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
for connections in [1, 10, 100, 1000, 10000]:
    if connections + 100 > most:
        print(f"skipped: {connections} connections, the limit is {most} descriptors", flush=True)
        break
    client = Client(arguments, "hold", count=4000, clients=connections, alone=True)
    compare(
        arguments,
        Workload(
            f"growth_connections_{connections}",
            f"TCP connect, echo; {connections} open",
            "µs per connection",
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
