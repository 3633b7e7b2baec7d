"""``Simulation``: time that steps, runs that repeat, failures that say how to replay them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from exchange import converse

import jackfield
from jackfield.testing import Faults, Simulation, SimulationStuck, SteppedEventLoop

HERE = Path(__file__).parent

pytestmark = pytest.mark.timeout(90)


def test_the_same_seed_is_the_same_run() -> None:
    prints = [converse(seed)[1] for seed in range(20)]
    assert prints == [converse(seed)[1] for seed in range(20)]
    assert len(set(prints)) == 20


def test_the_same_seed_is_the_same_run_in_another_process() -> None:
    code = "from exchange import converse; print(*(converse(seed)[1] for seed in range(5)))"
    expected = [converse(seed)[1] for seed in range(5)]
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=HERE,
            env=environment,
            text=True,
            capture_output=True,
            timeout=60,
        )
        assert done.stdout.split() == expected, done.stderr


def test_hours_pass_at_once() -> None:
    simulation = Simulation(1)

    async def main() -> None:
        link = simulation.link(Faults(), framing="line")
        loop = asyncio.get_running_loop()
        assert loop.time() == 0.0
        with pytest.raises(jackfield.TimedOut):
            await link.left.receive(timeout=1_000.0)
        assert simulation.time == pytest.approx(1_000.0)
        await asyncio.sleep(1_000.0)
        assert simulation.time == pytest.approx(2_000.0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(500.0):
                await link.right.receive()
        assert simulation.time == pytest.approx(2_500.0)

    started = time.monotonic()
    simulation.run(main)
    assert time.monotonic() - started < 20


def test_timers_of_asyncio_and_deadlines_of_channels_come_in_one_order() -> None:
    simulation = Simulation(2)
    order: list[float] = []

    async def main() -> None:
        links = [simulation.link(Faults()) for _ in range(3)]

        async def deadline(channel: jackfield.Channel, after: float) -> None:
            with pytest.raises(jackfield.TimedOut):
                await channel.receive(timeout=after)
            order.append(after)

        async def timer(after: float) -> None:
            await asyncio.sleep(after)
            order.append(after)

        await asyncio.gather(
            deadline(links[0].left, 0.5),
            timer(0.25),
            deadline(links[1].left, 1e-6),
            timer(2.0),
            deadline(links[2].left, 1.0),
            timer(0.75),
        )

    simulation.run(main)
    assert order == sorted(order)
    assert len(order) == 6


def test_a_delay_is_counted_exactly() -> None:
    simulation = Simulation(3)

    async def main() -> float:
        link = simulation.link(Faults(delay=12.5), framing="line")
        await link.left.send(b"ping")
        await link.right.receive()
        return simulation.time

    assert simulation.run(main) == pytest.approx(12.5)


def test_requests_time_out_in_simulated_time() -> None:
    simulation = Simulation(4)

    async def main() -> None:
        link = simulation.link(Faults(delay=3.0), framing="line")

        async def serve() -> None:
            async for message in link.right:
                await link.right.send(message)

        server = asyncio.create_task(serve())
        assert await link.left.request(b"in time", timeout=6.5) == b"in time"
        with pytest.raises(jackfield.TimedOut):
            await link.left.request(b"late", timeout=5.5)
        assert simulation.time == pytest.approx(6.0 + 5.5)
        server.cancel()

    simulation.run(main)


def test_who_waits_for_nothing_is_told() -> None:
    simulation = Simulation(5)

    async def forgotten() -> None:
        await simulation.link(Faults()).left.receive()

    with pytest.raises(SimulationStuck, match="forgotten") as caught:
        simulation.run(forgotten)
    assert isinstance(caught.value, RuntimeError)
    assert "timeout=" in str(caught.value)
    assert "JACKFIELD_SEED=5" in caught.value.__notes__[0]


def test_a_run_without_end_is_ended() -> None:
    simulation = Simulation(6)

    async def endless() -> None:
        for _ in range(1_000_000):
            await asyncio.sleep(1.0)

    with pytest.raises(TimeoutError, match="60 simulated seconds"):
        simulation.run(endless, limit=60.0)
    assert simulation.time == pytest.approx(61.0, abs=1.5)


def test_a_failure_says_its_seed_and_the_last_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKFIELD_SEED", "0x4d2")
    simulation = Simulation()
    assert simulation.seed == 1234

    async def main() -> None:
        link = simulation.link(Faults(), framing="line")
        await link.left.send(b"hello")
        assert await link.right.receive() == b"goodbye"

    with pytest.raises(AssertionError) as caught:
        simulation.run(main)
    [note] = caught.value.__notes__
    assert "JACKFIELD_SEED=1234" in note
    assert "-> gave 6 bytes" in note
    assert simulation.last_events[-1] in note


def test_what_is_left_over_is_cancelled() -> None:
    simulation = Simulation(7)
    ended: list[str] = []

    async def left_over(channel: jackfield.Channel) -> None:
        try:
            await channel.receive()
        finally:
            ended.append("cancelled")

    async def main() -> None:
        task = asyncio.create_task(left_over(simulation.link().left))
        await asyncio.sleep(1.0)
        assert not task.done()

    simulation.run(main)
    assert ended == ["cancelled"]


def test_it_runs_once_and_has_links_only_while_it_runs() -> None:
    simulation = Simulation(8)
    with pytest.raises(RuntimeError, match="within"):
        simulation.link()

    async def main() -> int:
        return await asyncio.to_thread(lambda: 42)

    assert simulation.run(main) == 42
    with pytest.raises(RuntimeError, match="once"):
        simulation.run(main)


def test_an_executor_runs_in_place() -> None:
    loop = SteppedEventLoop()
    order: list[int] = []

    def failing() -> None:
        raise LookupError

    async def main() -> None:
        future = loop.run_in_executor(None, order.append, 1)
        order.append(2)
        await future
        with pytest.raises(LookupError):
            await loop.run_in_executor(None, failing)

    loop.run_until_complete(main())
    assert order == [1, 2]
    loop.close()


def test_groups_and_stalls_under_simulation() -> None:
    """One of three links stands still: its message comes when it goes on, the others' at once."""
    simulation = Simulation(9)

    async def main() -> None:
        links = [simulation.link(Faults(), framing="line") for _ in range(3)]
        async with jackfield.Group() as group:
            for link in links:
                group.add(link.right)
            links[1].stall()
            for number, link in enumerate(links):
                await link.left.send(b"%d" % number)
            seen = []
            while len(seen) < 2:
                event = await group.receive(timeout=10.0)
                if isinstance(event, jackfield.Message):
                    seen.append(event.data)
            assert sorted(seen) == [b"0", b"2"]
            with pytest.raises(jackfield.TimedOut):
                await group.receive(timeout=100.0)
            links[1].resume()
            event = await group.receive(timeout=10.0)
            assert isinstance(event, jackfield.Message)
            assert event.data == b"1"

    simulation.run(main)
