"""Echoes each connection in a new thread."""

import socket
import socketserver


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(1024):
            self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    request_queue_size = socket.SOMAXCONN
    daemon_threads = True  # Without it the server keeps a list of all threads.


with Server(("", 0), Echo) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
