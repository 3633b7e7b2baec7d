"""Two channels connected to each other: in memory, or over a link with faults."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from types import TracebackType
from typing import Any, Self

import jackfield
from jackfield.testing._faults import Faults
from jackfield.testing._pump import Observer, OwnedSocket, Pump
from jackfield.testing._seed import chosen_seed, how_to_replay


def memory_pair(**options: Any) -> tuple[jackfield.Channel, jackfield.Channel]:
    """Two channels connected to each other, for a test of code that takes a channel.

    This is ``jackfield.pair``: the bytes go through the kernel's memory (socketpair(2)) and never meet a
    network, so both are real channels with real back-pressure, and nothing about them is imitated.
    ``options`` are those of ``Options``, and hold for both ends.
    """
    return jackfield.pair(**options)


def faulty_pair(
    *, faults: Faults | None = None, seed: int | None = None, **options: Any
) -> tuple[jackfield.Channel, jackfield.Channel]:
    """As ``memory_pair``, over a link with faults; it ends when both channels have been closed.

    See ``FaultyLink``, which can be steered by hand as well.
    """
    link = FaultyLink(faults, seed=seed, **options)
    return link.left, link.right


class FaultyLink:
    """Two channels and between them a link with faults, on the running event loop, in its time.

    ``left`` and ``right`` are real channels, each on a Unix socket of its own; what one sends goes through a
    ``Wire`` with the ``faults`` to the other. ``options`` are those of ``Options`` and hold for both ends.
    ``seed`` (or ``JACKFIELD_SEED``, or one drawn by chance) decides every fault; it is in the ``repr``.

    ``async with`` gives the link and aborts both channels at the end.
    """

    def __init__(
        self,
        faults: Faults | None = None,
        *,
        seed: int | None = None,
        observer: Observer | None = None,
        **options: Any,
    ) -> None:
        self.faults = faults or Faults()
        self.seed = chosen_seed(seed)
        self.left, left = _half(self.faults.buffer, options)
        self.right, right = _half(self.faults.buffer, options)
        self._pump = Pump(
            (left, right),
            self.faults,
            random.Random(self.seed),
            observer=observer,
            before_reset=self._leave_unread,
        )

    @property
    def is_over(self) -> bool:
        """Both directions have ended, or the link was reset."""
        return self._pump.is_over

    @property
    def carried(self) -> int:
        """Bytes taken from both ends so far."""
        return self._pump.carried

    def stall(self) -> None:
        """Carry nothing from now on, in both directions."""
        self._pump.stall()

    def resume(self) -> None:
        """Carry on after ``stall``."""
        self._pump.resume()

    def reset(self) -> None:
        """Both channels are lost (``ChannelLost``), behind what has arrived already.

        To an end that has half-closed it looks like an end, in order or inside a message: Unix sockets have
        no reset for it.
        """
        self._pump.reset()

    def cut(self) -> None:
        """Both channels end now, behind what has arrived already: in order, or inside a message."""
        self._pump.close()

    def close(self) -> None:
        """Abort both channels and end the link."""
        self.left.abort()
        self.right.abort()
        self._pump.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"faulty link with {how_to_replay(self.seed)}")
        self.close()

    def __repr__(self) -> str:
        state = "over" if self.is_over else "open"
        return f"<FaultyLink seed={self.seed} {state}, {self.carried} bytes carried, {self.faults}>"

    def _leave_unread(self, index: int) -> None:
        """Put a byte on the way to the pump, so that it closes with something unread."""
        channel = (self.left, self.right)[index]
        with contextlib.suppress(OSError, jackfield.JackfieldError):
            os.write(channel.fileno(), b"\0")


def _half(buffer: int, options: dict[str, Any]) -> tuple[jackfield.Channel, socket.socket]:
    """A channel and the plain socket at its other end; the kernel holds about ``buffer`` for each."""
    channel, other = jackfield.pair(**options)
    plain = OwnedSocket(fileno=other.detach())
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    with OwnedSocket(fileno=os.dup(channel.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    return channel, plain
