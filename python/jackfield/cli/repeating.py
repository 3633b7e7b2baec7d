"""When a message that is sent again and again goes out, and what is told of it.

Owns the schedule: each time is counted from the first, so that no delay adds up; times that were missed,
because the one before took too long, are left out and counted. Pure: clocks and chance come in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping


class Schedule:
    """Times from `start` on, `every` seconds apart, `count` of them (None: for ever).

    Each is put off by up to `jitter` seconds; `chance` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        start: float,
        every: float,
        *,
        count: int | None = None,
        jitter: float = 0.0,
        chance: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._start = start
        self._every = every
        self._count = count
        self._jitter = jitter
        self._chance = chance
        self._index = -1
        self.done = 0
        self.missed = 0

    def next(self, now: float) -> float | None:
        """When to send next, which may be now; None when it was often enough."""
        if self._count is not None and self.done >= self._count:
            return None
        # A hair's breadth late is in time.
        due = max(self._index + 1, math.ceil((now - self._start) / self._every - 0.1))
        if self._index >= 0:
            self.missed += due - self._index - 1
        self._index = due
        self.done += 1
        return self._start + due * self._every + self._jitter * self._chance()


def came_and_went(before: Mapping[int, str], now: Mapping[int, str]) -> list[str]:
    """Who is sent to for the first time, and who is not any more."""
    came = [name for client_id, name in now.items() if client_id not in before]
    went = [name for client_id, name in before.items() if client_id not in now]
    said = []
    for names, what in ((came, "new"), (went, "gone")):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            said.append(f"{what}: {', '.join(names[:5])}{more}")
    return said


def summary(rounds: int, seconds: float, *, well: int, failed: int, missed: int, answers: bool) -> str:
    """What a repeated send has done."""
    times = "once" if rounds == 1 else f"{rounds} times"
    what = "answered" if answers else "sent"
    late = f"; {missed} left out, being late" if missed else ""
    return f"sent {times} in {seconds:.1f} s: {well} {what}, {failed} failed{late}"
