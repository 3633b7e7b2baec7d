"""What the UDP contenders share: sockets with large buffers, and the flow control of `c/datagrams.c`.

UDP has none, so the sink tells its count after each 256 datagrams, and the source is at most 2,048 ahead
of it. A datagram of one byte asks for the count at once.
"""

import json
import socket
import time

WINDOW, CREDIT, STALL = 2048, 256, 0.2
BUFFER = 4 << 20
TRIES = 20


def udp_socket(address: str, *, bind: bool) -> socket.socket:
    host, _, port = address.partition("://")[2].rpartition(":")
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    if bind:
        sock.bind((host, int(port)))
    else:
        sock.connect((host, int(port)))
    return sock


class Ahead:
    """How far a source is ahead of its sink, and what was lost on the way."""

    def __init__(self, seconds: float) -> None:
        self.sent = self.received = self.lost = 0
        self.start = time.perf_counter()
        self.end = self.start + seconds

    @property
    def is_over(self) -> bool:
        return time.perf_counter() >= self.end

    def has_room(self, count: int) -> bool:
        return self.sent - self.lost - self.received + count <= WINDOW

    def told(self, message: bytes) -> None:
        self.received = int.from_bytes(message, "big")

    def stalled(self) -> None:
        self.lost = self.sent - self.received

    def report(self) -> None:
        seconds = time.perf_counter() - self.start
        result = {"count": self.received, "seconds": seconds, "lost": self.sent - self.received}
        print(json.dumps(result), flush=True)
