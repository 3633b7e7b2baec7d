"""Frames too large, cut short, garbage or lies: a documented error on that channel, the others unharmed."""

# ruff: noqa: PT012, SIM117 - several sends until one fails; the order of ends is the point

from __future__ import annotations

import asyncio
import random
import socket

import pytest
from support import FRAMINGS, Runner, payload, raw_connect, raw_peer, reset, resident_bytes, turns

import jackfield
from jackfield import InvalidFrame, MessageTooLarge, TruncatedFrame

pytestmark = pytest.mark.timeout(60)

LENGTH = "length:offset=2,size=2,order=be,adjust=4"
# The bytes, then the end of the stream: what the receiver is told. At most 100 bytes are allowed.
BAD = [
    ("line", b"x" * 101, MessageTooLarge),
    ("line", b"x" * 5_000 + b"\n", MessageTooLarge),
    ("line:crlf", b"x" * 200, MessageTooLarge),
    ("delimiter:END", b"unfinished EN", TruncatedFrame),
    ("delimiter:END", b"x" * 200, MessageTooLarge),
    ("delimiter:0x0d0a", b"x\r", TruncatedFrame),
    ("fixed:16", b"only some", TruncatedFrame),
    ("u8", b"\xc8", MessageTooLarge),
    ("u8", b"\x05abc", TruncatedFrame),
    ("u16", b"\x01\x00", MessageTooLarge),
    ("u16", b"\x00", TruncatedFrame),
    ("u16le", b"\xff\xff", MessageTooLarge),
    ("u32", b"GET / HTTP/1.1\r\n\r\n", MessageTooLarge),
    ("u32", b"\0\0\0\x10abc", TruncatedFrame),
    ("u32", b"\0\0", TruncatedFrame),
    ("u32le", b"\xff\xff\xff\xff", MessageTooLarge),
    ("u64", b"\xff" * 8, MessageTooLarge),
    ("u64", b"\0\0\0\0\0\0\0\x09x", TruncatedFrame),
    ("u64le", b"\0\0\0\0\0\0\0\x80", MessageTooLarge),
    ("varint", b"\xff\xff\xff\xff\x7f", MessageTooLarge),
    ("varint", b"\xff" * 12, (InvalidFrame, MessageTooLarge)),
    ("varint", b"\x80", TruncatedFrame),
    ("netstring", b"5:hello;", InvalidFrame),
    ("netstring", b"hello", InvalidFrame),
    ("netstring", b"999:", MessageTooLarge),
    ("netstring", b"007:seven..,", InvalidFrame),
    ("netstring", b"9" * 50, (InvalidFrame, MessageTooLarge)),
    ("netstring", b"5:hel", TruncatedFrame),
    (LENGTH, b"ID\xff\xff", MessageTooLarge),
    (LENGTH, b"ID\x00\x09abc", TruncatedFrame),
    ("cobs:strict", b"\x09abc\0", InvalidFrame),
    ("cobs:strict", b"x" * 300, MessageTooLarge),
    ("cobs", b"\x09abc", TruncatedFrame),
    ("slip:strict", b"\xc0ab\xdbc\xc0", InvalidFrame),
    ("slip:strict", b"x" * 300, MessageTooLarge),
    ("slip", b"\xc0abc", TruncatedFrame),
]
EMPTY_OR_GOOD = {
    "line": b"good\n",
    "line:crlf": b"good\r\n",
    "delimiter:END": b"goodEND",
    "delimiter:0x0d0a": b"good\r\n",
    "fixed:16": b"good............",
    "u8": b"\x04good",
    "u16": b"\0\x04good",
    "u16le": b"\x04\0good",
    "u32": b"\0\0\0\x04good",
    "u32le": b"\x04\0\0\0good",
    "u64": b"\0\0\0\0\0\0\0\x04good",
    "u64le": b"\x04\0\0\0\0\0\0\0good",
    "varint": b"\x04good",
    "netstring": b"4:good,",
    LENGTH: b"ID\0\x04goodcsum",
    "cobs": b"\x05good\0",
    "cobs:strict": b"\x05good\0",
    "slip": b"\xc0good\xc0",
    "slip:strict": b"\xc0good\xc0",
}


@pytest.mark.parametrize("pieces", ["whole", "bytes"])
@pytest.mark.parametrize(("framing", "data", "error"), BAD, ids=lambda value: str(value)[:40])
def test_a_bad_frame_is_told_and_stays(
    run_here: Runner, framing: str, data: bytes, error: type[Exception], pieces: str
) -> None:
    async def main() -> None:
        async with raw_peer(framing, max_message=100) as (channel, plain):
            plain.sendall(EMPTY_OR_GOOD[framing])
            good = await channel.receive(5.0)
            assert b"good" in good
            waiting = asyncio.create_task(channel.receive(5.0))
            if pieces == "whole":
                plain.sendall(data)
            else:
                for byte in data[:300]:
                    plain.sendall(bytes([byte]))
                    await asyncio.sleep(0)
            plain.shutdown(socket.SHUT_WR)
            with pytest.raises(error) as caught:
                await waiting
            assert isinstance(caught.value, jackfield.FramingError)
            assert isinstance(caught.value, ValueError)
            assert caught.value.peer == channel.peer
            for _ in range(2):
                with pytest.raises(error):
                    await channel.receive(5.0)
            with pytest.raises(error):
                await channel.receive_many(timeout=5.0)

    run_here(main)


def test_the_peer_can_be_told_what_was_wrong(run: Runner) -> None:
    async def main() -> None:
        async with raw_peer("u32", max_message=100) as (channel, plain):
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n" + bytes(50_000))
            with pytest.raises(MessageTooLarge):
                await channel.receive(5.0)
            await channel.send(b"one")
            await channel.flush(5.0)
            await channel.send(b"two", until="sent")
            await channel.send(b"three")
            with pytest.raises(MessageTooLarge):
                await channel.receive(5.0)
            await channel.close(5.0)
            plain.settimeout(20)
            with plain.makefile("rb") as file:
                assert await asyncio.to_thread(file.read) == b"\0\0\0\x03one\0\0\0\x03two\0\0\0\x05three"

    run(main)


def test_a_connection_that_breaks_after_a_bad_frame_cannot_be_sent_to(run: Runner) -> None:
    async def main() -> None:
        async with raw_peer("u32", max_message=100) as (channel, plain):
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with pytest.raises(MessageTooLarge):
                await channel.receive(5.0)
            reset(plain)
            with pytest.raises(MessageTooLarge):
                for _ in range(10):
                    await channel.send(b"x")
                    await channel.flush(5.0)
            with pytest.raises(MessageTooLarge):
                await channel.send(b"x")

    run(main)


def test_the_last_line_needs_no_end(run: Runner) -> None:
    async def main() -> None:
        async with raw_peer("line") as (channel, plain):
            plain.sendall(b"one\ntwo")
            plain.shutdown(socket.SHUT_WR)
            assert [message async for message in channel] == [b"one", b"two"]

    run(main)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_garbage_is_an_error_or_messages_never_a_panic(run_here: Runner, framing: str) -> None:
    async def main() -> None:
        chance = random.Random(framing)
        async with jackfield.listen("tcp://127.0.0.1:0", framing=framing, max_message=1_000) as listener:
            for _ in range(40):
                plain = raw_connect(listener.address)
                channel = await listener.accept(5.0)
                alphabet = chance.choice(
                    [bytes(range(256)), b"\0\1\2\3", b"0123456789:,", b"END\r\n", b"\xff\x80\x7f"]
                )
                for _ in range(chance.randrange(1, 5)):
                    plain.sendall(bytes(chance.choice(alphabet) for _ in range(chance.randrange(1, 400))))
                    await asyncio.sleep(0)
                (reset if chance.random() < 0.3 else socket.socket.close)(plain)
                try:
                    while True:
                        message = await channel.receive(5.0)
                        assert len(message) <= 1_000
                except (jackfield.FramingError, jackfield.EndOfStream, jackfield.ChannelLost):
                    pass
                channel.abort()

    run_here(main)


def test_one_bad_peer_harms_no_other(run: Runner) -> None:
    async def main() -> None:
        failed: list[Exception] = []

        async def echo(channel: jackfield.Channel) -> None:
            try:
                async for message in channel:
                    await channel.send(message)
            except jackfield.FramingError as error:
                failed.append(error)

        async with jackfield.listen("tcp://127.0.0.1:0", framing="u32") as listener, listener.serving(echo):
            async with jackfield.connect(listener.address, framing="u32") as good:
                for number in range(20):
                    bad = raw_connect(listener.address)
                    bad.sendall(b"\0\0\0\1x" + b"\xff" * (number + 4))
                    assert await good.request(b"%d" % number, timeout=5.0) == b"%d" % number
                    bad.close()
                while len(failed) < 20:
                    await good.request(b"more", timeout=5.0)

    run(main)


@pytest.mark.parametrize(
    ("framing", "lie"),
    [
        ("u32", (16 * 2**20).to_bytes(4, "big")),
        ("u32", b"\xff\xff\xff\xff"),
        ("u64", (2**24).to_bytes(8, "big")),
        ("u64", (2**62).to_bytes(8, "big")),
        ("u64le", (2**24).to_bytes(8, "little")),
        ("varint", b"\x80\x80\x80\x08"),
        ("netstring", b"16777216:"),
    ],
)
def test_a_lying_length_costs_no_memory(run_here: Runner, framing: str, lie: bytes) -> None:
    async def main() -> None:
        async with jackfield.listen("tcp://127.0.0.1:0", framing=framing) as listener:
            before = resident_bytes()
            plains, channels, waiting = [], [], []
            for _ in range(100):
                plain = raw_connect(listener.address)
                plain.sendall(lie + b"ten bytes!")
                plains.append(plain)
                channels.append(await listener.accept(5.0))
                waiting.append(asyncio.create_task(channels[-1].receive()))
            await turns(20)
            await asyncio.sleep(0.05)
            grown = resident_bytes() - before
            # What was announced is 1,600 MiB or more; an object may run ahead of its bytes by 256 KiB of
            # address space.
            assert grown < 64 * 2**20, f"{grown / 2**20:.0f} MiB"
            for plain in plains:
                plain.close()
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert all(isinstance(result, jackfield.FramingError) for result in results), results[0]
            for channel in channels:
                channel.abort()

    run_here(main)


def test_a_peer_cut_in_the_middle_of_a_large_frame(run: Runner) -> None:
    async def main() -> None:
        for end in (reset, socket.socket.close):
            for have in (10, 40_000, 300_000, 999_999):
                async with raw_peer("u32") as (channel, plain):
                    waiting = asyncio.create_task(channel.receive(10.0))
                    data = (10**6).to_bytes(4, "big") + payload(have)
                    plain.setblocking(False)
                    await asyncio.get_running_loop().sock_sendall(plain, data)
                    plain.setblocking(True)
                    end(plain)
                    with pytest.raises((TruncatedFrame, jackfield.ChannelLost)) as caught:
                        await waiting
                    assert isinstance(
                        caught.value, TruncatedFrame if end is not reset else jackfield.ChannelLost
                    )

    run(main)


def test_what_a_framing_cannot_carry_is_not_sent(run: Runner) -> None:
    async def main() -> None:
        for framing, bad in [
            ("line", b"two\nlines"),
            ("line:crlf", b"two\r\nlines"),
            ("delimiter:END", b"the END"),
            ("delimiter:END", b"EN"),
            ("fixed:16", b"fifteen bytes.."),
            ("u8", b"x" * 256),
            (LENGTH, b"ID\0\x09short"),
        ]:
            one, two = jackfield.pair(framing=framing)
            async with one, two:
                if (framing, bad) == ("delimiter:END", b"EN"):
                    # Ambiguous with the delimiter behind it? Then it must be refused; else it must arrive.
                    try:
                        await one.send(bad)
                    except jackfield.FramingError:
                        continue
                    assert await two.receive(5.0) == bad
                    continue
                with pytest.raises(jackfield.FramingError):
                    await one.send(bad)
                with pytest.raises(jackfield.FramingError):
                    one.send_nowait(bad)
                assert one.statistics().queued_bytes == 0
                good = EMPTY_OR_GOOD[framing]
                message = {"fixed:16": good, LENGTH: good}.get(framing, b"good")
                await one.send(message)
                assert await two.receive(5.0) == message

    run(main)
