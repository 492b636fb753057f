"""[unbuffered]: echoes each connection line by line, with buffers for both directions.

With an argument writes are not buffered, which is the default of StreamRequestHandler.
"""

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
