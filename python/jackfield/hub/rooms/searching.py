"""Searches of all clients and operators: one at a time, of everyone in turn, each for a while at most.

Owns whose search is next, and how long one may take. Of those that wait, whoever has searched least is next
(by the time that its searches took); a searcher is an origin (`hub/origins.py`), so that a second name or
connection makes no turn come sooner. A search has `ALONE` seconds, and `SHARED` once somebody else waits:
then it ends with an error. Whoever asks no more, cancelled, has its search ended, under way or not.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from .room import BAD_REQUEST, OVERLOADED, RECENT, Room, RoomError
from .store import BadQuery, Message

if TYPE_CHECKING:
    from .rooms import Rooms

R = TypeVar("R")

ALONE: Final = 5.0  # seconds of one search while nobody else waits, and
SHARED: Final = 1.0  # while somebody does
MOST_OF_ONE: Final = 16  # searches of one origin that wait
SEARCHING: Final = "searching"  # in the `extra` of a native session: its search, which ends with it
MOST_SEARCHED: Final = 20  # rooms that one search looks at


class Searches:
    """The searches of one hub."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # by searcher
        self._used: dict[str, float] = {}  # by searcher: where its share of the time has come to
        self._served = 0.0  # the same of whoever was served last
        self._running = ""  # who searches
        self._others = asyncio.Event()  # while one is under way: somebody else waits

    async def do(self, who: str, search: Callable[[], Awaitable[R]]) -> R:
        """Search when it is that one's turn. Raises `RoomError` for what takes too long, and too many."""
        await self._turn(who)
        begun = time.monotonic()
        work = asyncio.ensure_future(search())
        try:
            await self._at_most(work, begun)
            is_shared = self._others.is_set()
            if work.done():
                return await work
        finally:
            if not work.done():
                work.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await work
            took = time.monotonic() - begun
            self._used[who] = max(self._served, self._used.get(who, 0.0)) + took
            self._running = ""
            self._next()
        text = f"the search took longer than {SHARED if is_shared else ALONE:g} s"
        text += ", and others wait" if is_shared else ""
        raise RoomError(OVERLOADED, text, "search in one room, or for rarer words")

    async def _turn(self, who: str) -> None:
        waiting = self._waiting.setdefault(who, deque())
        if len(waiting) >= MOST_OF_ONE:
            text = f"{MOST_OF_ONE} searches of yours wait already"
            raise RoomError(OVERLOADED, text, "wait for their answers")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        self._next()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._running = ""  # its turn had just come
            elif turn in waiting:
                waiting.remove(turn)
                if not waiting:
                    del self._waiting[who]
            self._next()
            raise

    def _next(self) -> None:
        """Let the next one search, if nobody does; and have it known whether others wait."""
        while not self._running and self._waiting:
            who = min(self._waiting, key=lambda each: max(self._served, self._used.get(each, 0.0)))
            self._served = max(self._served, self._used.get(who, 0.0))
            self._used = {each: used for each, used in self._used.items() if used > self._served}
            waiting = self._waiting[who]
            turn = waiting.popleft()
            if not waiting:
                del self._waiting[who]
            if turn.cancelled():
                continue
            self._running = who
            turn.set_result(None)
        if self._waiting.keys() - {self._running}:
            self._others.set()
        else:
            self._others.clear()

    async def _at_most(self, work: asyncio.Future[Any], begun: float) -> None:
        """Wait until it is done, or has taken its time."""
        while not work.done():
            is_shared = self._others.is_set()
            left = begun + (SHARED if is_shared else ALONE) - time.monotonic()
            if left <= 0:
                return
            if is_shared:  # whoever waits may ask no more before that time is over
                await asyncio.wait([work], timeout=left)
                continue
            others: asyncio.Future[Any] = asyncio.ensure_future(self._others.wait())
            try:
                await asyncio.wait([work, others], timeout=left, return_when=asyncio.FIRST_COMPLETED)
            finally:
                others.cancel()


async def search(rooms: Rooms, text: str, *, within: Sequence[Room], limit: int) -> list[tuple[str, Message]]:
    """Messages with these words, newest first, each with its room. Raises `RoomError`, `StoreError`."""
    words = text.casefold().split()
    found: list[tuple[str, Message]] = []
    for room in within[:MOST_SEARCHED]:
        if room.durable:
            await rooms.ready(room)
            try:
                results = await rooms.hub.store.search(text, room=room.name, limit=limit)
            except BadQuery as problem:
                raise RoomError(BAD_REQUEST, str(problem)) from problem
            found += [(each.room, each.message) for each in results.found]
        else:
            found += [(room.name, each) for each in room.after(0, RECENT) if _has(each, words)]
    return sorted(found, key=lambda each: (each[1].at, each[1].sequence), reverse=True)[:limit]


def _has(message: Message, words: Sequence[str]) -> bool:
    text = message.body.decode("utf-8", "replace").casefold()
    return all(word in text for word in words)
