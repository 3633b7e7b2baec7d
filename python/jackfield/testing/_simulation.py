"""Two peers, or more, in one thread on a clock that steps, everything drawn from one seed.

The channels are real ones on real Unix sockets, and so is the engine below them. Simulated are time and the
links between them: a link is a ``FaultyLink`` on a ``SteppedEventLoop``, so that seconds of delay cost
nothing. One thread, one clock, one source of chance: the same seed gives the same run, which the trace's
hash shows.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import hashlib
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from jackfield.testing._faults import Faults
from jackfield.testing._links import FaultyLink
from jackfield.testing._seed import chosen_seed, how_to_replay
from jackfield.testing._stepped_loop import SimulationStuck, SteppedEventLoop

T = TypeVar("T")

LIMIT = 3_600.0
"""Simulated seconds."""
REMEMBERED = 20
"""Events of the trace that a failure shows."""


class Simulation:
    """A run of coroutines over simulated links, repeatable by its seed.

        simulation = Simulation(seed=1234)

        async def main():
            async with simulation.link(framing="u32") as link:
                server = asyncio.create_task(serve(link.right))
                assert await link.left.request(b"ping", timeout=5.0) == b"pong"

        simulation.run(main)

    ``seed`` is the caller's, that of ``JACKFIELD_SEED``, or one drawn by chance. What ``main`` raises
    carries a note with the seed and the last events. ``random`` is the test's own chance, drawn from the
    seed too; whoever uses another one, sets (whose order is by hash) or another clock, loses the
    repeatability.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = chosen_seed(seed)
        self.random = random.Random(f"{self.seed}/test")
        self._links = random.Random(f"{self.seed}/links")
        self._count = 0
        self._loop: SteppedEventLoop | None = None
        self._open: list[FaultyLink] = []
        self._hash = hashlib.blake2b(digest_size=16)
        self._last: collections.deque[str] = collections.deque(maxlen=REMEMBERED)

    @property
    def time(self) -> float:
        """Simulated seconds since the start of ``run``."""
        return 0.0 if self._loop is None else self._loop.time()

    @property
    def fingerprint(self) -> str:
        """A hash over everything that the links carried, and when: equal for equal runs, in hexadecimal."""
        return self._hash.hexdigest()

    @property
    def last_events(self) -> list[str]:
        """The last events on the links, one line each."""
        return list(self._last)

    def run(self, main: Callable[[], Coroutine[Any, Any, T]], *, limit: float = LIMIT) -> T:
        """Run ``main()`` to its end on a new event loop whose time begins with 0, and give its result.

        Raises what ``main`` raises; ``TimeoutError`` after ``limit`` simulated seconds; ``SimulationStuck``
        when every task waits for what cannot come. Each carries a note that says how to run the same again.
        """
        if self._loop is not None:
            raise RuntimeError("a simulation runs once: its chance is used up; make another one")
        self._loop = loop = SteppedEventLoop(limit=limit)
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                try:
                    return runner.run(main())
                finally:
                    _cancel_all(loop)
                    for link in self._open:
                        link.close()
        except BaseException as error:
            error.add_note(self._story())
            raise

    def link(self, faults: Faults | None = None, **options: Any) -> FaultyLink:
        """Two connected channels, ``link.left`` and ``link.right``; call it from within ``run``.

        ``faults`` are those of ``FaultyLink``, times in simulated seconds; None draws splits, delays and
        stalls (``Faults.drawn``), with which nothing may be lost. ``options`` are those of ``Options``.
        """
        if self._loop is None:
            raise RuntimeError("links are made within Simulation.run")
        number = self._count
        self._count += 1
        if faults is None:
            faults = Faults.drawn(self._links)

        def observe(direction: str, what: str, data: bytes) -> None:
            at = self.time
            self._hash.update(f"{at:.9f} {number} {direction} {what} {len(data)} ".encode() + data)
            self._last.append(f"{at:.6f} s, link {number} {direction} {what} {len(data)} bytes")

        link = FaultyLink(faults, seed=self._links.randrange(2**32), observer=observe, **options)
        self._open.append(link)
        return link

    def _story(self) -> str:
        events = "".join(f"\n  {event}" for event in self._last) or " none"
        return f"simulation with {how_to_replay(self.seed)}\nlast events on its links:{events}"


def _cancel_all(loop: SteppedEventLoop) -> None:
    """End what is left over while its links are there; one that will not end is the Runner's to tell of."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        with contextlib.suppress(SimulationStuck, TimeoutError):
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
