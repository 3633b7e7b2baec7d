"""A slow reader: the sender waits, or does what `when_full` says, and every loss is counted."""

# ruff: noqa: PT012 - several sends until one fails

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from support import STREAMS, TRANSPORTS, Runner, Transport, eventually, every, turns, two_ends

import jackfield

pytestmark = pytest.mark.timeout(60)

HIGH = 100_000
SMALL = {"send_buffer": 60_000, "receive_buffer": 20_000}
"""Kernel buffers that fill soon and do not grow."""
BOUNDED = [transport for transport in TRANSPORTS if transport.has_end]
"""A datagram listener reads for all its peers at once; it drops (and counts) for those who do not receive."""
ALL_POLICIES = list(jackfield.WhenFull)


async def stuff(channel: jackfield.Channel, size: int = 1_000) -> int:
    """Send until the queue is full and the kernel takes no more; gives how many messages."""
    count, filler, taken = 0, b"f" * size, -1
    while True:
        try:
            await channel.send(filler, timeout=0.05)
        except jackfield.TimedOut:
            # On a busy machine the kernel may only have been slow: then it has taken more since.
            if channel.statistics().bytes_out == taken:
                return count
            taken = channel.statistics().bytes_out
        else:
            count += 1


async def overfill(client: jackfield.Channel, server: jackfield.Channel) -> list[int]:
    """Send 3,000 numbered messages into a queue that drops; the numbers that arrive."""
    total, size = 3_000, 1_000
    for number in range(total):
        await client.send(b"%06d" % number + b"." * size)
    dropped = client.statistics().dropped_messages
    assert 0 < dropped < total
    received = [int((await server.receive(5.0))[:6]) for _ in range(total - dropped)]
    assert received == sorted(received)
    with pytest.raises(jackfield.TimedOut):
        await server.receive(0.02)
    assert client.statistics().dropped_messages == dropped
    return received


@every(BOUNDED)
def test_the_sender_waits_and_resumes_at_half(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory, high_water=HIGH, **SMALL) as (client, server):
            stuffed = await stuff(client)
            statistics = client.statistics()
            # The kernel may have taken one more bite since the last try.
            assert HIGH // 2 + 2_000 < statistics.queued_bytes <= HIGH
            assert statistics.queued_messages <= stuffed
            assert statistics.dropped_messages == 0
            # It fits exactly when half is free.
            later = b"L" * (HIGH // 2 - 10)
            sender = asyncio.create_task(client.send(later))
            await turns(5)
            assert not sender.done()
            received = 0
            while not sender.done():
                assert received < stuffed, "it waits although the queue must be empty"
                await server.receive(5.0)
                received += 1
                await turns(2)
            await sender
            assert client.statistics().queued_bytes <= HIGH
            for _ in range(stuffed - received):
                await server.receive(5.0)
            assert await server.receive(5.0) == later
            await eventually(lambda: client.statistics().queued_bytes == 0)

    run(main)


@every(BOUNDED)
def test_flush_waits_for_the_kernel(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory, high_water=HIGH, **SMALL) as (client, server):
            await client.flush(1.0)
            stuffed = await stuff(client)
            with pytest.raises(jackfield.TimedOut):
                await client.flush(0.02)
            flushing = asyncio.create_task(client.flush())
            await turns(5)
            assert not flushing.done()
            for _ in range(stuffed):
                await server.receive(5.0)
            await asyncio.wait_for(flushing, 5.0)
            assert client.statistics().queued_bytes == 0
            assert client.statistics().messages_out >= stuffed

    run(main)


@every(STREAMS)
def test_a_message_larger_than_the_mark_passes_an_empty_queue(
    run: Runner, transport: Transport, directory: Path
) -> None:
    async def main() -> None:
        async with two_ends(transport, directory, high_water=1_000) as (client, server):
            for _ in range(3):
                sender = asyncio.create_task(client.send(b"x" * 2**20))
                assert await server.receive(5.0) == b"x" * 2**20
                await sender

    run(main)


@every(BOUNDED)
def test_reject(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory, **SMALL, high_water=HIGH, when_full="reject") as (
            client,
            server,
        ):
            count = 0
            with pytest.raises(jackfield.QueueFull) as caught:
                while True:
                    await client.send(b"%06d" % count * 100)
                    count += 1
            assert caught.value.limit == HIGH
            with pytest.raises(jackfield.QueueFull):
                client.send_nowait(b"x" * 600)
            for number in range(count):
                assert await server.receive(5.0) == b"%06d" % number * 100
            await eventually(lambda: client.statistics().queued_bytes == 0)
            await client.send(b"again")
            assert await server.receive(5.0) == b"again"

    run(main)


@every(BOUNDED)
def test_drop_newest(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory, **SMALL, high_water=HIGH, when_full="drop_newest") as (
            client,
            server,
        ):
            received = await overfill(client, server)
            assert received[0] == 0

    run(main)


@every(BOUNDED)
def test_drop_oldest(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory, **SMALL, high_water=HIGH, when_full="drop_oldest") as (
            client,
            server,
        ):
            received = await overfill(client, server)
            assert received[-1] == 2_999, "the newest message is never the one that is dropped"

    run(main)


@every(BOUNDED)
def test_disconnect(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with two_ends(transport, directory, **SMALL, high_water=HIGH, when_full="disconnect") as (
            client,
            _,
        ):
            with pytest.raises(jackfield.ChannelLost, match="disconnect"):
                while True:
                    await client.send(b"x" * 1_000)
            with pytest.raises(jackfield.ChannelLost):
                await client.receive(1.0)
            assert client.statistics().dropped_messages > 0
            assert client.statistics().queued_bytes == 0

    run(main)


@pytest.mark.parametrize("policy", ALL_POLICIES)
def test_the_queue_never_passes_the_mark(run: Runner, policy: jackfield.WhenFull) -> None:
    async def main() -> None:
        one, two = jackfield.pair(framing="u16", high_water=50_000, when_full=policy)
        for size in [1, 10, 100, 10_000] * 200:
            try:
                await one.send(b"x" * size, timeout=0.005)
            except (jackfield.QueueFull, jackfield.TimedOut):
                pass
            except jackfield.ChannelLost:
                break
            assert one.statistics().queued_bytes <= 50_000
        statistics = one.statistics()
        assert (statistics.dropped_messages > 0) == (policy in ("drop_oldest", "drop_newest", "disconnect"))
        one.abort()
        two.abort()

    run(main)


def test_each_waiting_sender_has_its_own_timeout(run: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair(high_water=1_000)
        await one.send(b"x" * 2**21)
        started = time.monotonic()

        async def late(timeout: float) -> None:
            with pytest.raises(jackfield.TimedOut):
                await one.send(b"y" * 900, timeout=timeout)
            assert time.monotonic() - started >= timeout

        first, last, second = (asyncio.create_task(late(timeout)) for timeout in (0.05, 10.0, 0.2))
        await first
        await second
        assert not last.done()
        last.cancel()
        await asyncio.wait([last])
        one.abort()
        two.abort()

    run(main)


def test_reading_stops_when_the_consumer_is_slow(run: Runner) -> None:
    """Nothing is read ahead: what nobody receives stays in the kernel, whose window closes."""

    async def main() -> None:
        one, two = jackfield.pair(framing="u32", high_water=10_000)
        sent = await stuff(one)
        await asyncio.sleep(0.01)
        assert two.statistics().bytes_in == 0
        assert await two.receive(1.0) == b"f" * 1_000
        assert two.statistics().bytes_in <= 2**18
        for _ in range(sent - 1):
            await two.receive(5.0)
        one.abort()
        two.abort()

    run(main)
