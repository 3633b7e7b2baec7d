"""Happy Eyeballs (RFC 8305): several addresses of one name, the first that connects wins.

``Race`` decides which address is tried when; it is pure and takes the time as an argument.
``first_connected`` drives it. The order of the addresses, families in turn (section 4), is `_transports`'
affair. Names are looked up before, by one call of getaddrinfo(3): there is no resolution delay to wait for.
"""

from __future__ import annotations

import asyncio
import errno
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

ATTEMPT_DELAY = 0.25
"""Seconds after which the next address is tried beside one that has not answered (RFC 8305, section 5)."""


class Race:
    """Which address to try when. Each is tried once, in order.

    The next one starts when the last start was ``delay`` seconds ago, or at once when an attempt has failed.
    With an infinite delay one comes after the other.
    """

    def __init__(self, count: int, *, delay: float = ATTEMPT_DELAY) -> None:
        self._count = count
        self._delay = delay
        self._next = 0
        self._due = -math.inf
        self._running: set[int] = set()

    def start(self, now: float) -> int | None:
        """The address to try now, as its index; None if it is not time for another one, or none is left."""
        if self._next == self._count or now < self._due:
            return None
        index = self._next
        self._next += 1
        self._due = now + self._delay
        self._running.add(index)
        return index

    def failed(self, index: int, now: float) -> None:
        """An attempt has failed: the next one need not wait."""
        self._running.remove(index)
        self._due = now

    def wait(self, now: float) -> float | None:
        """Seconds until another address is to be tried; None if none is left, or only after a failure."""
        return None if self._next == self._count or self._due == math.inf else max(0.0, self._due - now)

    @property
    def is_lost(self) -> bool:
        """Whether every attempt has failed."""
        return self._next == self._count and not self._running


async def first_connected(
    attempts: Sequence[Callable[[], Awaitable[T]]],
    *,
    discard: Callable[[T], object],
    delay: float = ATTEMPT_DELAY,
    deadline: float | None = None,
) -> tuple[T | None, list[tuple[int, OSError, float]]]:
    """Race the attempts; gives the winner's result, or None and who failed.

    Failures are ``(index, error, seconds)`` in the order of starting. After ``deadline`` (monotonic) no
    further one starts; the attempts themselves must end by then. The others are cancelled, and one that
    connected in the same moment is given to ``discard``; so nothing is left open, nor when this is cancelled.
    What an attempt raises beside OSError is raised.
    """
    if len(attempts) == 1:
        return await _only(attempts[0])
    race = Race(len(attempts), delay=delay)
    tasks: dict[asyncio.Future[T], tuple[int, float]] = {}
    failures: list[tuple[int, OSError, float]] = []
    winner: asyncio.Future[T] | None = None
    try:
        while winner is None and not race.is_lost:
            now = time.monotonic()
            late = deadline is not None and now >= deadline and bool(tasks or failures)
            index = None if late else race.start(now)
            if index is not None:
                tasks[asyncio.ensure_future(attempts[index]())] = (index, now)
                continue
            if not tasks:
                break
            pause = None if late else race.wait(now)
            done, _ = await asyncio.wait(tasks, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            now = time.monotonic()
            for task in sorted(done, key=lambda task: tasks[task]):
                if task.cancelled():
                    raise asyncio.CancelledError
                error = task.exception()
                if error is None:
                    winner = task
                    break
                if not isinstance(error, OSError):
                    raise error
                index, started = tasks.pop(task)
                failures.append((index, error, now - started))
                race.failed(index, now)
    finally:
        await _end(tasks, winner, discard)
    return (None if winner is None else winner.result()), sorted(failures, key=lambda failure: failure[0])


async def _only(attempt: Callable[[], Awaitable[T]]) -> tuple[T | None, list[tuple[int, OSError, float]]]:
    """Without others it is no race, and needs no task."""
    started = time.monotonic()
    try:
        return await attempt(), []
    except OSError as error:
        return None, [(0, error, time.monotonic() - started)]


async def _end(
    tasks: dict[asyncio.Future[T], tuple[int, float]],
    winner: asyncio.Future[T] | None,
    discard: Callable[[T], object],
) -> None:
    """Whoever has not won leaves nothing behind."""

    def conclude(task: asyncio.Future[T]) -> None:
        if not task.cancelled() and task.exception() is None:
            discard(task.result())

    others = [task for task in tasks if task is not winner]
    for task in others:
        task.cancel()
        task.add_done_callback(conclude)
    try:
        if others:
            await asyncio.wait(others)
    except asyncio.CancelledError:
        # The callbacks above still conclude the others.
        if winner is not None:
            discard(winner.result())
        raise


def most_telling(failures: Sequence[OSError]) -> OSError:
    """The failure that says most about why nothing was connected; of equals the first.

    A limit of this process concerns every address; an answer says more than silence, and silence more than an
    address family that this machine has no route for.
    """
    return min(failures, key=_rank)


def _rank(error: OSError) -> int:
    number = error.errno
    if number in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
        return 0
    if number == errno.ECONNREFUSED:
        return 1
    if getattr(error, "icmp", None) is not None:
        return 2
    if number in (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return 6
    if number == errno.ETIMEDOUT or isinstance(error, TimeoutError):
        return 5
    return 4 if number in (errno.EHOSTUNREACH, errno.EHOSTDOWN) else 3
