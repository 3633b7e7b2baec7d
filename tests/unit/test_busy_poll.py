"""``busy_poll=``: what it takes, that it hits, backs off, keeps deadlines and lets others run."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

import jackfield

pytestmark = pytest.mark.timeout(60)


def statistics() -> jackfield.BusyPollStatistics:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, jackfield.EventLoop)
    found = loop.busy_poll_statistics()
    assert found is not None
    return found


@pytest.mark.parametrize(("value", "seconds"), [("50us", 50e-6), (0.0001, 1e-4), ("1ms", 1e-3)])
def test_times_in_seconds_or_with_units(value: float | str, seconds: float) -> None:
    async def main() -> None:
        assert statistics().limit == pytest.approx(seconds)

    jackfield.run(main, busy_poll=value)


@pytest.mark.parametrize("value", [None, 0, "0us"])
def test_off(value: float | str | None) -> None:
    loop = jackfield.new_event_loop(busy_poll=value)
    assert loop.busy_poll_statistics() is None
    loop.close()


@pytest.mark.parametrize("value", ["50", "fast", -1, 2.0, float("nan"), float("inf")])
def test_nonsense_is_refused(value: float | str) -> None:
    with pytest.raises(ValueError, match="busy_poll"):
        jackfield.new_event_loop(busy_poll=value)


def test_what_is_no_time_is_refused() -> None:
    with pytest.raises(TypeError, match="busy_poll"):
        jackfield.new_event_loop(busy_poll=True)
    with pytest.raises(TypeError, match="busy_poll"):
        jackfield.new_event_loop(busy_poll=[1])  # type: ignore[arg-type]


def test_it_backs_off_when_nothing_comes_in_time() -> None:
    """Every wait of this loop is longer than the spin: after a few of them it sleeps at once."""

    async def main() -> None:
        for _ in range(400):
            await asyncio.sleep(0.002)
        found = statistics()
        assert found.hits == 0
        assert found.pauses > 0
        assert 0 < found.spins < 200, found

    jackfield.run(main, busy_poll="20us")


def test_deadlines_and_timers_are_kept() -> None:
    """A spin ends at the deadline; it is neither a hit nor a reason to give up."""

    async def main() -> None:
        one, two = jackfield.pair()
        async with one, two:
            for delay in (0.0001, 0.001, 0.01):
                started = time.perf_counter()
                await asyncio.sleep(delay)
                with pytest.raises(jackfield.TimedOut):
                    await two.receive(timeout=delay)
                assert time.perf_counter() - started >= 2 * delay - 0.0005
            assert statistics().pauses == 0
            assert statistics().spins > 0

    jackfield.run(main, busy_poll="500ms")


def test_other_threads_run_and_wake_a_spin() -> None:
    """The spin outlasts the test unless a thread, which needs the GIL for its work, ends it."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(20):
            woken = loop.create_future()
            thread = threading.Thread(
                target=lambda future=woken: loop.call_soon_threadsafe(future.set_result, sum(range(20_000)))
            )
            thread.start()
            assert await woken == sum(range(20_000))
            thread.join()

    started = time.monotonic()
    jackfield.run(main, busy_poll=1.0)
    assert time.monotonic() - started < 20


def test_answers_that_come_at_once_are_hits() -> None:
    """A peer in a thread with a loop of its own: its answers come while this loop polls."""
    ready: list[jackfield.Address] = []
    listening = threading.Event()

    async def serve() -> None:
        async with jackfield.listen("unix://@jackfield-busy-" + str(id(ready))) as listener:
            ready.append(listener.address)
            listening.set()
            async with await listener.accept(10.0) as channel:
                async for message in channel:
                    await channel.send(message)

    async def main() -> None:
        async with jackfield.connect(ready[0]) as channel:
            for _ in range(200):
                assert await channel.request(b"x", timeout=10.0) == b"x"
        found = statistics()
        # How many depends on who else uses the machine; that none would be a spin that cannot see.
        assert found.hits > 0, found
        assert found.spins >= found.hits
        assert found.spent > 0

    thread = threading.Thread(target=lambda: jackfield.run(serve, busy_poll="1ms"))
    thread.start()
    assert listening.wait(10)
    jackfield.run(main, busy_poll=0.5)
    thread.join(20)
    assert not thread.is_alive()
