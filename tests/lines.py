"""Serial lines for tests: pairs of pseudo terminals, and the wire between two of them."""

from __future__ import annotations

import os
import select
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field


@dataclass
class Device:
    """The far end of a serial line: what a device would be. ``path`` is what a program opens."""

    path: str
    fd: int
    kept: int | None = field(repr=False)
    """Our own end of the line, kept open so that it outlives those who open and close it."""

    def write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.fd, data) :]

    def read(self, count: int) -> bytes:
        """So many bytes; fails when they do not come."""
        got = b""
        while len(got) < count:
            ready, _, _ = select.select([self.fd], [], [], 10.0)
            assert ready, f"only {got!r} came"
            got += os.read(self.fd, count - len(got))
        return got

    def is_silent(self) -> bool:
        """Whether nothing waits to be read."""
        return not select.select([self.fd], [], [], 0)[0]

    def settings(self) -> list[object]:
        """As ``termios.tcgetattr`` gives them."""
        assert self.kept is not None
        return termios.tcgetattr(self.kept)

    def unplug(self) -> None:
        """The device goes away. Safe to call from two threads: let go of before it is closed."""
        open_ones = [fd for fd in (self.kept, self.fd) if fd is not None and fd >= 0]
        self.kept, self.fd = None, -1
        for fd in open_ones:
            os.close(fd)


@contextmanager
def device() -> Iterator[Device]:
    """A line with a device at its end."""
    fd, kept = os.openpty()
    plugged = Device(os.ttyname(kept), fd, kept)
    try:
        yield plugged
    finally:
        plugged.unplug()


@contextmanager
def wired() -> Iterator[tuple[str, str]]:
    """Two lines joined by a wire: the paths of both ends."""
    with ExitStack() as stack:
        one, two = stack.enter_context(device()), stack.enter_context(device())
        for end in (one, two):
            assert end.kept is not None
            tty.setraw(end.kept)
            os.set_blocking(end.fd, False)
        stopped, stop = os.pipe()
        wire = threading.Thread(target=_carry, args=(one.fd, two.fd, stopped), daemon=True)
        wire.start()
        try:
            yield one.path, two.path
        finally:
            os.close(stop)
            wire.join(10.0)
            os.close(stopped)
            assert not wire.is_alive()


def _carry(one: int, two: int, stopped: int) -> None:
    """Moves bytes both ways until it is told to stop; reads no more than it can write."""
    waiting = {one: b"", two: b""}
    other = {one: two, two: one}
    while True:
        readers = [stopped, *(fd for fd in (one, two) if not waiting[other[fd]])]
        writers = [fd for fd in (one, two) if waiting[fd]]
        ready, writable, _ = select.select(readers, writers, [])
        if stopped in ready:
            return
        for fd in ready:
            waiting[other[fd]] += os.read(fd, 4096)
        for fd in writable:
            waiting[fd] = waiting[fd][os.write(fd, waiting[fd]) :]
