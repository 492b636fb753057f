"""TIMES: stops an idle server that often and prints the microseconds of each."""

import random
import socketserver
import sys
import threading
import time

with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
    for _ in range(int(sys.argv[1])):
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        # It waits by then, and the stop comes at any point between two of its polls.
        time.sleep(0.02 + random.random() * 0.5)
        start = time.perf_counter()
        server.shutdown()
        serving.join()
        print(1e6 * (time.perf_counter() - start))
