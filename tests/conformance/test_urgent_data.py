"""TCP's urgent data: one byte past everything else, never among the ordinary ones, of which none is lost."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from support import Runner, eventually, raw_peer, turns

import jackfield

pytestmark = pytest.mark.timeout(60)


def test_a_plain_peer_sends_it(run: Runner) -> None:
    async def main() -> None:
        async with raw_peer("line") as (channel, plain):
            waiting = asyncio.create_task(channel.receive_urgent(5.0))
            await turns()
            plain.sendall(b"before\nhal")
            plain.send(b"!", socket.MSG_OOB)
            plain.sendall(b"f\nafter\n")
            assert await waiting == b"!", "past what has not been read yet"
            assert [await channel.receive(5.0) for _ in range(3)] == [b"before", b"half", b"after"]
            plain.send(b"?", socket.MSG_OOB)
            assert await channel.receive_urgent(5.0) == b"?", "there before it was asked for, too"
            with pytest.raises(jackfield.TimedOut, match="no urgent data came within"):
                await channel.receive_urgent(0.01)

    run(main)


@pytest.mark.parametrize("framing", ["none", "line", "u32"])
def test_nobody_asks_for_it(run: Runner, framing: str) -> None:
    """The kernel cuts reads at the mark: what lies behind it must not wait for another report."""

    async def main() -> None:
        async with raw_peer(framing) as (channel, plain):
            expected = b""
            received = b""
            for number in range(200):
                part = b"%d" % number
                frame = {"line": part + b"\n", "u32": len(part).to_bytes(4, "big") + part}.get(framing, part)
                cut = number % len(frame)
                plain.sendall(frame[:cut])
                plain.send(b"!", socket.MSG_OOB)
                plain.sendall(frame[cut:])
                expected += part
                while len(received) < len(expected):
                    received += await channel.receive(5.0)
            assert received == expected

    run(main)


def test_a_large_message_with_marks_in_it(run_here: Runner) -> None:
    async def main() -> None:
        async with raw_peer("u32") as (channel, plain):
            body = bytes(range(256)) * 4096
            plain.setblocking(True)

            def send() -> None:
                plain.sendall(len(body).to_bytes(4, "big"))
                for start in range(0, len(body), 100_000):
                    plain.sendall(body[start : start + 100_000])
                    plain.send(b"!", socket.MSG_OOB)

            sending = asyncio.create_task(asyncio.to_thread(send))
            seen = asyncio.create_task(channel.receive_urgent(5.0))
            # Of urgent bytes that follow each other too fast all but the last become ordinary data, as tcp(7)
            # has it; so the stream is at least the message, which is never short of a byte.
            message = await channel.receive(10.0)
            assert len(message) == len(body)
            await sending
            assert await seen == b"!"

    run_here(main)


def test_a_plain_peer_receives_it(run: Runner) -> None:
    async def main() -> None:
        async with raw_peer("line") as (channel, plain):
            plain.settimeout(5)
            await channel.send(b"before")
            await channel.send_urgent(b"!")
            await channel.send(b"after")
            await channel.flush()
            got = b""
            urgent = None
            for _ in range(1000):
                with contextlib.suppress(OSError):
                    urgent = urgent or plain.recv(1, socket.MSG_OOB)
                if urgent:
                    break
                await asyncio.sleep(0.001)
            assert urgent == b"!"
            while got.count(b"\n") < 2:
                got += plain.recv(100)
            assert got == b"before\nafter\n"

    run(main)


def test_it_keeps_its_place_behind_a_long_queue(run_here: Runner) -> None:
    async def main() -> None:
        async with raw_peer("u32", high_water=2**24, send_buffer="16K") as (channel, plain):
            body = bytes(2**22)
            await channel.send(body)
            await channel.send_urgent(b"!")
            await channel.send(b"after")

            def read() -> bytes:
                # Inline, the byte stands where it was sent.
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
                got = bytearray()
                while len(got) < 4 + len(body) + 1 + 4 + 5:
                    got += plain.recv(2**20)
                return bytes(got)

            got = await asyncio.to_thread(read)
            assert got[4 + len(body) :] == b"!" + b"\0\0\0\x05after"

    run_here(main)


def test_between_two_channels_one_by_one(run: Runner) -> None:
    async def main() -> None:
        async with (
            jackfield.listen("tcp://127.0.0.1:0", framing="line") as listener,
            jackfield.connect(listener.address, framing="line") as client,
        ):
            server = await listener.accept(5.0)
            for number in range(100):
                await client.send(b"message %d" % number)
                await client.send_urgent(bytes([number]))
                assert await server.receive_urgent(5.0) == bytes([number])
                assert await server.receive(5.0) == b"message %d" % number
            await server.close()

    run(main)


def test_the_end_a_reset_and_a_close_wake_who_waits(run: Runner) -> None:
    async def main() -> None:
        async with raw_peer("line") as (channel, plain):
            waiting = asyncio.create_task(channel.receive_urgent(5.0))
            await turns()
            plain.sendall(b"last words\n")
            plain.shutdown(socket.SHUT_WR)
            with pytest.raises(jackfield.EndOfStream):
                await waiting
            with pytest.raises(jackfield.EndOfStream):
                await channel.receive_urgent(5.0)
            assert await channel.receive(5.0) == b"last words"
        async with raw_peer("line") as (channel, plain):
            waiting = asyncio.create_task(channel.receive_urgent(5.0))
            await turns()
            await channel.close()
            with pytest.raises(jackfield.ChannelClosed):
                await waiting

    run(main)


def test_a_cancelled_receive_takes_nothing(run: Runner) -> None:
    async def main() -> None:
        async with raw_peer("line") as (channel, plain):
            for number in range(100):
                waiting = asyncio.create_task(channel.receive_urgent())
                await turns(number % 3)
                plain.send(bytes([number]), socket.MSG_OOB)
                await turns(number % 4)
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await waiting
                if waiting.cancelled():
                    assert await channel.receive_urgent(5.0) == bytes([number])
                else:
                    assert waiting.result() == bytes([number])
                plain.sendall(b"x\n")
                assert await channel.receive(5.0) == b"x"

    run(main)


def test_what_cannot_be(run_here: Runner) -> None:
    async def main() -> None:
        one, two = jackfield.pair()
        async with one, two:
            with pytest.raises(jackfield.NotSupported, match=r"send_urgent\(\): it is for tcp:"):
                one.send_urgent(b"!")
            with pytest.raises(jackfield.NotSupported, match=r"receive_urgent\(\)"):
                await two.receive_urgent()
        async with raw_peer("line") as (channel, _):
            with pytest.raises(ValueError, match="one byte, not 2"):
                channel.send_urgent(b"!!")
            channel.send_eof()
            with pytest.raises(jackfield.ChannelClosed):
                await channel.send_urgent(b"!")
            await eventually(lambda: channel.statistics().queued_messages == 0)

    run_here(main)
