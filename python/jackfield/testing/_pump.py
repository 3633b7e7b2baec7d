"""A faulty link between two plain sockets on any asyncio event loop: two wires, driven by readiness and
timers.

The pump owns both sockets. Each piece goes out in a round of the loop of its own, so that a reader sees the
pieces one by one. It ends by itself when both directions have ended, and with a reset when a socket was
reset. If an end is gone while bytes are on their way to it, they are swallowed, and what it said before
still arrives.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable

from jackfield.testing._faults import Faults, Wire

Observer = Callable[[str, str, bytes], None]
"""Told of everything that happens: direction, what, the bytes."""


class OwnedSocket(socket.socket):
    """A socket that closes without a warning when the loop that it was pumped on is gone."""

    def __del__(self) -> None:
        self.close()


class Pump:
    """See the module; begins at once. ``before_reset`` is called with the index of each socket (0, 1)."""

    def __init__(
        self,
        sockets: tuple[socket.socket, socket.socket],
        faults: Faults,
        chance: random.Random,
        *,
        observer: Observer | None = None,
        before_reset: Callable[[int], None] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets = sockets
        self._observer = observer
        self._before_reset = before_reset
        self._left = faults.reset_after
        self._over = self._loop.create_future()
        left, right = sockets
        self._ways = (
            _Way(self, "->", left, right, Wire(faults, random.Random(chance.random()))),
            _Way(self, "<-", right, left, Wire(faults, random.Random(chance.random()))),
        )
        self.carried = 0
        for each in sockets:
            each.setblocking(False)
        for way in self._ways:
            way.resume_reading()

    @property
    def is_over(self) -> bool:
        """Both sockets are closed."""
        return self._over.done()

    async def wait_over(self) -> None:
        """Until both directions have ended, or the link was reset or closed."""
        await asyncio.shield(self._over)

    def stall(self) -> None:
        """Nothing is delivered and nothing taken from now on."""
        for way in self._ways:
            way.stall()

    def resume(self) -> None:
        """Go on after ``stall``."""
        if not self.is_over:
            for way in self._ways:
                way.resume()

    def reset(self) -> None:
        """Both ends see a lost connection; what is under way is lost."""
        if self.is_over:
            return
        self.tell("--", "reset", b"")
        for index, each in enumerate(self._sockets):
            if each.family == socket.AF_UNIX:
                # A Unix socket resets its peer if it is closed with something unread.
                if self._before_reset is not None:
                    self._before_reset(index)
            else:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close both sockets: what is under way is lost, and both ends see an end (or a reset)."""
        if self.is_over:
            return
        for way in self._ways:
            way.stop()
        for each in self._sockets:
            each.close()
        self._over.set_result(None)

    def tell(self, direction: str, what: str, data: bytes) -> None:
        """Something happened."""
        if self._observer is not None:
            self._observer(direction, what, data)

    def took(self, count: int) -> bool:
        """So many bytes came from an end; False if the link was reset by that."""
        self.carried += count
        if self._left is None:
            return True
        self._left -= count
        if self._left <= 0:
            self.reset()
            return False
        return True

    def may_take(self) -> int | None:
        """How many bytes until the reset; None without one."""
        return self._left

    def way_ended(self) -> None:
        """A direction has delivered its end."""
        if all(way.is_ended for way in self._ways):
            self.tell("--", "over", b"")
            self.close()


class _Way:
    """One direction: reads from ``source`` into the wire, writes what is due to ``target``."""

    def __init__(
        self, pump: Pump, direction: str, source: socket.socket, target: socket.socket, wire: Wire
    ) -> None:
        self._pump = pump
        self._direction = direction
        self._source = source
        self._target = target
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._unsent = b""
        self._handle: asyncio.Handle | None = None
        self._is_reading = False
        self._is_writing = False
        self._is_stalled = False
        self._source_ended = False
        self.is_ended = False

    def resume_reading(self) -> None:
        if not self._is_reading and not self._source_ended:
            self._is_reading = True
            self._loop.add_reader(self._source, self._readable)

    def stall(self) -> None:
        self._is_stalled = True
        self._stop_watching()

    def resume(self) -> None:
        if self._is_stalled:
            self._is_stalled = False
            self.resume_reading()
            self._schedule()

    def stop(self) -> None:
        self.is_ended = True
        self._stop_watching()

    def _stop_watching(self) -> None:
        self._pause_reading()
        if self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(self._target)
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _pause_reading(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._loop.remove_reader(self._source)

    def _readable(self) -> None:
        room = self._wire.room
        if not room:
            self._pause_reading()
            return
        left = self._pump.may_take()
        try:
            data = self._source.recv(room if left is None else max(1, min(room, left)))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._pump.reset()
            return
        now = self._loop.time()
        if data:
            self._pump.tell(self._direction, "took", data)
            if not self._pump.took(len(data)):
                return
            self._wire.feed(now, data)
        else:
            self._pump.tell(self._direction, "took the end", b"")
            self._source_ended = True
            self._pause_reading()
            self._wire.end(now)
        self._schedule()

    def _schedule(self) -> None:
        """See to it that what is next is delivered when it is due."""
        if self._handle is not None or self._is_writing or self._is_stalled or self.is_ended:
            return
        due = self._wire.next_due
        if self._unsent or (due is not None and due <= self._loop.time()):
            self._handle = self._loop.call_soon(self._deliver)
        elif due is not None:
            self._handle = self._loop.call_at(due, self._deliver)

    def _deliver(self) -> None:
        self._handle = None
        if self._is_writing:
            self._is_writing = False
            self._loop.remove_writer(self._target)
        piece = self._unsent or self._wire.take(self._loop.time())
        if piece is None:
            self._schedule()
            return
        if not piece:
            self._finish()
            return
        try:
            sent = self._target.send(piece, socket.MSG_NOSIGNAL)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self._swallow()
            return
        if sent:
            self._pump.tell(self._direction, "gave", piece[:sent])
        self._unsent = piece[sent:]
        if self._unsent:
            self._is_writing = True
            self._loop.add_writer(self._target, self._deliver)
            return
        if self._wire.room and not self._is_stalled:
            self.resume_reading()
        self._schedule()

    def _finish(self) -> None:
        self._pump.tell(self._direction, "gave the end", b"")
        try:
            self._target.shutdown(socket.SHUT_WR)
        except OSError:
            self._swallow()
            return
        self.is_ended = True
        self._pump.way_ended()

    def _swallow(self) -> None:
        """The target is gone: what was for it and what still comes is lost."""
        self._pump.tell(self._direction, "lost", b"")
        self._unsent = b""
        self._wire.close()
        self.is_ended = True
        self.resume_reading()
        self._pump.way_ended()
