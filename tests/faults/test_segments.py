"""How TCP may cut a stream: one byte at a time, data and end in one segment; and who reads byte by byte."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from support import FRAMINGS, Runner, eventually, raw_connect, raw_peer
from wire import fitting, on_the_wire, send_with_end

import jackfield

pytestmark = pytest.mark.timeout(60)

LARGE = 200_000
"""Received straight into its final object, and in several pieces."""


@pytest.mark.parametrize("framing", FRAMINGS)
def test_one_byte_segments(run: Runner, framing: str) -> None:
    """Each byte is a segment of its own, and is taken before the next one leaves."""

    async def main() -> None:
        messages = [fitting(framing, size) for size in (1, 5, 30)]
        wire = await on_the_wire(framing, messages)
        async with raw_peer(framing) as (channel, plain):
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            got: list[bytes] = []

            async def read() -> None:
                async for message in channel:
                    got.append(message)

            reading = asyncio.create_task(read())
            for number in range(len(wire)):
                plain.send(wire[number : number + 1])
                await eventually(lambda there=number + 1: channel.statistics().bytes_in == there)
            await eventually(lambda: len(got) == len(messages))
            plain.shutdown(socket.SHUT_WR)
            await reading
            assert got == messages

    run(main)


@pytest.mark.parametrize("size", [20, LARGE])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_data_and_end_in_one_segment(run: Runner, framing: str, size: int) -> None:
    """The last bytes and the FIN arrive together, one edge tells both: while somebody waits, and before."""

    async def main() -> None:
        messages = [fitting(framing, 3), fitting(framing, size)]
        wire = await on_the_wire(framing, messages)
        # More than the window takes cannot have arrived before somebody receives.
        for waiting in (True, False) if size < LARGE else (True,):
            async with raw_peer(framing) as (channel, plain):
                reading = asyncio.create_task(everything(channel)) if waiting else None
                await asyncio.sleep(0)
                await asyncio.to_thread(send_with_end, plain, wire)
                if reading is None:
                    await eventually(lambda: at_its_end(channel))
                    reading = asyncio.create_task(everything(channel))
                assert await reading == messages
                with pytest.raises(jackfield.EndOfStream):
                    await channel.receive(5.0)

    run(main)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_part_of_a_frame_and_end_in_one_segment(run: Runner, framing: str) -> None:
    """What was whole is received; the rest is a truncated frame, or a line without its ending."""

    async def main() -> None:
        whole, cut = fitting(framing, 3), fitting(framing, 40)
        wire = await on_the_wire(framing, [whole, cut])
        async with raw_peer(framing) as (channel, plain):
            send_with_end(plain, wire[:-3])
            assert await channel.receive(5.0) == whole
            if framing in ("line", "line:crlf"):
                message = await channel.receive(5.0)
                assert cut.startswith(message)
                with pytest.raises(jackfield.EndOfStream):
                    await channel.receive(5.0)
                return
            with pytest.raises(jackfield.TruncatedFrame):
                await channel.receive(5.0)

    run(main)


def test_a_reader_of_one_byte_at_a_time(run: Runner) -> None:
    """It costs its own channel's queue and nothing else, is no dead peer, and gets every byte in order."""

    async def main() -> None:
        high = 64 * 1024
        async with (
            jackfield.listen(
                "tcp://127.0.0.1:0", framing="line", high_water=high, send_buffer="32K"
            ) as listener,
            jackfield.connect(listener.address, framing="line") as good,
        ):
            other = await listener.accept(5.0)
            slow = raw_connect(listener.address)
            channel = await listener.accept(5.0)
            sent = await fill(channel)
            slow.settimeout(10.0)
            got = b""
            worst = 0.0
            for _ in range(100):
                got += await asyncio.to_thread(slow.recv, 1)
                before = time.monotonic()
                await good.send(b"hello")
                assert await other.receive(10.0) == b"hello"
                worst = max(worst, time.monotonic() - before)
                assert channel.statistics().queued_bytes <= high
                assert not channel.closed
            # No wait for the slow one is hidden in the others' time.
            assert worst < 5.0
            sending = asyncio.create_task(channel.send(b"%07d" % sent, timeout=20.0))
            while len(got) < 8 * (sent + 1):
                got += await asyncio.to_thread(slow.recv, 65_536)
            await sending
            assert got == b"".join(b"%07d\n" % number for number in range(sent + 1))
            slow.close()
            channel.abort()
            await other.close()

    run(main)


async def fill(channel: jackfield.Channel) -> int:
    """Numbered messages until no more fits; how many went in."""
    for number in range(10_000_000):
        try:
            await channel.send(b"%07d" % number, timeout=0.2)
        except jackfield.TimedOut:
            return number
    raise AssertionError("the queue never filled")


async def everything(channel: jackfield.Channel) -> list[bytes]:
    return [message async for message in channel]


def at_its_end(channel: jackfield.Channel) -> bool:
    """Whether the end has arrived in this machine's kernel: TCP_INFO's state is CLOSE_WAIT."""
    with socket.socket(fileno=channel.fileno()) as ours:
        try:
            return ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 8
        finally:
            ours.detach()
