"""Forgetting who has been absent for long, where the hub is told to (`--forget-after`).

Owns the looks at who is absent. Those whom an operator named, tagged or noted stay known, and so do
those whose name a token has, which nobody else is to have, and those for whom messages wait.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from .identity import Entry
from .part import Part

if TYPE_CHECKING:
    from .server import Hub

LOOK_EVERY: Final = 60.0  # seconds
AT_ONCE: Final = 1_000  # entries that are looked at before others have their turn


class Forgetting(Part):
    """Who is absent for `after` seconds is known no more."""

    def __init__(self, after: float) -> None:
        self._after = after
        self._looking: asyncio.Task[None] | None = None
        self.forgotten = 0  # clients, since the hub began

    async def open(self, hub: Hub) -> None:
        self._hub = hub
        self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            self._looking = None

    async def _look(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY)

    async def look(self) -> int:
        """Forget whom it is time to forget; how many those were."""
        hub, count = self._hub, 0
        until = hub.clock() - self._after
        for number, entry in enumerate(list(hub.identities.registry.absent())):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            if not entry.client_id and entry.last < until and not self._has_reason_to_stay(entry):
                hub.identities.forget(entry)
                count += 1
        self.forgotten += count
        if count:
            hub.log("forgotten", clients=count, absent_for=self._after)
        return count

    def _has_reason_to_stay(self, entry: Entry) -> bool:
        hub = self._hub
        waits = hub.native is not None and bool(hub.native.mail.facts(entry.identity))
        return entry.kept or waits or hub.security.tokens.named(entry.own_name, hub.security.now())
