"""Whose request is next: all clients together have a share of each turn of the loop, and in it each its own.

What a request takes is measured, in processor time: reading it, and doing it, step by step. Whoever has had
least is next (start-time fair queuing: a flow's request begins at the time of those that are served, or
where its last one ended, whichever is later). Sessions of one origin weigh as one: a second connection makes
no share larger. Who asks for little waits for one request of another at most, and not for all that wait.

Rules: requests of one session begin in the order in which they came. What waits is bounded, for each and in
all. Pure but for `soon`, which is to call once the loop has had its turn.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from itertools import count
from types import coroutine
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

TURN: Final = 0.002  # seconds of processor time that begin in one turn of the loop
MOST_OF_ONE: Final = 8 * 1024 * 1024  # bytes of one session that wait
MOST_IN_ALL: Final = 64 * 1024 * 1024  # beyond it nobody gets more than the average; twice it at most
LEARNT: Final = 8  # requests of a kind after which what they take is mostly that of the last ones


class Flow(Generic[T]):
    """What waits of one session."""

    __slots__ = ("finish", "origin", "size", "waiting")

    def __init__(self) -> None:
        self.origin = ""
        self.finish = 0.0  # when, in time as it is served, its last request ended
        self.size = 0  # bytes
        self.waiting: deque[tuple[T, int]] | None = None  # most have nothing, and an empty one has 760 bytes


class Turns(Generic[T]):
    """The requests of all clients. `work` does one, or begins to, and says of what kind it is."""

    def __init__(
        self,
        work: Callable[[T], str],
        soon: Callable[[Callable[[], None]], object],
        *,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._work = work
        self._soon = soon
        self._cpu = cpu
        self._next: list[tuple[float, int, Flow[T]]] = []  # a heap of those that have something waiting
        self._numbers = count()
        self._sessions: dict[str, int] = {}  # how many of an origin have
        self._costs: dict[str, float] = {}  # what a request of a kind takes behind its beginning
        self._served = 0.0  # the start of the request that was served last
        self._left = TURN  # of this turn
        self._is_due = False
        self.size = 0  # bytes that wait

    def add(self, flow: Flow[T], origin: str, item: T, size: int) -> bool:
        """Do that now if it can be, or when it is its turn; False where too much waits."""
        if not self._next and self._left > 0:
            self._serve(flow, max(self._served, flow.finish), item, 1)
            self._later()
            return True
        if flow.size + size > MOST_OF_ONE:
            return False
        if self.size + size > MOST_IN_ALL and (flow.size + size) * len(self._next) > MOST_IN_ALL:
            return False
        if self.size + size > 2 * MOST_IN_ALL:
            return False
        if flow.waiting is None:
            flow.waiting = deque()
        flow.waiting.append((item, size))
        flow.size += size
        self.size += size
        if len(flow.waiting) == 1:
            flow.origin = origin
            self._sessions[origin] = self._sessions.get(origin, 0) + 1
            self._push(flow)
        self._later()
        return True

    def settle(self, flow: Flow[T], kind: str, took: float) -> None:
        """A request took so much behind its beginning."""
        known = self._costs.get(kind, took)
        self._costs[kind] = known + (took - known) / LEARNT
        flow.finish += max(0.0, took - known)

    def _push(self, flow: Flow[T]) -> None:
        heapq.heappush(self._next, (max(self._served, flow.finish), next(self._numbers), flow))

    def _later(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._soon(self._turn)

    def _turn(self) -> None:
        """Serve what fits into one turn of the loop."""
        self._is_due = False
        self._left = min(TURN, self._left + TURN)
        try:
            while self._next and self._left > 0:
                self._serve_next()
        finally:
            if self._next or self._left < TURN:
                self._later()

    def _serve_next(self) -> None:
        start, _, flow = heapq.heappop(self._next)
        assert flow.waiting is not None
        item, size = flow.waiting.popleft()
        flow.size -= size
        self.size -= size
        weight = self._sessions[flow.origin]
        if not flow.waiting:
            flow.waiting = None
            self._sessions[flow.origin] -= 1
            if not self._sessions[flow.origin]:
                del self._sessions[flow.origin]
        try:
            self._serve(flow, start, item, weight)
        finally:
            if flow.waiting:
                self._push(flow)

    def _serve(self, flow: Flow[T], start: float, item: T, weight: int) -> None:
        self._served = max(self._served, start)
        begun = self._cpu()
        kind = ""
        try:
            kind = self._work(item)
        finally:
            cost = self._cpu() - begun + self._costs.get(kind, 0.0)
            self._left -= cost
            flow.finish = start + cost * weight


def metered(
    work: Coroutine[Any, Any, R],
    took: Callable[[float], None],
    *,
    cpu: Callable[[], float] = time.thread_time,
) -> Coroutine[Any, Any, R]:
    """Do `work`, and tell how much processor time its steps took together, however it ended."""
    return _awaited(_steps(work, took, cpu))


async def _awaited(steps: Any) -> Any:
    return await steps


@coroutine
def _steps(
    work: Coroutine[Any, Any, R], took: Callable[[float], None], cpu: Callable[[], float]
) -> Generator[Any, Any, R]:
    used = 0.0
    problem: BaseException | None = None
    value: Any = None
    try:
        while True:
            begun = cpu()
            try:
                waited_for = work.send(value) if problem is None else work.throw(problem)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            finally:
                used += cpu() - begun
            try:
                value, problem = (yield waited_for), None
            except BaseException as raised:  # a cancellation, which is the work's to answer
                value, problem = None, raised
    finally:
        took(used)
