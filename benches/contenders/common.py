"""What the Python contenders share: command line, addresses, sockets, the allocator switch.

Every contender is a program `NAME.py ROLE ADDRESS [options]`. A server role prints `ready ADDRESS` (and,
for a room whose publisher connects elsewhere, a second address) once it listens, and then serves until
it is killed. The `ping` role is a client: it prints one JSON line {"count", "seconds"}.
"""

import argparse
import asyncio
import contextlib
import ctypes
import json
import socket
import struct
import time
from collections.abc import Coroutine
from typing import Any

HEADER = struct.Struct(">I")
BACKLOG = 4096
WARM_UP = 0.1  # seconds, as in the C programs
BATCH = 128  # messages that the gathered sender hands over at once
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
RAISED_THRESHOLD = 32 << 20  # the largest that glibc takes


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("role")
    parser.add_argument("address")
    parser.add_argument("--size", type=int, default=64, help="payload bytes per message")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long a client measures")
    parser.add_argument("--uvloop", action="store_true", help="run on uvloop")
    parser.add_argument("--raise-mmap-threshold", action="store_true", help="keep large buffers in the heap")
    parser.add_argument("--busy-poll", help="how long Jackfield polls before sleeping, such as 100us")
    parser.add_argument("--gather", action="store_true", help="one write to a connection in a turn")
    parser.add_argument("--workers", type=int, default=1, help="worker processes")
    words = parser.parse_args()
    if words.raise_mmap_threshold:
        raise_mmap_threshold()
    return words


def raise_mmap_threshold() -> None:
    """Keep glibc from mapping and unmapping memory for every large receive buffer."""
    libc = ctypes.CDLL(None)
    for name, value in ((M_MMAP_THRESHOLD, RAISED_THRESHOLD), (M_TRIM_THRESHOLD, 8 * RAISED_THRESHOLD)):
        if not libc.mallopt(name, value):
            raise OSError(f"mallopt refused {name} = {value}")


def split(address: str) -> tuple[socket.AddressFamily, Any]:
    scheme, _, body = address.partition("://")
    if scheme == "unix":
        return socket.AF_UNIX, body
    host, _, port = body.rpartition(":")
    return socket.AF_INET, (host, int(port))


def listening(address: str) -> socket.socket:
    """A listening socket, announced; TCP_NODELAY is set by the event loops themselves."""
    family, place = split(address)
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind(place)
    listener.listen(BACKLOG)
    ready(address if family == socket.AF_UNIX else "tcp://{}:{}".format(*listener.getsockname()))
    return listener


def connected(address: str) -> socket.socket:
    family, place = split(address)
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.connect(place)
    sock.setblocking(False)
    return sock


def ready(*addresses: str) -> None:
    print("ready", *addresses, flush=True)


def report(count: int, seconds: float) -> None:
    print(json.dumps({"count": count, "seconds": seconds}), flush=True)


def run(main: Coroutine[Any, Any, None], *, uvloop: bool = False) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        if uvloop:
            import uvloop as fast

            fast.run(main)
        else:
            asyncio.run(main)


class Meter:
    """Counts round trips: a warm-up, then `seconds`; `tick` says whether to go on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.count = 0
        self.start = time.perf_counter()
        self.end = self.start + WARM_UP
        self.warm = False

    def tick(self) -> bool:
        self.count += 1
        now = time.perf_counter()
        if now < self.end:
            return True
        if self.warm:
            report(self.count, now - self.start)
            return False
        self.warm = True
        self.count = 0
        self.start = now
        self.end = now + self.seconds
        return True
