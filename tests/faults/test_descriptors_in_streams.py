"""Descriptors that a peer sends along and nobody asked for: they are closed, and no byte is lost or moved."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from support import FRAMINGS, Runner, eventually, payload, raw_connect
from wire import fitting, on_the_wire

import jackfield

pytestmark = pytest.mark.timeout(60)

ALONG = 8
"""Descriptors with each piece."""


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def send_with_descriptors(plain: socket.socket, data: bytes, descriptors: list[int]) -> None:
    while data:
        data = data[socket.send_fds(plain, [data], descriptors) :]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_in_the_middle_of_a_stream(run: Runner, directory: Path, framing: str) -> None:
    """They cut the stream where they stand (unix(7)): behind them there is more without another edge."""

    async def main() -> None:
        messages = [fitting(framing, size) for size in (1, 40, 100_000, 40, 100_000, 3)]
        wire = await on_the_wire(framing, messages)
        async with jackfield.listen(f"unix://{directory}/s", framing=framing) as listener:
            plain = raw_connect(listener.address)
            channel = await listener.accept(5.0)
            ours = [plain.fileno()] * ALONG
            before = open_descriptors()

            def send() -> None:
                rest = wire
                for number, size in enumerate((1, 2, 5, 11, 60, 1_000, 7_000, 30_000, 90_000, len(wire))):
                    piece, rest = rest[:size], rest[size:]
                    if number % 3 == 1:
                        plain.sendall(piece)
                    elif piece:
                        send_with_descriptors(plain, piece, ours)
                plain.shutdown(socket.SHUT_WR)

            sending = asyncio.create_task(asyncio.to_thread(send))
            assert [message async for message in channel] == messages
            await sending
            assert open_descriptors() <= before
            plain.close()
            channel.abort()

    run(main)


@pytest.mark.parametrize("scheme", ["unix+seqpacket", "unix+dgram"])
def test_with_packets(run: Runner, directory: Path, scheme: str) -> None:
    async def main() -> None:
        async with jackfield.listen(f"{scheme}://{directory}/s") as listener:
            plain = raw_connect(listener.address)
            if scheme == "unix+dgram":
                plain.close()
                plain = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                plain.bind(f"{directory}/c")
                plain.connect(f"{directory}/s")
            plain.send(b"first")
            channel = await listener.accept(5.0)
            assert await channel.receive(5.0) == b"first"
            before = open_descriptors()
            for size in (1, 100, 0, 20_000):
                sent = payload(size)
                socket.send_fds(plain, [sent], [plain.fileno()] * ALONG)
                assert await channel.receive(5.0) == sent
                assert open_descriptors() <= before
            plain.send(b"last")
            assert await channel.receive(5.0) == b"last"
            plain.close()
            channel.abort()

    run(main)


def test_what_nobody_receives_holds_no_descriptor_for_ever(run: Runner, directory: Path) -> None:
    """A member of a group that is dropped with such bytes unread lets go of what was under way."""

    async def main() -> None:
        async with (
            jackfield.Group() as group,
            jackfield.listen(f"unix://{directory}/s", framing="u32") as listener,
        ):
            listener.into(group)
            reader, writer = os.pipe()
            plain = raw_connect(listener.address)
            joined = await group.receive(5.0)
            assert isinstance(joined, jackfield.Joined)
            socket.send_fds(plain, [b"\0\0\0\1x"], [writer])
            os.close(writer)
            joined.member.abort()
            # The pipe's end is read once nobody has its other end any more.
            os.set_blocking(reader, False)

            def nobody_writes() -> bool:
                try:
                    return os.read(reader, 1) == b""
                except BlockingIOError:
                    return False

            await eventually(nobody_writes)
            os.close(reader)
            plain.close()

    run(main)
