"""TLS handshakes that failed: told in the log with their causes, and counted.

Owns the looks at the hub's TLS listeners, those of operators too. The engine keeps the last few failures of
each listener and the number of all; so a flood costs a few lines and a number. Why a client was refused is
told here alone: no client comes of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import jackfield

from .journal import Field, Throttle
from .part import Part
from .roster import endpoint_text

if TYPE_CHECKING:
    from .server import Hub

LOOKED_EVERY: Final = 0.5  # seconds between two looks
LOGGED_AT_MOST: Final = 20  # of them, in LOGGED_EVERY seconds
LOGGED_EVERY: Final = 60.0
UNSEEN: Final = "unseen"  # the cause of those that the engine did not keep


class Handshakes(Part):
    """The failed handshakes of one hub."""

    def __init__(self) -> None:
        self.causes: dict[str, int] = {}  # how many failed, by cause
        self._seen: dict[int, int] = {}  # how many were counted, by listener
        self._throttle = Throttle(burst=LOGGED_AT_MOST, period=LOGGED_EVERY)
        self._looking: asyncio.Task[None] | None = None

    async def open(self, hub: Hub) -> None:
        self._hub = hub
        self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._looking
        self.look()

    def failed(self) -> int:
        """How many handshakes have failed since the hub began."""
        return sum(failed_at(listener) for listener in self._listeners())

    def look(self) -> None:
        """Count and tell what failed since the last look."""
        for listener in self._listeners():
            self._look_at(listener)

    def _listeners(self) -> Iterator[jackfield.Listener]:
        for listener, _ in (*self._hub.listeners, *self._hub.security.listeners):
            if listener.protocol == "tls" and not listener.closed:
                yield listener

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOKED_EVERY)
            self.look()

    def _look_at(self, listener: jackfield.Listener) -> None:
        errors, count = listener.failed_handshakes(), failed_at(listener)
        unseen = count - self._seen.get(listener.id, 0) - len(errors)
        self._seen[listener.id] = count
        if unseen > 0:
            self.causes[UNSEEN] = self.causes.get(UNSEEN, 0) + unseen
        for error in errors:
            cause = "unknown" if error.cause is None else error.cause.value
            self.causes[cause] = self.causes.get(cause, 0) + 1
            facts: dict[str, Field] = {"peer": endpoint_text(error.peer), "cause": cause}
            where = str(listener.address.without_options())
            self._hub.log_seldom(
                self._throttle, "handshake_failed", listener=where, **facts, reason=str(error)
            )


def failed_at(listener: jackfield.Listener) -> int:
    """How many handshakes of its newcomers have failed; 0 once it is closed."""
    return 0 if listener.closed else listener.statistics().handshakes_failed
