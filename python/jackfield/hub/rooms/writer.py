"""What is said in durable rooms on its way to the store: in groups, one after the other.

Owns what waits. While one group is being written the next one gathers, so that a busy hub writes few large
groups and a quiet one writes each message at once. What a store cannot take now waits and is tried again;
what waits is bounded by `MOST_WAITING`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from .room import OVERLOADED, RoomError, Seat

MOST_WAITING: Final = 32 * 1024 * 1024  # bytes
MOST_IN_GROUP: Final = 20_000  # messages
OVERHEAD: Final = 200  # bytes that a waiting message takes beside its body
TRIED_EVERY: Final = 1.0  # seconds between two attempts after a failure


class Entry(NamedTuple):
    """One message to be stored. `number` is the sender's own sequence; `at` is Unix seconds."""

    room: str
    sender: str
    number: int
    at: float
    name: str
    body: bytes


Outcome = tuple[int, bool]  # the sequence in the room, and whether it was not stored before


class Appending(Protocol):
    """What of a store the writer needs."""

    async def append(self, batch: Sequence[Entry], /) -> Sequence[Outcome]: ...


class Numbering:
    """A store that remembers only what it must to number messages: for a hub without a state file."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._published: dict[tuple[str, str], tuple[int, int]] = {}

    async def append(self, batch: Sequence[Entry], /) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for entry in batch:
            before = self._published.get((entry.room, entry.sender))
            if before is not None and entry.number <= before[0]:
                outcomes.append((before[1], False))
                continue
            sequence = self._last[entry.room] = self._last.get(entry.room, 0) + 1
            self._published[entry.room, entry.sender] = (entry.number, sequence)
            outcomes.append((sequence, True))
        return outcomes


class Writer:
    """The one who writes. `stored` and `failed` are called in the loop, in the order of the groups."""

    def __init__(
        self,
        stored: Callable[[Sequence[Entry], Sequence[Seat], Sequence[Outcome]], None],
        failed: Callable[[Sequence[Entry], Sequence[Seat], RoomError], None],
        store: Appending | None = None,
    ) -> None:
        self._store: Appending = store or Numbering()
        self._stored, self._failed = stored, failed
        self._entries: list[Entry] = []
        self._seats: list[Seat] = []
        self._bytes = 0
        self._news = asyncio.Event()
        self._closing = False
        self.problem = ""  # why the store took nothing when it was last tried
        self.groups = 0
        self.written = 0
        self._task = asyncio.create_task(self._work(), name="rooms writer")

    def add(self, entry: Entry, seat: Seat) -> None:
        """Have a message stored soon. Raises `RoomError` when too much waits."""
        size = len(entry.body) + OVERHEAD
        if self._bytes + size > MOST_WAITING:
            raise RoomError(OVERLOADED, self.problem or "more is said than can be stored")
        self._entries.append(entry)
        self._seats.append(seat)
        self._bytes += size
        self._news.set()

    async def close(self) -> None:
        """Write what waits, once, and end."""
        self._closing = True
        self._news.set()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            await self._news.wait()
            if not self._entries:
                self._news.clear()
                if self._closing:
                    return
                continue
            entries, self._entries = self._entries[:MOST_IN_GROUP], self._entries[MOST_IN_GROUP:]
            seats, self._seats = self._seats[:MOST_IN_GROUP], self._seats[MOST_IN_GROUP:]
            if not await self._write(entries, seats):
                return

    async def _write(self, entries: list[Entry], seats: list[Seat]) -> bool:
        """Write a group, again and again until it is stored; whether to go on."""
        told = False
        while True:
            try:
                became = await self._store.append(entries)
                break
            except Exception as problem:
                self.problem = str(problem) or type(problem).__name__
                if not told:
                    told = True
                    self._failed(entries, seats, RoomError(OVERLOADED, self.problem))
                if self._closing:
                    return False
                await asyncio.sleep(TRIED_EVERY)
        self.problem = ""
        self.groups += 1
        self.written += len(entries)
        self._bytes -= sum(len(entry.body) for entry in entries) + OVERHEAD * len(entries)
        self._stored(entries, seats, became)
        return True
