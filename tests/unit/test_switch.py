"""``Group.switch`` as the library offers it; what it guarantees on the wire stands in crates/engine/tests."""

from __future__ import annotations

import asyncio
import struct
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


def test_it_works_under_another_loop() -> None:
    async def main() -> None:
        async with hall() as here:
            channel, member = await here.native()
            await channel.send(frame(0, FrameKind.PING, b"12345678"))
            assert await receive(channel) == frame(0, FrameKind.PONG, b"12345678")
            assert here.switch.send(member, 0, FrameKind.CONTROL, b"{}")
            assert await receive(channel) == frame(0, FrameKind.CONTROL, b"{}")

    asyncio.run(main())
