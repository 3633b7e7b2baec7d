"""Framings for lines that lose and add bytes: ``cobs`` and ``slip`` begin anew, ``gap`` goes by the clock."""

from __future__ import annotations

import asyncio
import time

import pytest
from support import Runner, raw_peer
from support_sync import raw_end

import jackfield
from jackfield.testing import SteppedEventLoop

GOOD = {"cobs": b"\x05good\0", "slip": b"\xc0good\xc0"}
BROKEN = {"cobs": b"\x09bad\0", "slip": b"\xc0b\xdbad\xc0"}


@pytest.mark.parametrize("framing", GOOD)
def test_a_broken_frame_is_skipped_and_counted(run: Runner, framing: str) -> None:
    async def main() -> None:
        async with raw_peer(framing, max_message=100) as (channel, plain):
            plain.sendall(BROKEN[framing][2:] + GOOD[framing] + BROKEN[framing] + b"x" * 5000)
            assert await channel.receive(5.0) == b"good"
            with pytest.raises(jackfield.TimedOut):
                await channel.receive(0.05)
            plain.sendall(b"x" * 5000 + GOOD[framing][-1:] + GOOD[framing])
            assert await channel.receive(5.0) == b"good"
            assert channel.statistics().broken_frames == 3
            assert "3 broken frames were skipped" in str(channel.explain())

    run(main)


@pytest.mark.parametrize("framing", GOOD)
def test_the_same_without_a_loop(framing: str) -> None:
    with raw_end(framing, max_message=100) as (channel, plain):
        plain.sendall(BROKEN[framing][2:] + GOOD[framing] + BROKEN[framing] + b"x" * 5000)
        assert channel.receive(5.0) == b"good"
        with pytest.raises(jackfield.TimedOut):
            channel.receive(0.05)
        plain.sendall(b"x" * 5000 + GOOD[framing][-1:] + GOOD[framing])
        assert channel.receive(5.0) == b"good"
        assert channel.statistics().broken_frames == 3


@pytest.mark.parametrize("framing", GOOD)
def test_only_broken_frames_are_an_error(run_here: Runner, framing: str) -> None:
    async def main() -> None:
        async with raw_peer(framing) as (channel, plain):
            plain.sendall(BROKEN[framing] * 100)
            with pytest.raises(jackfield.InvalidFrame, match="should be"):
                await channel.receive(5.0)
            assert channel.statistics().broken_frames == 64

    run_here(main)


@pytest.mark.parametrize("framing", GOOD)
def test_only_broken_frames_are_an_error_without_a_loop(framing: str) -> None:
    with raw_end(framing) as (channel, plain):
        plain.sendall(BROKEN[framing] * 100)
        with pytest.raises(jackfield.InvalidFrame, match="should be"):
            channel.receive(5.0)


@pytest.mark.parametrize("framing", GOOD)
def test_a_group_skips_as_well(run: Runner, framing: str) -> None:
    async def main() -> None:
        async with raw_peer(framing) as (channel, plain), jackfield.Group() as group:
            group.add(channel)
            assert isinstance(await group.receive(5.0), jackfield.Joined)
            plain.sendall(BROKEN[framing] + GOOD[framing])
            match await group.receive(5.0):
                case jackfield.Message(member, data):
                    assert data == b"good"
                    assert group.statistics(member).broken_frames == 1
                    await group.broadcast(b"good")
                case event:
                    pytest.fail(f"{event}")
            assert await asyncio.to_thread(plain.recv, 100) == GOOD[framing]

    run(main)


def test_silence_ends_a_message(run: Runner) -> None:
    async def main() -> None:
        async with raw_peer("gap:50ms") as (channel, plain):
            plain.sendall(b"one")
            assert await channel.receive(5.0) == b"one"
            plain.sendall(b"two")
            assert await channel.receive(5.0) == b"two"
            with pytest.raises(jackfield.TimedOut):
                await channel.receive(0.01)
            await channel.send_many([b"a", b"b", b"c"])
            got, times = b"", []
            while len(got) < 3:
                got += await asyncio.to_thread(plain.recv, 1)
                times.append(time.monotonic())
            assert got == b"abc"
            # Twice the gap lies between them; this reader may have been late for the first one, never early.
            assert times[2] - times[0] > 0.1

    run(main)


def test_messages_come_apart_while_the_consumer_is_busy(run_here: Runner) -> None:
    """Read ahead: what waits in the kernel would lose the silence in it."""

    async def main() -> None:
        one, two = jackfield.pair(framing="gap:20ms")
        async with one, two:
            await one.send_many([b"first", b"second", b"third"])
            await one.flush()
            await asyncio.sleep(1.0)
            assert await two.receive_many() == [b"first", b"second", b"third"]

    run_here(main)
    with asyncio.Runner(loop_factory=SteppedEventLoop) as stepped:
        stepped.run(main())


def test_silence_ends_a_message_without_a_loop() -> None:
    with raw_end("gap:50ms") as (channel, plain):
        plain.sendall(b"one")
        assert channel.receive(5.0) == b"one"
        plain.sendall(b"two")
        assert channel.receive() == b"two"
        with pytest.raises(jackfield.TimedOut):
            channel.receive(0.01)
        began = time.monotonic()
        channel.send_many([b"a", b"b", b"c"])
        assert time.monotonic() - began >= 0.2
        got = b""
        while len(got) < 3:
            got += plain.recv(3)
        assert got == b"abc"
        plain.sendall(b"last")
        plain.close()
        assert channel.receive(5.0) == b"last"
        with pytest.raises(jackfield.EndOfStream):
            channel.receive(5.0)


def test_too_much_without_silence_is_an_error(run: Runner) -> None:
    async def main() -> None:
        async with raw_peer("gap:20ms", max_message=10) as (channel, plain):
            plain.sendall(b"x" * 11)
            with pytest.raises(jackfield.MessageTooLarge, match="limit of 10 bytes"):
                await channel.receive(5.0)

    run(main)
