"""Line by line, buffered both ways; with any argument only to read, which is the default."""

import socketserver
import sys


class Echo(socketserver.StreamRequestHandler):
    wbufsize = 0 if sys.argv[1:] else 8192

    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)


with socketserver.TCPServer(("", 0), Echo) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
