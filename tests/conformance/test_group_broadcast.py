"""Broadcasts to all or some, over mixed framings and transports; slow members lose or slow down as chosen."""

# ruff: noqa: PT012 - several sends until one fails

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from support import LISTENING, Runner, Transport, eventually, every, options_for, payload, turns

import jackfield
from jackfield import Group, Left

pytestmark = pytest.mark.timeout(60)


def members(group: Group, count: int, **options: object) -> list[jackfield.Channel]:
    """The far ends of that many new members."""
    clients = []
    for _ in range(count):
        one, two = jackfield.pair(**{"framing": "u32", **options})  # type: ignore[arg-type]
        group.add(two)
        clients.append(one)
    return clients


@every(LISTENING)
def test_to_all_and_to_some(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        options = options_for(transport, {})
        async with Group() as group, jackfield.listen(transport.address(directory), **options) as listener:
            listener.into(group)
            clients = []
            for number in range(8):
                clients.append(await jackfield.connect(listener.address, **options))
                await clients[-1].send(b"%d" % number)
            numbers: dict[int, jackfield.Member] = {}
            async for event in group:
                if isinstance(event, jackfield.Message):
                    numbers[int(event.data)] = event.member
                    if len(numbers) == 8:
                        break
            sizes = (0, 1, 1_000, 40_000) if transport.name != "seqpacket" else (1, 1_000, 40_000)
            for size in sizes:
                message = payload(size)
                assert await group.broadcast(message) == 8
                assert [await client.receive(5.0) for client in clients] == [message] * 8
            assert group.broadcast_nowait(b"some", to=[numbers[2], numbers[5].id]) == 2
            assert await group.broadcast(b"one", to=[numbers[3]]) == 1
            assert await group.broadcast(b"none", to=[]) == 0
            assert await group.broadcast(b"all") == 8
            for number, client in enumerate(clients):
                first = {2: [b"some"], 5: [b"some"], 3: [b"one"]}.get(number, [])
                for expected in [*first, b"all"]:
                    assert await client.receive(5.0) == expected
            for client in clients:
                client.abort()
            assert group.dropped_messages == 0

    run(main)


def test_mixed_framings_and_transports(run: Runner, directory: Path) -> None:
    async def main() -> None:
        framings = [
            "line",
            "line:crlf",
            "u8",
            "u32",
            "varint",
            "netstring",
            "delimiter:END",
            "cobs",
            "slip",
            "gap:1ms",
        ]
        async with contextlib.AsyncExitStack() as stack:
            group = await stack.enter_async_context(Group())
            ends: list[tuple[jackfield.Channel, bytes]] = []
            for framing in framings * 2:
                one, two = jackfield.pair(framing=framing)
                group.add(two)
                ends.append((one, b"hello"))
            for transport in LISTENING:
                options = options_for(transport, {})
                listener = await stack.enter_async_context(
                    jackfield.listen(transport.address(directory), **options)
                )
                listener.into(group)
                client = await jackfield.connect(listener.address, **options)
                await client.send(b"here")
                ends.append((client, b"hello"))
            while len(group) < len(ends):
                await group.receive(5.0)
            assert await group.broadcast(b"hello") == len(ends)
            for end, expected in ends:
                assert await end.receive(5.0) == expected
            with pytest.raises(jackfield.FramingError):
                await group.broadcast(b"two\nlines")
            assert await group.broadcast(b"still well") == len(ends)
            for end, _ in ends:
                assert await end.receive(5.0) == b"still well"
                end.abort()

    run(main)


def test_broadcasts_and_single_messages_keep_their_order(run: Runner) -> None:
    async def main() -> None:
        async with Group() as group:
            clients = members(group, 3)
            ids = [member.id for member in sorted(group.members(), key=lambda member: member.id)]
            expected: dict[int, list[bytes]] = {id_: [] for id_ in ids}
            for number in range(200):
                message = b"%d" % number
                if number % 3 == 0:
                    group.broadcast_nowait(message)
                    targets = ids
                elif number % 3 == 1:
                    targets = [ids[number % 2]]
                    group.send_nowait(targets[0], message)
                else:
                    targets = ids[1:]
                    await group.broadcast(message, to=targets)
                for target in targets:
                    expected[target].append(message)
            for client, messages in zip(clients, expected.values(), strict=True):
                assert [await client.receive(5.0) for _ in messages] == messages
                client.abort()

    run(main)


async def flood(group: Group, count: int, **options: object) -> list[int]:
    """Broadcast numbered messages of 1,000 bytes; how many members took each."""
    return [await group.broadcast(b"%06d" % number + b"." * 994, **options) for number in range(count)]  # type: ignore[arg-type]


async def numbers_of(client: jackfield.Channel, count: int) -> list[int]:
    """The numbers of so many messages, behind which nothing comes."""
    numbers = [int((await client.receive(10.0))[:6]) for _ in range(count)]
    with pytest.raises(jackfield.TimedOut):
        await client.receive(0.02)
    return numbers


async def held_up_flood(group: Group) -> tuple[jackfield.Channel, asyncio.Task[list[int]]]:
    """A member that does not read, and a flood of broadcasts that waits for it."""
    [slow] = members(group, 1, high_water=10_000)
    flooding = asyncio.create_task(flood(group, 5_000))
    await eventually(lambda: group.statistics(group.members()[0]).queued_bytes > 10_000)
    await turns()
    assert not flooding.done()
    return slow, flooding


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest", "reject"])
def test_a_slow_member_loses_and_the_others_do_not(run: Runner, policy: str) -> None:
    async def main() -> None:
        async with Group(when_full=policy) as group:
            [quick, slow] = members(group, 2, high_water=100_000)
            reading = asyncio.create_task(numbers_of(quick, 1_500))
            for number in range(1_500):
                await group.broadcast(b"%06d" % number + b"." * 994)
                await asyncio.sleep(0)
            assert await reading == list(range(1_500))
            dropped = [group.statistics(member).dropped_messages for member in group.members()]
            assert dropped[0] == 0
            assert 0 < dropped[1] < 1_500
            got = await numbers_of(slow, 1_500 - dropped[1])
            assert got == sorted(got)
            assert got[0 if policy != "drop_oldest" else -1] == (0 if policy != "drop_oldest" else 1_499)
            if policy != "drop_oldest":
                assert group.dropped_messages == 1_500 - len(got)
            quick.abort()
            slow.abort()

    run(main)


def test_a_slow_member_is_disconnected(run: Runner) -> None:
    async def main() -> None:
        async with Group(when_full="disconnect") as group:
            [quick, slow] = members(group, 2, high_water=100_000)
            reading = asyncio.create_task(numbers_of(quick, 1_500))
            for number in range(1_500):
                await group.broadcast(b"%06d" % number + b"." * 994)
                await asyncio.sleep(0)
            assert await reading == list(range(1_500))
            lefts = [event for event in await group.receive_many() if isinstance(event, Left)]
            assert [type(left.error) for left in lefts] == [jackfield.ChannelLost]
            assert "disconnect" in lefts[0].reason
            assert len(group) == 1
            with pytest.raises((jackfield.EndOfStream, jackfield.ChannelLost, jackfield.TruncatedFrame)):
                while True:
                    await slow.receive(5.0)
            quick.abort()
            slow.abort()

    run(main)


@pytest.mark.parametrize("asked", [True, False], ids=["by call", "by group"])
def test_a_slow_member_slows_the_broadcaster(run: Runner, asked: bool) -> None:
    async def main() -> None:
        async with Group(when_full="drop_newest" if asked else "wait") as group:
            [quick, slow] = members(group, 2, high_water=100_000)
            options = {"when_full": "wait"} if asked else {}
            flooding = asyncio.create_task(flood(group, 1_500, **options))
            reading = asyncio.create_task(numbers_of(quick, 1_500))
            await eventually(lambda: group.statistics(group.members()[1]).queued_bytes > 100_000)
            await turns()
            assert not flooding.done()
            assert max(group.statistics(member).queued_bytes for member in group.members()) < 250_000
            got = [int((await slow.receive(5.0))[:6]) for _ in range(1_500)]
            assert got == list(range(1_500))
            assert await reading == got
            assert set(await flooding) == {2}
            assert group.dropped_messages == 0
            quick.abort()
            slow.abort()

    run(main)


def test_a_cancelled_broadcast_that_waits_queued_nothing(run: Runner) -> None:
    async def main() -> None:
        async with Group(when_full="wait") as group:
            slow, flooding = await held_up_flood(group)
            flooding.cancel()
            await asyncio.wait([flooding])
            assert flooding.cancelled()
            statistics = group.statistics(group.members()[0])
            queued = statistics.messages_out + statistics.queued_messages
            assert await numbers_of(slow, queued) == list(range(queued))
            assert await group.broadcast(b"000000") == 1
            assert await slow.receive(5.0) == b"000000"
            slow.abort()

    run(main)


def test_a_broadcast_that_may_not_wait_is_refused(run: Runner) -> None:
    async def main() -> None:
        async with Group(when_full="wait") as group:
            [slow] = members(group, 1, high_water=10_000)
            with pytest.raises(jackfield.QueueFull, match="above its high-water mark"):
                for _ in range(10_000):
                    group.broadcast_nowait(b"x" * 1000)
                    await asyncio.sleep(0)
            assert group.members()[0]._statistics()[4] < 100_000
            slow.abort()

    run(main)


def test_a_member_that_dies_frees_a_waiting_broadcaster(run: Runner) -> None:
    async def main() -> None:
        async with Group(when_full="wait") as group:
            slow, flooding = await held_up_flood(group)
            slow.abort()
            taken = await asyncio.wait_for(flooding, 5.0)
            assert taken[0] == 1
            await eventually(lambda: True)

    run(main)


def test_an_empty_group_takes_broadcasts(run: Runner) -> None:
    async def main() -> None:
        async with Group() as group:
            assert await group.broadcast(b"nobody") == 0
            assert group.broadcast_nowait(b"nobody", to=[]) == 0
            assert len(group) == 0
            assert group.members() == []
            [client] = members(group, 1)
            with pytest.raises(jackfield.TimedOut):
                await client.receive(0.02)
            await turns()
            client.abort()

    run(main)
