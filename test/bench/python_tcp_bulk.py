"""BYTES: sends that many to each connection, in writes of 64 KiB."""

import socket
import sys

data = bytes(65536)
listener = socket.create_server(("", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    with connection:
        for _ in range(int(sys.argv[1]) // len(data)):
            connection.sendall(data)
