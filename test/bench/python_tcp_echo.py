"""[TIMEOUT]: echoes one connection after the other, with a timeout in seconds for each call."""

import socket
import sys

buffer = memoryview(bytearray(65536))
listener = socket.create_server(("", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(sys.argv) > 1:
            connection.settimeout(float(sys.argv[1]))
        while got := connection.recv_into(buffer):
            connection.sendall(buffer[:got])
