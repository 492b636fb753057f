"""How long it takes to stop an idle server: TIMES, in microseconds each."""

import random
import socketserver
import sys
import threading
import time

with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
    for _ in range(int(sys.argv[1])):
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        time.sleep(0.02 + random.random() * 0.5)  # Anywhere between two of its looks around.
        start = time.perf_counter()
        server.shutdown()
        serving.join()
        print(1e6 * (time.perf_counter() - start))
