"""What a group tells: joined, then messages in order, then left; on every transport and loop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support import (
    LISTENING,
    STREAMS,
    Chain,
    Runner,
    Transport,
    eventually,
    every,
    options_for,
    payload,
    raw_connect,
    reset,
    turns,
)

import jackfield
from jackfield import Group, Joined, Left, Message

pytestmark = pytest.mark.timeout(60)


async def next_of(group: Group, kind: type) -> jackfield.Event:
    """The next event, which must be of this kind."""
    event = await group.receive(timeout=5.0)
    assert isinstance(event, kind), event
    return event


@every(LISTENING)
def test_joined_messages_left(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        options = options_for(transport, {})
        async with (
            Group() as group,
            jackfield.listen(transport.address(directory), **options, idle_timeout=0.3) as listener,
        ):
            listener.into(group)
            clients = [await jackfield.connect(listener.address, **options) for _ in range(5)]
            seen: dict[jackfield.Member, list[object]] = {}
            sent = {number: Chain() for number in range(5)}
            for _ in range(20):
                for number, client in enumerate(clients):
                    await client.send(bytes([number]) + sent[number].next())
            for client in clients:
                await client.close(5.0)
            received = {number: Chain() for number in range(5)}
            async for event in group:
                story = seen.setdefault(event.member, [])
                if isinstance(event, Joined):
                    assert story == []
                    assert event.member.is_connected
                    assert event.member.protocol == transport.scheme
                    assert event.member.listener_id == listener.id
                    story.append("joined")
                elif isinstance(event, Message):
                    assert story[0] == "joined"
                    story.append(event.data[0])
                    received[event.data[0]].check(event.data[1:])
                elif isinstance(event, Left):
                    assert event.error is None
                    assert not event.member.is_connected
                    assert event.member.peer.scheme == transport.scheme
                    assert ("silent" in event.reason) == (not transport.has_end)
                    assert group.statistics(event.member).messages_in == 20
                    story.append("left")
                    if sum(story[-1] == "left" for story in seen.values()) == 5:
                        break
            assert len(seen) == 5
            for story in seen.values():
                assert story[0], story[-1] == ("joined", "left")
                assert len(set(story[1:-1])) == 1, "one member speaks for one client"
                assert len(story) == 22
            assert len(group) == 0

    run(main)


@every(LISTENING)
def test_members_are_equal_by_id_and_can_be_answered(
    run: Runner, transport: Transport, directory: Path
) -> None:
    async def main() -> None:
        options = options_for(transport, {})
        async with Group() as group, jackfield.listen(transport.address(directory), **options) as listener:
            listener.into(group)
            client = await jackfield.connect(listener.address, **options)
            await client.send(b"one")
            member = (await next_of(group, Joined)).member
            event = await next_of(group, Message)
            assert event.data == b"one"
            assert event.member == member
            assert event.member is not member
            assert hash(event.member) == hash(member)
            assert {member: 1}[event.member] == 1
            assert member != 5
            assert group.member(member.id) == member
            assert group.member(member.id + 12_345) is None
            assert [other.id for other in group.members()] == [member.id]
            assert len(group) == 1
            await member.send(b"a")
            member.send_nowait(b"b")
            await group.send(member, b"c")
            await group.send(member.id, b"d")
            group.send_nowait(member, b"e")
            assert await group.broadcast(b"f") == 1
            assert [await client.receive(5.0) for _ in range(6)] == [b"a", b"b", b"c", b"d", b"e", b"f"]
            await eventually(lambda: group.statistics(member).messages_out == 6)
            assert str(member.id) in repr(member)
            assert repr(event).startswith("Message(")
            match event:
                case Message(who, data):
                    assert (who, data) == (member, b"one")
            if transport.scheme.startswith("unix") and transport.has_end:
                assert member.credentials is not None
            member.close()
            if transport.has_end:
                with pytest.raises(jackfield.EndOfStream):
                    await client.receive(5.0)
            await eventually(lambda: len(group) == 0)
            for call in (lambda: member.send_nowait(b"x"), lambda: group.send_nowait(member, b"x")):
                with pytest.raises(jackfield.ChannelClosed):
                    call()
            client.abort()

    run(main)


@every(STREAMS)
def test_channels_can_be_added(run: Runner, transport: Transport, directory: Path) -> None:
    async def main() -> None:
        async with Group() as group:
            one, two = jackfield.pair(framing="line")
            await one.send(b"before")
            member = group.add(two)
            assert (await next_of(group, Joined)).member == member
            assert (await next_of(group, Message)).data == b"before"
            with pytest.raises(jackfield.AlreadyWaiting):
                group.add(two)
            big = payload(300_000).replace(b"\n", b"-")
            sending = asyncio.create_task(one.send(big))
            assert (await next_of(group, Message)).data == big
            await sending
            del two
            await one.send(b"the group keeps it")
            assert (await next_of(group, Message)).data == b"the group keeps it"
            await one.close(5.0)
            left = await next_of(group, Left)
            assert left.error is None
            assert left.reason

    run(main)


def test_a_channel_that_somebody_waits_on_cannot_be_added(run: Runner) -> None:
    async def main() -> None:
        async with Group() as group:
            one, two = jackfield.pair(framing="line")
            waiting = asyncio.create_task(two.receive())
            await turns()
            with pytest.raises(jackfield.AlreadyWaiting):
                group.add(two)
            await one.send(b"x")
            assert await waiting == b"x"
            group.add(two)
            one.abort()

    run(main)


def test_resets_and_bad_frames_leave_with_their_error(run: Runner) -> None:
    async def main() -> None:
        async with (
            Group() as group,
            jackfield.listen("tcp://127.0.0.1:0", framing="u32", max_message=1000) as listener,
        ):
            listener.into(group)
            good = await jackfield.connect(listener.address, framing="u32")
            await good.send(b"good")
            assert isinstance(await group.receive(5.0), Joined)
            assert isinstance(await group.receive(5.0), Message)
            resetting, greedy, cut = (raw_connect(listener.address) for _ in range(3))
            members = [(await next_of(group, Joined)).member for _ in range(3)]
            resetting.sendall(b"\0\0\0\1a\0\0")
            assert (await next_of(group, Message)).data == b"a"
            reset(resetting)
            left = await next_of(group, Left)
            assert isinstance(left.error, jackfield.ChannelLost)
            assert left.member in members
            assert left.reason == str(left.error)
            greedy.sendall(b"\0\0\0\1b\xff\xff\xff\xff")
            assert (await next_of(group, Message)).data == b"b"
            left = await next_of(group, Left)
            assert isinstance(left.error, jackfield.MessageTooLarge)
            cut.sendall(b"\0\0\0\1c\0\0\0\5abc")
            cut.close()
            assert (await next_of(group, Message)).data == b"c"
            left = await next_of(group, Left)
            assert isinstance(left.error, jackfield.TruncatedFrame)
            greedy.close()
            await good.send(b"unharmed")
            assert (await next_of(group, Message)).data == b"unharmed"
            assert len(group) == 1
            good.abort()

    run(main)


def test_receive_many_in_batches(run: Runner) -> None:
    async def main() -> None:
        async with Group() as group:
            clients = []
            for _ in range(10):
                one, two = jackfield.pair(framing="u32")
                group.add(two)
                clients.append(one)
                await one.send_many(b"%d" % number for number in range(30))
                await one.flush()
            events: list[jackfield.Event] = []
            while len(events) < 310:
                batch = await group.receive_many(25, timeout=5.0)
                assert 1 <= len(batch) <= 25
                events += batch
            by_member: dict[int, list[bytes]] = {}
            for event in events:
                if isinstance(event, Message):
                    by_member.setdefault(event.member.id, []).append(event.data)
            assert list(by_member.values()) == [[b"%d" % number for number in range(30)]] * 10
            with pytest.raises(jackfield.TimedOut):
                await group.receive_many(timeout=0.02)
            with pytest.raises(jackfield.TimedOut):
                await group.receive(timeout=0.0)
            for client in clients:
                client.abort()

    run(main)


def test_one_reader_at_a_time(run: Runner) -> None:
    async def main() -> None:
        async with Group() as group:
            waiting = asyncio.create_task(group.receive())
            await turns()
            for call in (group.receive(), group.receive_many(), anext(group)):
                with pytest.raises(jackfield.AlreadyWaiting):
                    await call
            one, two = jackfield.pair()
            group.add(two)
            assert isinstance(await waiting, Joined)
            one.abort()

    run(main)


def test_a_busy_member_does_not_silence_the_others(run: Runner) -> None:
    async def main() -> None:
        async with Group() as group:
            loud, one = jackfield.pair(framing="u16")
            quiet, two = jackfield.pair(framing="u16")
            group.add(one)
            quiet_id = group.add(two).id
            await loud.send_many([b"x"] * 20_000)
            await quiet.send(b"psst")
            await quiet.flush()
            before = 0
            while True:
                event = await group.receive(5.0)
                if isinstance(event, Message):
                    if event.member.id == quiet_id:
                        break
                    before += 1
            assert before < 10_000, "a turn's share of work is 4,096"
            loud.abort()
            quiet.abort()

    run(main)


def test_a_group_is_ended_by_its_end(run: Runner) -> None:
    async def main() -> None:
        group = Group()
        listener = await jackfield.listen("tcp://127.0.0.1:0")
        listener.into(group)
        one, two = jackfield.pair()
        group.add(two)
        client = await jackfield.connect(listener.address)
        while len(group) < 2:
            await group.receive(5.0)
        group.abort()
        for channel in (one, client):
            with pytest.raises((jackfield.EndOfStream, jackfield.ChannelLost)):
                await channel.receive(5.0)
            channel.abort()
        assert len(group) == 0
        await listener.close()

    run(main)
