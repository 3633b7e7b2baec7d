"""Bytes that are not in the framing: which byte it is, what should stand there, and what came instead."""

from __future__ import annotations

import asyncio
import socket

import pytest
from support import FRAMINGS, Runner, raw_peer

import jackfield

HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200))
HTTP = b"GET /index.html HTTP/1.1\r\nHost: device.example\r\nAccept: */*\r\n\r\n"
SSH = b"SSH-2.0-OpenSSH_9.6\r\n"
LENGTH = "length:offset=2,size=2,order=be,adjust=4"


async def failure(
    framing: str, *parts: bytes, end: bool = False, max_message: int = 1000
) -> tuple[list[bytes], jackfield.FramingError]:
    """The good messages, then the error."""
    async with raw_peer(framing, max_message=max_message) as (channel, plain):
        sending = asyncio.get_running_loop().run_in_executor(None, send_all, plain, parts, end)
        good: list[bytes] = []
        try:
            while True:
                good.append(await channel.receive(10.0))
        except jackfield.FramingError as error:
            await sending
            return good, error


def send_all(plain: socket.socket, parts: tuple[bytes, ...], end: bool) -> None:
    for part in parts:
        plain.sendall(part)
    if end:
        plain.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize(
    ("framing", "good", "bad", "position", "says"),
    [
        ("netstring", b"2:ok,", b"5:hello;", 5 + 7, "byte 7 of the frame is 0x3b (';') and should be ','"),
        ("netstring", b"2:ok,", b"x:", 5, "byte 0 of the frame is 0x78 ('x') and should be a digit"),
        ("netstring", b"", b"007:", 1, "should be ':' after the length 0"),
        ("varint", b"\x02ok", b"\x80\x00", 4, "should be left out, for a length has one form only"),
        (LENGTH.replace("=4", "=-4"), b"", b"ID\x00\x00", 2, "a length that covers the header"),
    ],
)
def test_which_byte_and_what_was_expected(
    run_here: Runner, framing: str, good: bytes, bad: bytes, position: int, says: str
) -> None:
    async def main() -> None:
        before, error = await failure(framing, good + bad)
        assert len(before) == bool(good)
        assert isinstance(error, jackfield.InvalidFrame)
        assert (error.position, error.beginning) == (position, bad)
        assert f"at byte {position} of the stream" in str(error)
        assert says in str(error)
        assert f"the frame begins with {bad.hex(' ')} '" in str(error)

    run_here(main)


def test_behind_a_large_message(run_here: Runner) -> None:
    """Its bytes were received into the message itself; the wrong one behind them is still told."""

    async def main() -> None:
        large = b"100000:" + b"x" * 100_000
        _, error = await failure("netstring", b"2:ok,", large + b";more", max_message=200_000)
        assert isinstance(error, jackfield.InvalidFrame)
        assert error.position == 5 + len(large)
        assert "0x3b (';') and should be ','" in str(error)

    run_here(main)


@pytest.mark.parametrize("framing", ["u32", "u32le", "u64", "u64le"])
@pytest.mark.parametrize(
    ("data", "speaks", "says"),
    [
        (HELLO, "TLS", "which is a TLS ClientHello"),
        (HTTP, "HTTP", "which is an HTTP request"),
        (SSH, "SSH", "which is an SSH banner"),
    ],
    ids=["TLS", "HTTP", "SSH"],
)
def test_other_protocols_taken_for_a_length(
    run_here: Runner, framing: str, data: bytes, speaks: str, says: str
) -> None:
    async def main() -> None:
        _, error = await failure(framing, data)
        assert isinstance(error, jackfield.MessageTooLarge)
        assert (error.speaks, error.position, error.beginning) == (speaks, 0, data[:32])
        assert says in str(error)
        assert data[:8].hex(" ") in str(error)

    run_here(main)


@pytest.mark.parametrize("framing", [name for name in FRAMINGS if not name.startswith("line")])
@pytest.mark.parametrize("data", [HELLO, HTTP[:-3], SSH[:-2]], ids=["TLS", "HTTP", "SSH"])
def test_every_framing_says_what_it_got(run_here: Runner, framing: str, data: bytes) -> None:
    """Garbage may look like messages for a while; the error that comes at last has evidence."""

    async def main() -> None:
        good, error = await failure(framing, data[:100], end=True)
        assert error.position is not None
        assert error.position < 100
        if not good:
            assert error.beginning == data[:32]
            assert error.speaks in ("TLS", "HTTP", "SSH")
            assert "the frame begins with" in str(error)

    run_here(main)


@pytest.mark.parametrize("framing", ["line", "line:crlf"])
def test_a_line_without_an_end(run_here: Runner, framing: str) -> None:
    async def main() -> None:
        _, error = await failure(framing, b"ok\n" + HELLO.replace(b"\n", b"."), max_message=100)
        assert isinstance(error, jackfield.MessageTooLarge)
        assert (error.position, error.beginning) == (3, HELLO.replace(b"\n", b".")[:32])
        assert error.speaks is None, "only the first bytes of a stream say what is spoken"

    run_here(main)


def test_a_frame_cut_short(run_here: Runner) -> None:
    async def main() -> None:
        _, error = await failure("u32", b"\0\0\0\x02ok\0\0\0\x09abc", end=True)
        assert isinstance(error, jackfield.TruncatedFrame)
        assert (error.size, error.limit, error.position) == (7, 13, 6)
        assert "inside a frame after 7 bytes of 13; the frame begins with 00 00 00 09 61 62 63" in str(error)

    run_here(main)


def test_a_group_tells_it_too(run_here: Runner) -> None:
    async def main() -> None:
        async with (
            jackfield.Group() as group,
            jackfield.listen("tcp://127.0.0.1:0", framing="u32") as listener,
        ):
            listener.into(group)
            with socket.create_connection((listener.address.host, listener.address.port)) as plain:
                plain.sendall(HTTP)
                async for event in group:
                    if isinstance(event, jackfield.Left):
                        assert isinstance(event.error, jackfield.MessageTooLarge)
                        assert event.error.speaks == "HTTP"
                        assert "which is an HTTP request" in event.reason
                        return

    run_here(main)
