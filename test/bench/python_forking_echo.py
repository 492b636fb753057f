"""Echoes each connection in a new process."""

import socket
import socketserver


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(1024):
            self.request.sendall(data)


class Server(socketserver.ForkingTCPServer):
    request_queue_size = socket.SOMAXCONN


with Server(("", 0), Echo) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
