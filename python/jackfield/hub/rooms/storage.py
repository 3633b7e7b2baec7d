"""Where the rooms of a hub are kept: beside its state, or in memory where it keeps none.

A part that comes first and goes last, so that whatever else is stored finds it: `hub.store`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..part import Part
from .memory_store import MemoryStore
from .sqlite_store import SqliteStore, beside
from .store import StoreUnavailable

if TYPE_CHECKING:
    from ..server import Hub


class Storage(Part):
    """The store of one hub."""

    async def open(self, hub: Hub) -> None:
        """Open the file beside the hub's state. Raises `StateError`, as the state itself does."""
        self._hub = hub
        hub.store = MemoryStore()
        if hub.state.path is None:
            return
        try:
            hub.store = await SqliteStore.open(beside(hub.state.path))
        except StoreUnavailable as problem:
            if hub.settings.state_required:
                raise
            hub.log("no_state", reason=str(problem), hint=problem.hint)

    async def close(self) -> None:
        await self._hub.store.close()
