"""Which address is tried when (RFC 8305): decisions with a stepped clock, races with made-up peers."""

from __future__ import annotations

import asyncio
import errno
import math
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support import eventually, turns

from jackfield._happy_eyeballs import ATTEMPT_DELAY, Race, first_connected, most_telling

REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "refused")


# The decisions ------------------------------------------------------------------------------------


def test_attempts_are_a_quarter_of_a_second_apart() -> None:
    race = Race(3)
    assert ATTEMPT_DELAY == 0.25
    assert (race.start(10.0), race.start(10.0), race.wait(10.0)) == (0, None, 0.25)
    assert (race.start(10.249), race.start(10.25), race.start(10.25)) == (None, 1, None)
    assert race.wait(10.3) == pytest.approx(0.2)
    assert (race.start(10.6), race.wait(10.6), race.start(99.0)) == (2, None, None)
    assert not race.is_lost


def test_after_a_failure_the_next_starts_at_once() -> None:
    race = Race(3)
    assert race.start(0.0) == 0
    race.failed(0, 0.01)
    assert (race.wait(0.01), race.start(0.01), race.start(0.01)) == (0.0, 1, None)
    # An early one's failure hurries the next as well; what runs goes on.
    assert race.start(0.26) == 2
    race.failed(1, 0.3)
    assert (race.wait(0.3), race.is_lost) == (None, False)
    race.failed(2, 0.4)
    assert race.is_lost


def test_with_an_infinite_delay_one_comes_after_the_other() -> None:
    race = Race(2, delay=math.inf)
    assert (race.start(0.0), race.start(1e9), race.wait(1e9)) == (0, None, None)
    race.failed(0, 1e9)
    assert (race.wait(1e9), race.start(1e9), race.wait(1e9)) == (0.0, 1, None)


def test_an_empty_race_is_lost() -> None:
    assert Race(0).is_lost


@pytest.mark.parametrize(
    ("errors", "winner"),
    [
        ([errno.ENETUNREACH, errno.ECONNREFUSED], 1),
        ([errno.ECONNREFUSED, errno.ETIMEDOUT], 0),
        ([errno.ETIMEDOUT, errno.ECONNREFUSED], 1),
        ([errno.ENETUNREACH, errno.ETIMEDOUT], 1),
        ([errno.ETIMEDOUT, errno.EHOSTUNREACH], 1),
        ([errno.ECONNREFUSED, errno.EMFILE], 1),
        ([errno.EAFNOSUPPORT, errno.EPERM], 1),
        ([errno.ENETUNREACH, errno.EADDRNOTAVAIL], 0),
        ([errno.ECONNREFUSED, errno.ECONNREFUSED], 0),
    ],
)
def test_the_most_telling_failure(errors: list[int], winner: int) -> None:
    failures = [OSError(number, "x") for number in errors]
    assert most_telling(failures) is failures[winner]


def test_who_says_no_tells_more_than_silence_and_no_route() -> None:
    told = OSError(errno.ENETUNREACH, "x")
    told.icmp = (3, 0)  # type: ignore[attr-defined]
    assert most_telling([OSError(errno.ENETUNREACH, "x"), TimeoutError(), told]) is told


# The race -----------------------------------------------------------------------------------------


class Peers:
    """Attempts that do what their words say, and what became of them."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.started: list[int] = []
        self.cancelled: list[int] = []
        self.discarded: list[int] = []
        self.opening = asyncio.Event()

    def attempts(self) -> list[Callable[[], Awaitable[int]]]:
        return [lambda index=index: self._attempt(index) for index in range(len(self.words))]  # type: ignore[misc]

    async def _attempt(self, index: int) -> int:
        self.started.append(index)
        try:
            match self.words[index]:
                case "silent":
                    await asyncio.Event().wait()
                case "refuses":
                    raise REFUSED
                case "together":
                    await self.opening.wait()
                case "odd":
                    raise ValueError("odd")
            return index
        except asyncio.CancelledError:
            self.cancelled.append(index)
            raise

    async def race(
        self, delay: float = 0.001, **options: Any
    ) -> tuple[int | None, list[tuple[int, OSError, float]]]:
        return await first_connected(self.attempts(), discard=self.discarded.append, delay=delay, **options)


def test_the_first_that_connects_wins_and_the_others_are_cancelled() -> None:
    async def main() -> None:
        peers = Peers("silent", "refuses", "silent", "connects", "silent")
        assert (await peers.race())[0] == 3
        assert (peers.started, sorted(peers.cancelled), peers.discarded) == ([0, 1, 2, 3], [0, 2], [])

    asyncio.run(main())


def test_all_failures_are_told_in_the_order_tried() -> None:
    async def main() -> None:
        winner, failures = await Peers("refuses", "refuses", "refuses").race()
        assert winner is None
        assert [(index, error) for index, error, _ in failures] == [(0, REFUSED), (1, REFUSED), (2, REFUSED)]
        assert all(0 <= elapsed < 10 for _, _, elapsed in failures)
        assert await Peers().race() == (None, [])

    asyncio.run(main())


def test_of_two_that_connect_together_one_is_discarded() -> None:
    async def main() -> None:
        peers = Peers("together", "together")
        racing = asyncio.create_task(peers.race())
        await eventually(lambda: peers.started == [0, 1])
        peers.opening.set()
        assert ((await racing)[0], peers.discarded) == (0, [1])

    asyncio.run(main())


def test_cancelled_it_cancels_all_and_discards_who_has_connected() -> None:
    async def main() -> None:
        peers = Peers("silent", "together")
        racing = asyncio.create_task(peers.race())
        await eventually(lambda: peers.started == [0, 1])
        racing.cancel()
        peers.opening.set()
        with pytest.raises(asyncio.CancelledError):
            await racing
        await eventually(lambda: sorted(peers.cancelled + peers.discarded) == [0, 1])

    asyncio.run(main())


def test_after_the_deadline_nothing_new_begins() -> None:
    async def main() -> None:
        peers = Peers("refuses", "connects")
        winner, failures = await peers.race(deadline=0.0)
        assert (winner, len(failures), peers.started) == (None, 1, [0])

    asyncio.run(main())


def test_one_after_the_other_while_the_first_is_silent() -> None:
    async def main() -> None:
        peers = Peers("together", "connects")
        racing = asyncio.create_task(peers.race(math.inf))
        await eventually(lambda: peers.started == [0])
        await turns(20)
        assert peers.started == [0]
        peers.opening.set()
        assert (await racing)[0] == 0
        assert (await Peers("refuses", "connects").race(math.inf))[0] == 1

    asyncio.run(main())


def test_what_is_no_failure_to_connect_is_raised() -> None:
    async def main() -> None:
        peers = Peers("silent", "odd")
        with pytest.raises(ValueError, match="odd"):
            await peers.race()
        assert peers.cancelled == [0]

    asyncio.run(main())
