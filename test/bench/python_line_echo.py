"""Line by line, buffered both ways."""

import socketserver


class Echo(socketserver.StreamRequestHandler):
    wbufsize = 8192

    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)


with socketserver.TCPServer(("", 0), Echo) as server:
    print(server.server_address[1], flush=True)
    server.serve_forever()
