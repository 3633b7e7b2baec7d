"""What is said in durable rooms on its way to the store: in groups, one after the other.

Owns what waits. While one group is being written the next one gathers, so that a busy hub writes few large
groups and a quiet one writes each message at once. What a store cannot take now waits and is tried again;
what waits is bounded by `MOST_WAITING`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

from .room import OVERLOADED, RoomError
from .said import Said
from .store import Appended, Became

if TYPE_CHECKING:
    from .store import Store

MOST_WAITING: Final = 64 * 1024 * 1024  # bytes
MOST_IN_GROUP: Final = 10_000  # messages, and what the last member said at once
OVERHEAD: Final = 200  # bytes that a waiting message takes beside its body
TRIED_EVERY: Final = 0.5  # seconds between two attempts after a failure

Told = Callable[[Sequence[Said], Sequence[Appended]], None]


class Writer:
    """The one who writes. `stored` is called in the loop, in the order of the groups.

    `delayed` is called when a group cannot be written now, and `open_again` with the rooms that the store
    does not know.
    """

    def __init__(
        self,
        store: Store,
        *,
        stored: Told,
        delayed: Callable[[Sequence[Said], str], None],
        open_again: Callable[[set[str]], Awaitable[None]],
    ) -> None:
        self._store = store
        self._stored, self._delayed, self._open_again = stored, delayed, open_again
        self._waiting: deque[Said] = deque()
        self._bytes = 0  # of what waits and what is being written
        self._news = asyncio.Event()
        self._closing = False
        self.problem = ""  # why the store took nothing when it was last tried
        self.groups = 0
        self.written = 0
        self._task = asyncio.create_task(self._work(), name="rooms writer")

    def add(self, said: Said) -> None:
        """Have messages stored soon, all or, when too much waits, none: then it raises `RoomError`."""
        size = said.size + OVERHEAD * len(said)
        if self._bytes + size > MOST_WAITING:
            raise RoomError(OVERLOADED, self.problem or "more is said than can be stored", "say it later")
        self._waiting.append(said)
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
            if not self._waiting:
                self._news.clear()
                if self._closing:
                    return
                continue
            group, messages = [], 0
            while self._waiting and messages < MOST_IN_GROUP:
                group.append(self._waiting.popleft())
                messages += len(group[-1])
            if not await self._write(group):
                return
            await asyncio.sleep(0)  # the next group gathers, and others have their turn

    async def _write(self, group: list[Said]) -> bool:
        """Write a group, again and again until it is stored; whether to go on."""
        entries = [each for said in group for each in said.publications()]
        told = False
        while True:
            try:
                became = await self._store.append(entries)
                lost = {
                    entry.room
                    for entry, each in zip(entries, became, strict=True)
                    if each.became is Became.NO_ROOM
                }
                if lost:
                    await self._open_again(lost)
                    became = await self._store.append(entries)
                break
            except Exception as problem:
                self.problem = str(problem) or type(problem).__name__
                if not told:
                    told = True
                    self._delayed(group, self.problem)
                if self._closing:
                    return False
                await asyncio.sleep(TRIED_EVERY)
        self.problem = ""
        self.groups += 1
        self.written += len(entries)
        self._bytes -= sum(said.size for said in group) + OVERHEAD * len(entries)
        self._stored(group, became)
        return True
