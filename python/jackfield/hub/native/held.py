"""Sessions without a connection: in which order they came, and who has most of them. Pure.

Where there are too many, whoever has most loses its oldest one; where too much is kept for them, whoever
most is kept for loses the largest. Counted is by origin (`hub/origins.py`): nobody pushes out another's.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .session import NativeSession

MOST_HELD: Final = 10_000  # sessions without a connection


def surplus(kept: Mapping[NativeSession, int], most: int) -> list[NativeSession]:
    """Which of these sessions have to end, so that no more than `most` bytes are kept for all of them."""
    over = sum(kept.values()) - most
    if over <= 0:
        return []
    of: dict[str, list[NativeSession]] = {}
    for session in sorted(kept, key=kept.__getitem__):
        of.setdefault(session.origin, []).append(session)
    owners = [(-sum(map(kept.__getitem__, sessions)), origin) for origin, sessions in of.items()]
    heapq.heapify(owners)
    ending: list[NativeSession] = []
    while over > 0:
        size, origin = heapq.heappop(owners)
        ending.append(of[origin].pop())
        over -= kept[ending[-1]]
        if of[origin]:
            heapq.heappush(owners, (size + kept[ending[-1]], origin))
    return ending


class Held:
    """The held sessions of one hub."""

    def __init__(self) -> None:
        self._sessions: dict[NativeSession, str] = {}  # with its origin; the one held longest first
        self._by_origin: dict[str, dict[NativeSession, None]] = {}
        self._by_count: dict[int, dict[str, None]] = {}  # the origins that have so many

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[NativeSession]:
        """The one held longest first."""
        return iter(self._sessions)

    def add(self, session: NativeSession) -> NativeSession | None:
        """One more; the one that has to end for it, if there are too many."""
        origin = self._sessions[session] = session.origin
        same = self._by_origin.setdefault(origin, {})
        same[session] = None
        self._count(origin, len(same) - 1, len(same))
        if len(self._sessions) <= MOST_HELD:
            return None
        most = next(iter(self._by_count[max(self._by_count)]))
        return next(iter(self._by_origin[most]))

    def discard(self, session: NativeSession) -> None:
        """It has a connection again, or has ended. Does nothing for one that is not held."""
        origin = self._sessions.pop(session, None)
        if origin is None:
            return
        same = self._by_origin[origin]
        del same[session]
        self._count(origin, len(same) + 1, len(same))
        if not same:
            del self._by_origin[origin]

    def _count(self, origin: str, before: int, now: int) -> None:
        if before:
            bucket = self._by_count[before]
            del bucket[origin]
            if not bucket:
                del self._by_count[before]
        if now:
            self._by_count.setdefault(now, {})[origin] = None
