"""Connections end when the certificate that let them in does.

Owns when that is: one heap and one timer for all who came to a listener with `access=certificate`.
"""

from __future__ import annotations

import asyncio
import heapq
from typing import TYPE_CHECKING, Final

from ..native.session import CONNECTED

if TYPE_CHECKING:
    from jackfield import Member

    from ..server import Hub

MOST_GONE: Final = 1_000  # entries of members that left, beside as many as there are members
LOOK_AT_LEAST_EVERY: Final = 600.0  # seconds: the clock of the machine may be set
EXPIRED: Final = "its certificate has expired"


class Expiring:
    """Whose certificates end when."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._due: list[tuple[float, int]] = []  # a heap of when, in Unix seconds, with the member's id
        self._timer: asyncio.TimerHandle | None = None

    def came(self, member: Member) -> None:
        """Somebody was let in by its certificate."""
        if member.tls is not None and member.tls.peer is not None:
            heapq.heappush(self._due, (member.tls.peer.not_after, member.id))
            if len(self._due) > 2 * len(self._hub.group) + MOST_GONE:
                self._forget_gone()
            self._wait()

    def _forget_gone(self) -> None:
        """Forget those that left: a certificate may last for years, and its client come again and again."""
        self._due = [each for each in self._due if self._hub.group.member(each[1]) is not None]
        heapq.heapify(self._due)

    def close(self) -> None:
        """End nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._due.clear()

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._due:
            wait = min(LOOK_AT_LEAST_EVERY, max(0.0, self._due[0][0] - self._hub.security.now()))
            self._timer = asyncio.get_running_loop().call_later(wait, self.look)

    def look(self) -> None:
        """End those whose time has come."""
        now, hub = self._hub.security.now(), self._hub
        while self._due and self._due[0][0] <= now:
            member = hub.group.member(heapq.heappop(self._due)[1])
            if member is None:
                continue  # it left before
            session = None if hub.native is None else hub.native.sessions.get(member.id)
            if session is not None and session.state == CONNECTED and hub.native is not None:
                hub.native.end(session, "forbidden", EXPIRED)
            else:
                hub.kick(member.number, reset=False, by="the hub", why=f"disconnected: {EXPIRED}")
        self._wait()
