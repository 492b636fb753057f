"""PATH BYTES: sends so much of the file to each connection."""

import socket
import sys

with open(sys.argv[1], "rb") as file, socket.create_server(("", 0)) as listener:
    print(listener.getsockname()[1], flush=True)
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendfile(file, 0, int(sys.argv[2]))
