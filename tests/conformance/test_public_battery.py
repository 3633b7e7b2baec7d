"""The public battery on every transport of Jackfield and every loop, on another's, and on broken ones."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import types
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from support import TRANSPORTS, Runner, Transport, every, two_ends

import jackfield
from jackfield.testing import Faults, FaultyLink, Simulation
from jackfield.testing.conformance import Check, Report, Traits, battery, check_transport

pytestmark = pytest.mark.timeout(120)

EXAMPLE = Path(__file__).parents[2] / "examples" / "third_party_transport.py"


def traits_of(transport: Transport) -> Traits:
    return Traits(
        is_reliable=transport.is_reliable,
        has_end=transport.has_end,
        half_close=transport.has_end,
        is_bounded=transport.has_end,
    )


@every(TRANSPORTS)
def test_every_transport_passes(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        report = await check_transport(
            lambda: two_ends(transport, directory, high_water=100_000), traits_of(transport)
        )
        report.raise_for_failures()
        assert report.has_passed
        assert len(report.results) >= 10

    run(main, limit=100.0)


@pytest.mark.parametrize("framing", [None, "line", "varint", "netstring", "delimiter:0x0d0a", "cobs"])
def test_every_kind_of_framing_passes(run: Runner, framing: str | None) -> None:
    @contextlib.asynccontextmanager
    async def opener() -> AsyncIterator[tuple[jackfield.Channel, jackfield.Channel]]:
        left, right = jackfield.pair(framing=framing)
        yield left, right
        left.abort()
        right.abort()

    async def main() -> None:
        (await check_transport(opener, Traits(keeps_boundaries=framing is not None))).raise_for_failures()

    run(main, limit=100.0)


def test_a_faulty_link_passes(run: Runner) -> None:
    """What a link splits, the engine puts together: the same battery over single bytes."""

    @contextlib.asynccontextmanager
    async def opener() -> AsyncIterator[tuple[jackfield.Channel, jackfield.Channel]]:
        async with FaultyLink(Faults(split=2_000, coalesce=0.5), seed=1, framing="u32") as link:
            yield link.left, link.right

    async def main() -> None:
        (await check_transport(opener, Traits(largest=4_096))).raise_for_failures()

    run(main, limit=100.0)


@pytest.mark.parametrize("check", battery(Traits(largest=2_000)), ids=str)
def test_the_battery_in_simulated_time(check: Check) -> None:
    simulation = Simulation(11)

    @contextlib.asynccontextmanager
    async def opener() -> AsyncIterator[tuple[jackfield.Channel, jackfield.Channel]]:
        async with simulation.link(Faults(split=5_000), framing="u32") as link:
            yield link.left, link.right

    simulation.run(lambda: check(opener))


# A transport that somebody else wrote ---------------------------------------------------------------


@pytest.fixture(scope="module")
def example() -> types.ModuleType:
    spec = importlib.util.spec_from_file_location("third_party_transport", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_third_party_transport_passes(run: Runner, example: types.ModuleType) -> None:
    async def main() -> None:
        report = await check_transport(example.opener, example.TRAITS)
        report.raise_for_failures()
        assert str(report).count("passed") == len(report.results)

    run(main, limit=100.0)


def broken_ends(example: types.ModuleType) -> dict[str, tuple[type, str]]:
    """Ends with a fault each, and a check that must find it."""
    Good: Any = example.MemoryEnd

    class LosesOnCancellation(Good):
        async def receive(self, timeout: float | None = None) -> bytes:
            inner = asyncio.ensure_future(super().receive(timeout))
            return await asyncio.shield(inner)

    class Reorders(Good):
        async def send(self, data: bytes, timeout: float | None = None) -> None:
            if len(data) % 5 == 3:
                await asyncio.sleep(0)
                asyncio.get_running_loop().call_soon(
                    lambda: asyncio.ensure_future(Good.send(self, data, timeout))
                )
                return
            await super().send(data, timeout)

    class Doubles(Good):
        async def send(self, data: bytes, timeout: float | None = None) -> None:
            await super().send(data, timeout)
            if len(data) == 16:
                await super().send(data, timeout)

    class TakesEmptyForTheEnd(Good):
        async def receive(self, timeout: float | None = None) -> bytes:
            message = await super().receive(timeout)
            if not message:
                raise jackfield.EndOfStream("the peer has ended")
            return bytes(message)

    class NeverWaits(Good):
        limit = 1 << 40

    class KeepsTheBuffer(Good):
        def copied(self, data: Any) -> Any:
            return data

    class ForgetsWhoWaits(Good):
        def abort(self) -> None:
            self.is_closed = True

    return {
        "loses on cancellation": (LosesOnCancellation, "cancelled_receives_lose_nothing"),
        "reorders": (Reorders, "messages_of_all_sizes|many_in_flight_keep_their_order"),
        "doubles": (Doubles, "many_in_flight_keep_their_order|batches_are_messages_in_order"),
        "takes b'' for the end": (TakesEmptyForTheEnd, "boundaries_and_empty_messages_are_kept"),
        "never waits": (NeverWaits, "a_slow_receiver_makes_the_sender_wait"),
        "keeps the buffer": (KeepsTheBuffer, "buffers_may_be_changed_once_sent"),
        "forgets who waits": (ForgetsWhoWaits, "closing_wakes_who_waits"),
    }


BROKEN = [
    "loses on cancellation",
    "reorders",
    "doubles",
    "takes b'' for the end",
    "never waits",
    "keeps the buffer",
    "forgets who waits",
]


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_transport_fails(example: types.ModuleType, fault: str) -> None:
    end, found_by = broken_ends(example)[fault]

    async def main() -> Report:
        # What hangs is a failure, too, and need not hang for long.
        return await check_transport(lambda: example.opener(end), example.TRAITS, limit=1.0)

    report = jackfield.run(main)
    names = {result.check.name for result in report.failures}
    assert names & set(found_by.split("|")), f"not found by {found_by}, but by {names or 'none'}"
    assert "FAILED" in str(report)
    with pytest.raises(ExceptionGroup, match="checks failed"):
        report.raise_for_failures()


def test_traits_leave_checks_out() -> None:
    everything = {str(check) for check in battery()}
    without: Callable[..., set[str]] = lambda **traits: everything - set(map(str, battery(Traits(**traits))))  # noqa: E731
    assert len(everything) == len(battery())
    assert without(half_close=False) == {"half_close_ends_one_direction_only"}
    assert "boundaries_and_empty_messages_are_kept" in without(keeps_boundaries=False)
    assert all(check.promise.endswith(".") for check in battery())
