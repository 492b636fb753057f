"""PORT COUNT [TIMEOUT]: sends so many messages of 64 bytes and receives each back.

The timeout, in seconds, is for each call.
"""

import socket
import sys

message = memoryview(bytearray(64))
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as sock:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if len(sys.argv) > 3:
        sock.settimeout(float(sys.argv[3]))
    for _ in range(int(sys.argv[2])):
        sock.sendall(message)
        got = 0
        while got < len(message):
            size = sock.recv_into(message[got:])
            if size == 0:
                sys.exit("closed by the peer")
            got += size
