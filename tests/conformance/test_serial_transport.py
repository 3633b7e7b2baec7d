"""Serial lines keep what every transport promises: the public battery over two lines and a wire."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

import pytest
from lines import device, wired
from support import FRAMINGS, Runner, payload

import jackfield
from jackfield import sync
from jackfield.testing.conformance import Traits, check_transport

pytestmark = pytest.mark.timeout(120)


@contextlib.asynccontextmanager
async def two_lines(**options: object) -> AsyncIterator[tuple[jackfield.Channel, jackfield.Channel]]:
    with wired() as paths:
        left, right = [await jackfield.connect(f"serial://{path}", **options) for path in paths]  # type: ignore[arg-type]
        try:
            yield left, right
        finally:
            left.abort()
            right.abort()


@pytest.mark.parametrize("framing", [None, "u32", "cobs"])
def test_the_public_battery_passes(run: Runner, framing: str | None) -> None:
    async def main() -> None:
        traits = Traits(keeps_boundaries=framing is not None, has_end=False, half_close=False)
        report = await check_transport(lambda: two_lines(framing=framing, high_water=100_000), traits)
        report.raise_for_failures()
        assert len(report.results) >= 10

    run(main, limit=100.0)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_every_framing(run_here: Runner, framing: str) -> None:
    async def main() -> None:
        async with two_lines(framing=framing) as (left, right):
            messages = [b"0123456789abcdef", b"fedcba9876543210"] * 10
            if framing.startswith("length:"):
                messages = [b"ID\0\x02okcsum"] * 20
            await left.send_many(messages)
            assert [await right.receive(10.0) for _ in messages] == messages

    run_here(main)


def test_long_messages_wait_for_the_line(run: Runner) -> None:
    async def main() -> None:
        async with two_lines(framing="u32", high_water=50_000) as (left, right):
            message = payload(200_000)
            await left.send(message)
            with pytest.raises(jackfield.TimedOut):
                await left.send(message, 0.02)
            assert left.explain().state == "peer_not_reading"
            assert await right.receive(20.0) == message
            await left.send(b"next", 20.0)
            assert await right.receive(20.0) == b"next"

    run(main)


def test_a_group_of_lines(run: Runner) -> None:
    async def main() -> None:
        with device() as one, device() as two:
            async with jackfield.Group() as group:
                for end in (one, two):
                    group.add(await jackfield.connect(f"serial://{end.path}", framing="slip"))
                members = [await group.receive(5.0) for _ in range(2)]
                assert [str(joined.member.peer) for joined in members] == [  # type: ignore[union-attr]
                    f"serial://{one.path}",
                    f"serial://{two.path}",
                ]
                await group.broadcast(b"to all")
                await group.broadcast(b"to one", to=[members[1].member])  # type: ignore[union-attr]
                for end, count in ((one, 8), (two, 16)):
                    got = await asyncio.to_thread(end.read, count)
                    assert got == (b"\xc0to all\xc0\xc0to one\xc0")[:count]
                two.write(b"\xc0answer\xc0")
                match await group.receive(5.0):
                    case jackfield.Message(member, data):
                        assert (member.id, data) == (members[1].member.id, b"answer")  # type: ignore[union-attr]
                    case event:
                        pytest.fail(f"{event}")
                one.unplug()
                match await group.receive(5.0):
                    case jackfield.Left(member, _):
                        assert member.id == members[0].member.id  # type: ignore[union-attr]
                    case event:
                        pytest.fail(f"{event}")

    run(main)


@pytest.mark.parametrize("framing", ["line", "cobs", "gap:20ms"])
def test_without_a_loop(framing: str) -> None:
    with wired() as (one, two), sync.connect(f"serial://{one}", framing=framing) as left:
        with sync.connect(f"serial://{two}", framing=framing) as right:
            left.send(b"question")
            assert right.receive(10.0) == b"question"
            for message in (b"first", b"second"):
                right.send(message)
                assert left.receive(10.0) == message
            with pytest.raises(jackfield.TimedOut):
                left.receive(0.02)
            assert left.protocol == "serial"
            assert str(left.peer) == f"serial://{one}"
            assert left.statistics().messages_in == 2
        assert os.path.exists(two)
