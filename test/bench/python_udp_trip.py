"""PORT COUNT: sends that many datagrams of 64 bytes and receives each back."""

import socket
import sys

message = bytearray(64)
server = ("127.0.0.1", int(sys.argv[1]))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    for _ in range(int(sys.argv[2])):
        sock.sendto(message, server)
        got, peer = sock.recvfrom_into(message)
