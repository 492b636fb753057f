"""A bad network: two hosts, which are namespaces with a TUN device each, and a thread that carries
the packets from one device to the other."""

import contextlib
import ctypes
import fcntl
import heapq
import os
import random
import select
import socket
import struct
import subprocess
import threading
import time

CLIENT, LEAVING = "10.0.0.1", "10.0.0.3"  # The addresses of one host,
SERVER, OTHER = "10.0.0.2", "10.0.0.4"  # and of the other.
CLONE_NEWNET, TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x40000000, 0x400454CA, 0x0001, 0x1000
LIBC = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(namespace=None):
    """What this thread opens or starts meanwhile is in that namespace, or else in a new one."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    if LIBC.setns(namespace, CLONE_NEWNET) if namespace else LIBC.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot enter a network namespace")
    try:
        yield
    finally:
        LIBC.setns(before, CLONE_NEWNET)
        os.close(before)


class Host:
    def __init__(self, mtu, addresses):
        with inside():
            self.namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            self.tun = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(self.tun, TUNSETIFF, struct.pack("16sH22x", b"tun", IFF_TUN | IFF_NO_PI))
            for command in (f"link set tun up mtu {mtu}",
                            *(f"address add {address}/24 dev tun" for address in addresses)):
                subprocess.run(["ip", *command.split()], check=True)

    def close(self):
        os.close(self.tun)
        os.close(self.namespace)


class Network:
    """Carries every packet from one host to the other, after `delay` seconds."""

    def __init__(self, mtu=1280, delay=0.005, loss=0.0, reordering=0.0):
        self.delay, self.loss, self.reordering = delay, loss, reordering
        self.near, self.far = Host(mtu, [CLIENT, LEAVING]), Host(mtu, [SERVER, OTHER])
        self.gone = set()  # Packets from or to these addresses do not arrive any more.
        self.carried = self.lost = self.overtaken = 0
        self.closing = False
        self.thread = threading.Thread(target=self.carry)
        self.thread.start()

    def carry(self):
        other = {self.near.tun: self.far.tun, self.far.tun: self.near.tun}
        under_way, number, newest = [], 0, 0
        while not self.closing:
            for tun in select.select([*other], [], [], 0.002)[0]:
                packet = os.read(tun, 65536)
                number += 1
                if random.random() < self.loss:
                    self.lost += 1
                    continue
                delay = self.delay * (1.2 if random.random() < self.reordering else 1)
                heapq.heappush(under_way, (time.monotonic() + delay, number, other[tun], packet))
            while under_way and under_way[0][0] <= time.monotonic():
                _, number_then, tun, packet = heapq.heappop(under_way)
                if self.gone.isdisjoint(socket.inet_ntoa(packet[at:at + 4]) for at in (12, 16)):
                    os.write(tun, packet)
                    self.carried += 1
                    self.overtaken += number_then < newest
                    newest = max(newest, number_then)

    def close(self):
        self.closing = True
        self.thread.join()
        self.near.close()
        self.far.close()
