"""What was said in deleted rooms, until the store has forgotten it.

A name is written down before anything of it goes, so that neither a full disk nor the end of the hub keeps
what was to be deleted. A new room of the name is opened behind that: nothing said in one is taken for the
other's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Final

from ..state_file import StateError
from .store import NoSuchRoom, StoreError

if TYPE_CHECKING:
    from ..server import Hub
    from .writer import Writer

KIND: Final = "deleted_room"  # of documents in the state


class Removals:
    """The rooms that are being forgotten, by name."""

    def __init__(self, hub: Hub, writer: Writer) -> None:
        self._hub, self._writer = hub, writer
        self._tasks: dict[str, asyncio.Task[StoreError | None]] = {}
        for name in hub.state.load(KIND):
            self._start(name, ())

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def begin(self, name: str, *behind: Awaitable[object]) -> None:
        """Have the store forget a room, once what else is done with it has ended."""
        self._hub.state.save(KIND, name, {})
        before = self._tasks.get(name)
        self._start(name, behind if before is None else (*behind, before))

    def _start(self, name: str, behind: tuple[Awaitable[object], ...]) -> None:
        self._tasks[name] = asyncio.create_task(self._remove(name, behind), name=f"forgetting {name}")

    async def _remove(self, name: str, behind: tuple[Awaitable[object], ...]) -> StoreError | None:
        await asyncio.gather(*behind, return_exceptions=True)
        await self._writer.settled()
        state, this = self._hub.state, asyncio.current_task()
        try:
            await state.flush()
            with contextlib.suppress(NoSuchRoom):
                await self._hub.store.remove_room(name)
            if self._tasks.get(name) is this:  # and no newer room of the name is to go
                # Crossed out on disk before a new room may be opened: the next hub would take that away.
                state.delete(KIND, name)
                await state.flush()
        except StoreError as problem:
            return problem
        except StateError as problem:
            return StoreError(str(problem), problem.hint)
        if self._tasks.get(name) is this:
            del self._tasks[name]
        return None

    async def ended(self, name: str) -> None:
        """Wait until nothing is left of the rooms of that name deleted so far; what failed is tried again.

        Raises `StoreError`. Cancelled, it goes on without the one who waits.
        """
        if name not in self._tasks:
            return
        if self._tasks[name].done():
            self._start(name, ())
        problem = await asyncio.shield(self._tasks[name])
        if problem is not None:
            raise problem

    async def retry(self) -> None:
        """Try again what failed."""
        for name in list(self._tasks):
            with contextlib.suppress(StoreError):
                await self.ended(name)

    async def close(self) -> None:
        """Let go: what is left is done by the next hub that has this state."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
