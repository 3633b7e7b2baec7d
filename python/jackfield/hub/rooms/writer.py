"""What is said in durable rooms on its way to the store: in groups, one after the other.

Owns what waits. While one group is being written the last one is told and the next one gathers, so that a
busy hub writes few large groups and a quiet one writes each message at once. What a store cannot take now
waits and is tried again; what waits is bounded by `MOST_WAITING`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

from .room import OVERLOADED, RoomError
from .said import Said
from .store import Became, RunAppended

if TYPE_CHECKING:
    from .store import Store

MOST_WAITING: Final = 64 * 1024 * 1024  # bytes
MOST_IN_GROUP: Final = (
    4_000  # messages, and what the last member said at once: more costs time, and saves none
)
MOST_BYTES_IN_GROUP: Final = 2 * 1024 * 1024  # likewise
OVERHEAD: Final = 200  # bytes that a waiting message takes beside its body
TRIED_EVERY: Final = 0.5  # seconds between two attempts after a failure

Told = Callable[[Sequence[Said], Sequence[RunAppended]], None]


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
        self.added = 0
        self.written = 0
        self._progress = asyncio.Event()  # one for each group that is told or cannot be written
        self._task = asyncio.create_task(self._work(), name="rooms writer")

    def add(self, said: Said) -> None:
        """Have messages stored soon, all or, when too much waits, none: then it raises `RoomError`."""
        size = said.size + OVERHEAD * len(said)
        if self._bytes + size > MOST_WAITING:
            raise RoomError(OVERLOADED, self.problem or "more is said than can be stored", "say it later")
        self._waiting.append(said)
        self._bytes += size
        self.added += len(said)
        self._news.set()

    async def settled(self) -> None:
        """Wait until all that was added so far is stored and told, or nothing can be stored."""
        added = self.added
        while self.written < added and not self.problem:
            await self._progress.wait()

    def _progressed(self) -> None:
        self._progress.set()
        self._progress = asyncio.Event()

    async def close(self) -> None:
        """Write what waits, once, and end."""
        self._closing = True
        self._news.set()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        stored: tuple[list[Said], list[RunAppended]] | None = None  # on disk, and not told yet
        while True:
            if stored is None:
                await self._news.wait()
            group = self._next_group()
            writing = asyncio.create_task(self._write(group)) if group else None
            # The next group is on its way before the last one is told: the disk need not wait for that.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if stored is not None:
                self._tell(*stored)
                stored = None
            if writing is None:
                self._news.clear()
                if self._waiting:
                    self._news.set()
                elif self._closing:
                    return
                continue
            became = await writing
            if became is None:
                return
            stored = group, became

    def _next_group(self) -> list[Said]:
        group: list[Said] = []
        messages = size = 0
        while self._waiting and messages < MOST_IN_GROUP and size < MOST_BYTES_IN_GROUP:
            said = self._waiting.popleft()
            group.append(said)
            messages += len(said)
            size += said.size
        return group

    def _tell(self, group: list[Said], became: list[RunAppended]) -> None:
        self.groups += 1
        count = sum(map(len, group))
        self.written += count
        self._bytes -= sum(said.size for said in group) + OVERHEAD * count
        self._stored(group, became)
        self._progressed()

    async def _write(self, group: list[Said]) -> list[RunAppended] | None:
        """Write a group, again and again until it is stored; None when it was given up."""
        runs = [said.run() for said in group]
        told = False
        while True:
            try:
                became = await self._store.append_runs(runs)
                lost = _without_room(group, became)
                if lost:
                    await self._open_again(lost)
                    became = await self._store.append_runs(runs)
                break
            except Exception as problem:
                self.problem = str(problem) or type(problem).__name__
                self._progressed()
                if not told:
                    told = True
                    self._delayed(group, self.problem)
                if self._closing:
                    return None
                await asyncio.sleep(TRIED_EVERY)
        self.problem = ""
        return became


def _without_room(group: Sequence[Said], became: Sequence[RunAppended]) -> set[str]:
    """The rooms that the store does not know."""
    return {
        said.room
        for said, each in zip(group, became, strict=True)
        if each.each and each.each[0].became is Became.NO_ROOM
    }
