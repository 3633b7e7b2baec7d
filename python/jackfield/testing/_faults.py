"""What a faulty link does to the bytes on their way, and one direction of it as a pure object.

``Faults`` is the description, ``Wire`` carries it out: bytes go in at one time, pieces come out at another.
A wire reads no clock and owns no socket; its only chance is the ``random.Random`` that it is given. It
never exchanges or doubles bytes, as no stream does: what it does, a network between two sockets may do, but
for ``flip``.
"""

from __future__ import annotations

import collections
import math
import random
from dataclasses import dataclass

LARGEST_PIECE = 65_536


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What a link does to the bytes that it carries, in both directions; each fault is off unless asked for.

    Times are in seconds. Raises ``ValueError`` for what cannot be.
    """

    split: int | None = None
    """Pieces of 1 to so many bytes, each delivered by itself: a reader sees frames in parts."""
    coalesce: float | None = None
    """Chance that a piece goes together with the one before it, when both are due."""
    delay: float | tuple[float, float] | None = None
    """How long each piece is under way: one time, or drawn between two. Pieces never overtake each other."""
    stall: tuple[float, float] | None = None
    """(chance, seconds): before a piece its direction stands still, for up to so long."""
    reset_after: int | None = None
    """When so many bytes were taken from both ends together, both are reset; what is under way is lost."""
    truncate: int | None = None
    """Each direction ends in order behind so many bytes, whatever else was to come."""
    flip: float | None = None
    """Chance for each piece that one of its bits is flipped."""
    buffer: int = 65_536
    """Bytes that each direction holds; beyond, the sender has to wait. The kernel's own come on top."""

    def __post_init__(self) -> None:
        low, high = self.delay_range()
        chance, pause = self.stall or (0.0, 0.0)
        wrong = (
            ("split", self.split is not None and self.split < 1),
            ("delay", not 0 <= low <= high < math.inf),
            ("stall", not (0 <= chance < 1 and 0 <= pause < math.inf)),
            ("coalesce", self.coalesce is not None and not 0 <= self.coalesce <= 1),
            ("flip", self.flip is not None and not 0 <= self.flip <= 1),
            ("reset_after", self.reset_after is not None and self.reset_after < 0),
            ("truncate", self.truncate is not None and self.truncate < 0),
            ("buffer", self.buffer < 1),
        )
        for name, is_wrong in wrong:
            if is_wrong:
                raise ValueError(f"{name}={getattr(self, name)!r} is out of range; see Faults.{name}")

    def delay_range(self) -> tuple[float, float]:
        """The shortest and the longest delay, in seconds."""
        if self.delay is None:
            return (0.0, 0.0)
        return self.delay if isinstance(self.delay, tuple) else (self.delay, self.delay)

    @classmethod
    def drawn(cls, chance: random.Random, *, resets: bool = False) -> Faults:
        """A mixture of splits, delays and stalls by chance; with ``resets`` sometimes also a reset or an
        early end.

        Without ``resets`` every byte arrives, in order, at some time: what is lost, the program has lost.
        """
        splits = [None, None, 1, 3, 16, 100, 1_500]
        slow = chance.choice([0.0, 0.0001, 0.003, 0.2])
        delays = [None, slow, (0.0, 2 * slow)]
        reset_after = truncate = None
        if resets:
            fate = chance.randrange(4)
            reset_after = chance.randrange(8_000) if fate == 0 else None
            truncate = chance.randrange(4_000) if fate == 1 else None
        return cls(
            split=chance.choice(splits),
            coalesce=chance.choice([None, 0.3, 0.9]),
            delay=chance.choice(delays),
            stall=chance.choice([None, None, (0.02, 0.05), (0.01, 3.0)]),
            reset_after=reset_after,
            truncate=truncate,
            buffer=chance.choice([256, 4_096, 65_536]),
        )


class Wire:
    """One direction of a faulty link; pure. ``b""`` among its pieces is the end: nothing comes after it."""

    def __init__(self, faults: Faults, chance: random.Random) -> None:
        self._faults = faults
        self._chance = chance
        self._pieces: collections.deque[tuple[float, bytes]] = collections.deque()
        self._held = 0
        self._taken = 0
        self._last_due = -math.inf
        self._is_ended = False

    @property
    def room(self) -> int:
        """How many bytes it takes now; 0 makes the sender wait."""
        if self._is_ended:
            # Behind an early end everything is swallowed, so that the sender need not wait for ever.
            return LARGEST_PIECE
        return max(0, self._faults.buffer - self._held)

    @property
    def next_due(self) -> float | None:
        """When the next piece is to be delivered; None without one."""
        return self._pieces[0][0] if self._pieces else None

    def feed(self, now: float, data: bytes) -> None:
        """Bytes of the sender; what is behind an early end is lost."""
        if self._is_ended:
            return
        limit = self._faults.truncate
        if limit is not None and self._taken + len(data) >= limit:
            self._plan(now, data[: limit - self._taken])
            self.end(now)
            return
        self._plan(now, data)

    def end(self, now: float) -> None:
        """The sender's end: it comes behind all that is under way."""
        if not self._is_ended:
            self._is_ended = True
            self._push(now, b"")

    def close(self) -> None:
        """Nobody is there to take anything: what is under way is lost, and so is what comes."""
        self._is_ended = True
        self._pieces.clear()
        self._held = 0

    def take(self, now: float) -> bytes | None:
        """What is to be delivered now, in one go; None if nothing is due."""
        if not self._pieces or self._pieces[0][0] > now:
            return None
        piece = self._pieces.popleft()[1]
        again = self._faults.coalesce
        while (
            again is not None
            and piece
            and self._pieces
            and self._pieces[0][0] <= now
            and self._pieces[0][1]
            and len(piece) < LARGEST_PIECE
            and self._chance.random() < again
        ):
            piece += self._pieces.popleft()[1]
        self._held -= len(piece)
        return piece

    def _plan(self, now: float, data: bytes) -> None:
        self._taken += len(data)
        most = self._faults.split or LARGEST_PIECE
        start = 0
        while start < len(data):
            size = most if self._faults.split is None else self._chance.randint(1, most)
            piece = data[start : start + size]
            start += size
            if self._faults.flip is not None and self._chance.random() < self._faults.flip:
                bit = self._chance.randrange(8 * len(piece))
                flipped = bytearray(piece)
                flipped[bit // 8] ^= 1 << bit % 8
                piece = bytes(flipped)
            self._held += len(piece)
            self._push(now, piece)

    def _push(self, now: float, piece: bytes) -> None:
        low, high = self._faults.delay_range()
        due = max(self._last_due, now + (low if low == high else self._chance.uniform(low, high)))
        chance, pause = self._faults.stall or (0.0, 0.0)
        if chance and self._chance.random() < chance:
            due += self._chance.uniform(0.0, pause)
        self._last_due = due
        self._pieces.append((due, piece))
