"""``Group.switch`` as the library offers it; what it guarantees on the wire stands in crates/engine/tests."""

from __future__ import annotations

import asyncio
import struct
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

import jackfield
from jackfield import FrameKind
from jackfield.portable import MAGIC

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HELLO, WELCOME = b'{"type":"hello"}', b'{"type":"welcome"}'


def frame(stream: int, kind: FrameKind, payload: bytes = b"", flags: int = 0) -> bytes:
    return struct.pack(">IBBH", stream, kind, flags, 0) + payload


class Hall:
    """A group that recognises native clients, and its events."""

    def __init__(self, group: jackfield.Group, listener: jackfield.Listener) -> None:
        self.group, self.listener, self.switch = group, listener, group.switch

    async def event(self) -> jackfield.Event:
        return await self.group.receive(timeout=20.0)

    async def plain(self) -> tuple[jackfield.Channel, jackfield.Member]:
        channel = await jackfield.connect(self.listener.address, framing="u32")
        joined = await self.event()
        assert isinstance(joined, jackfield.Joined)
        return channel, joined.member

    async def greeted(self) -> tuple[jackfield.Channel, jackfield.Member]:
        channel, _ = await self.plain()
        await channel.send(MAGIC)
        await channel.send(frame(0, FrameKind.CONTROL, HELLO))
        recognised = await self.event()
        assert isinstance(recognised, jackfield.Recognised)
        message = await self.event()
        assert isinstance(message, jackfield.Message)
        assert message.data == frame(0, FrameKind.CONTROL, HELLO)
        return channel, recognised.member

    async def native(self) -> tuple[jackfield.Channel, jackfield.Member]:
        channel, member = await self.greeted()
        assert self.switch.send(member, 0, FrameKind.CONTROL, WELCOME)
        assert await channel.receive(timeout=20.0) == MAGIC
        assert await channel.receive(timeout=20.0) == frame(0, FrameKind.CONTROL, WELCOME)
        return channel, member

    async def opened(self, channel: jackfield.Channel, stream: int) -> None:
        await channel.send(frame(stream, FrameKind.OPEN, b"{}"))
        message = await self.event()
        assert isinstance(message, jackfield.Message)
        assert message.data == frame(stream, FrameKind.OPEN, b"{}")


@asynccontextmanager
async def hall() -> AsyncIterator[Hall]:
    async with jackfield.Group() as group, jackfield.listen("tcp://127.0.0.1:0", framing="u32") as listener:
        listener.into(group, native="auto")
        yield Hall(group, listener)


async def receive(channel: jackfield.Channel) -> bytes:
    """The next frame that is no ACK."""
    while (data := await channel.receive(timeout=20.0))[4] == FrameKind.ACK:
        pass
    return data


def test_frames_of_a_route_do_not_reach_python() -> None:
    async def main() -> None:
        async with hall() as here:
            (one, first), (other, second) = await here.native(), await here.native()
            await here.opened(one, 1)
            number = here.switch.next_stream(second)
            assert here.switch.send(second, number, FrameKind.OPEN, b"{}")
            here.switch.link(first, 1, second, number, credit=1000)
            await other.send(frame(number, FrameKind.CREDIT, struct.pack(">I", 1000)))
            assert await receive(other) == frame(number, FrameKind.OPEN, b"{}")
            assert await receive(one) == frame(1, FrameKind.CREDIT, struct.pack(">I", 1000))
            await one.send(frame(1, FrameKind.DATA, b"there"))
            assert await receive(other) == frame(number, FrameKind.DATA, b"there")
            await other.send(frame(number, FrameKind.DATA, b"back"))
            assert await receive(one) == frame(1, FrameKind.DATA, b"back")
            with pytest.raises(jackfield.TimedOut):
                await here.group.receive(timeout=0.05)
            assert here.switch.counts(first).received == 2
            assert here.switch.unlink(first, 1, code=1, reason="enough")
            assert await receive(one) == frame(1, FrameKind.RESET, struct.pack(">I", 1) + b"enough")

    jackfield.run(main())


def test_what_breaks_the_rules_leaves_with_the_code() -> None:
    async def main() -> None:
        async with hall() as here:
            channel, member = await here.native()
            await channel.send(frame(7, FrameKind.DATA, b"never opened"))
            left = await here.event()
            assert isinstance(left, jackfield.Left)
            assert left.member == member
            assert isinstance(left.error, jackfield.ProtocolViolation)
            assert left.error.code == "stream_state"
            assert "stream_state" in str(left.error)
            assert here.switch.hold(left.member) is None
            with pytest.raises(jackfield.ChannelClosed):
                here.switch.send(member, 0, FrameKind.CONTROL, b"{}")

    jackfield.run(main())


def test_only_native_members_are_sent_frames() -> None:
    async def main() -> None:
        async with hall() as here:
            channel, plain = await here.plain()
            await channel.send(b"not the magic")
            message = await here.event()
            assert isinstance(message, jackfield.Message)
            assert here.switch.is_native(plain) is False
            with pytest.raises(ValueError, match="not a native client"):
                here.switch.send(plain, 0, FrameKind.CONTROL, b"{}")
            _, native = await here.native()
            assert here.switch.is_native(native)
            with pytest.raises(jackfield.NotSupported, match="switch"):
                native.send_nowait(b"no frame")
            with pytest.raises(ValueError, match="never opened"):
                here.switch.send(native, 4, FrameKind.DATA, b"x")
            with pytest.raises(ValueError, match="kind"):
                here.switch.send(native, 0, 99)
            with pytest.raises(ValueError, match="native="):
                here.listener.into(jackfield.Group(), native="maybe")  # type: ignore[arg-type]

    jackfield.run(main())


def test_a_session_goes_on_over_another_connection() -> None:
    async def main() -> None:
        async with hall() as here:
            channel, member = await here.native()
            await here.opened(channel, 1)
            here.switch.own(member, 1)
            channel.abort()
            left = await here.event()
            assert isinstance(left, jackfield.Left)
            session = here.switch.hold(left.member)
            assert session is not None
            assert here.switch.send(session, 1, FrameKind.DATA, b"while you were away")
            again, fresh = await here.greeted()
            assert here.switch.resume(fresh, session, 0) == 1
            assert here.switch.send(fresh, 0, FrameKind.CONTROL, WELCOME)
            assert await again.receive(timeout=20.0) == MAGIC
            assert await again.receive(timeout=20.0) == frame(0, FrameKind.CONTROL, WELCOME)
            assert await again.receive(timeout=20.0) == frame(1, FrameKind.DATA, b"while you were away")
            with pytest.raises(jackfield.ChannelClosed):
                here.switch.resume(fresh, session, 0)
            assert not session.drop()

    jackfield.run(main())


def test_a_fan_sends_one_message_to_all() -> None:
    async def main() -> None:
        async with hall() as here:
            fan = here.switch.fan(here.switch.next_stream())
            members = [await here.native() for _ in range(3)]
            for source, (_, member) in enumerate(members):
                fan.add(member, source)
            assert fan.send(b"hello", source=9) == 1
            delivered = frame(fan.stream, FrameKind.DATA, struct.pack(">IQ", 9, 1) + b"hello", flags=2)
            for channel, _ in members:
                assert await receive(channel) == delivered
            assert {(member.id, source) for member, source in fan.members()} == {
                (member.id, source) for source, (_, member) in enumerate(members)
            }
            assert fan.remove(members[0][1])
            assert not fan.remove(members[0][1])
            statistics = fan.statistics()
            assert (statistics.members, statistics.delivered, statistics.sequence) == (2, 3, 1)
            with pytest.raises(ValueError, match="fan cannot wait"):
                here.switch.fan(4, when_full="wait")
            with pytest.raises(ValueError, match="another fan"):
                here.switch.fan(fan.stream)
            fan.close()

    jackfield.run(main())


def test_a_fan_sends_many_with_one_sequence_after_the_other() -> None:
    async def main() -> None:
        async with hall() as here:
            fan = here.switch.fan(here.switch.next_stream())
            channel, member = await here.native()
            fan.add(member, 1)
            assert fan.send_many([b"one", b"two"], source=9, sequence=41) == 42
            assert fan.send_many([b"three"]) == 43
            assert fan.send_many([]) == 43
            with pytest.raises(ValueError, match="65,524"):
                fan.send_many([b"fits", bytes(65_525)])
            for source, sequence, body in ((9, 41, b"one"), (9, 42, b"two"), (0, 43, b"three")):
                label = struct.pack(">IQ", source, sequence)
                assert await receive(channel) == frame(fan.stream, FrameKind.DATA, label + body, flags=2)
            assert fan.statistics().sent == 3
            await channel.close()

    jackfield.run(main())


def test_a_fan_that_publishes_can_keep_the_last_messages_for_its_owner() -> None:
    async def main() -> None:
        async with hall() as here:
            fan = here.switch.fan(here.switch.next_stream(), publish=True, recent=2, sequence=10)
            channel, member = await here.native()
            fan.add(member, 7)
            for number in (1, 2, 3):
                channel.send_nowait(frame(fan.stream, FrameKind.DATA, struct.pack(">Q", number) + b"text"))
                await receive(channel)
            assert [each[:2] for each in fan.recent(0)] == [(7, 12), (7, 13)]
            ((source, sequence, at, payload),) = fan.recent(12)
            assert (source, sequence, payload) == (7, 13, struct.pack(">Q", 3) + b"text")
            assert abs(at - time.time()) < 60
            fan.publish(on=False)
            channel.send_nowait(frame(fan.stream, FrameKind.DATA, struct.pack(">Q", 4) + b"for Python"))
            told = await here.event()
            assert isinstance(told, jackfield.Message)
            assert told.data.endswith(b"for Python")
            assert fan.recent(13) == []
            await channel.close()

    jackfield.run(main())


def test_data_frames_that_follow_each_other_are_gathered() -> None:
    async def main() -> None:
        async with hall() as here:
            fan = here.switch.fan(here.switch.next_stream())
            channel, member = await here.native()
            fan.add(member, 1)
            for body in (b"one", b"two"):
                channel.send_nowait(frame(fan.stream, FrameKind.DATA, body))
            channel.send_nowait(frame(fan.stream, FrameKind.DATA, b"in pieces", flags=1))
            channel.send_nowait(frame(fan.stream, FrameKind.DATA, b"", flags=0))
            channel.send_nowait(frame(0, FrameKind.CONTROL, b"{}"))
            channel.send_nowait(frame(fan.stream, FrameKind.DATA, b"behind"))
            told: list[tuple[int, bytes] | bytes] = []
            most = 0
            while not told or told[-1] != (fan.stream, b"behind"):
                for event in await here.group.receive_many(timeout=20.0, gather=True):
                    match event:
                        case jackfield.Published(by, stream, payloads):
                            assert by == member
                            most = max(most, len(payloads))
                            told += [(stream, payload) for payload in payloads]
                        case jackfield.Message(by, data):
                            assert by == member
                            told.append(data)
            assert told == [
                (fan.stream, b"one"),
                (fan.stream, b"two"),
                frame(fan.stream, FrameKind.DATA, b"in pieces", flags=1),
                (fan.stream, b""),
                frame(0, FrameKind.CONTROL, b"{}"),
                (fan.stream, b"behind"),
            ]
            assert 1 <= most <= 2
            await channel.send(frame(fan.stream, FrameKind.DATA, b"alone"))
            assert isinstance(await here.event(), jackfield.Message)
            await channel.close()

    jackfield.run(main())


def test_who_waits_to_send_to_a_newcomer_hears_that_time_is_up() -> None:
    async def main() -> None:
        async with hall() as here:
            channel, member = await here.plain()

            async def fill() -> None:
                for _ in range(1000):
                    await member.send(bytes(65_536), timeout=0.1)

            with pytest.raises(jackfield.TimedOut):
                await fill()
            channel.abort()

    jackfield.run(main())


def test_a_broadcast_that_names_a_newcomer_reaches_it_and_counts_what_has_no_room() -> None:
    async def main() -> None:
        async with hall() as here:
            channel, member = await here.plain()
            assert here.group.broadcast_nowait(b"hello", to=[member]) == 1
            assert await channel.receive(timeout=20.0) == b"hello"
            while here.group.broadcast_nowait(bytes(65_536), to=[member]):
                pass
            assert here.group.statistics(member).dropped_messages == 1
            channel.abort()

    jackfield.run(main())


def test_what_looks_like_a_frame_of_a_plain_member_is_a_message() -> None:
    async def main() -> None:
        async with hall() as here:
            channel, _ = await here.plain()
            await channel.send(frame(1 << 31, FrameKind.DATA, b"text"))
            (event,) = await here.group.receive_many(timeout=20.0, gather=True)
            assert isinstance(event, jackfield.Message)
            assert event.data == frame(1 << 31, FrameKind.DATA, b"text")
            await channel.close()

    jackfield.run(main())


def test_a_channel_that_is_added_may_be_native_and_carry_another_connection() -> None:
    async def main() -> None:
        async with hall() as here:
            relayed = jackfield.Relayed(
                "wss", jackfield.Address("wss", "::1", 4711), jackfield.Address("wss", "127.0.0.1", 443), 7
            )
            ends = [jackfield.pair(framing="u32") for _ in range(3)]
            outer = here.group.add(ends[0][0], native="only", relayed=relayed)
            with pytest.raises(jackfield.NotSupported, match="says nothing of the peer's kernel"):
                await ends[0][0].flush(until="peer_kernel")
            plain, auto = here.group.add(ends[1][0]), here.group.add(ends[2][0], native="auto")
            assert (outer.protocol, outer.listener_id, outer.credentials) == ("wss", 7, None)
            assert (str(outer.peer), str(outer.local)) == ("wss://[::1]:4711", "wss://127.0.0.1:443")
            assert (plain.protocol, auto.protocol) == ("unix", "unix")
            for _ in ends:
                assert isinstance(await here.event(), jackfield.Joined)
            for (_, channel), member in ((ends[0], outer), (ends[2], auto)):
                await channel.send(MAGIC)
                event = await here.event()
                assert isinstance(event, jackfield.Recognised)
                assert event.member == member
            await ends[1][1].send(MAGIC)
            event = await here.event()
            assert isinstance(event, jackfield.Message)
            assert (event.member, event.data) == (plain, MAGIC)
            ends[0][1].abort()
            event = await here.event()
            assert isinstance(event, jackfield.Left)
            assert event.member.peer == outer.peer
            for _, channel in ends[1:]:
                channel.abort()

    jackfield.run(main())


def test_it_works_under_another_loop() -> None:
    async def main() -> None:
        async with hall() as here:
            channel, member = await here.native()
            await channel.send(frame(0, FrameKind.PING, b"12345678"))
            assert await receive(channel) == frame(0, FrameKind.PONG, b"12345678")
            assert here.switch.send(member, 0, FrameKind.CONTROL, b"{}")
            assert await receive(channel) == frame(0, FrameKind.CONTROL, b"{}")

    asyncio.run(main())
