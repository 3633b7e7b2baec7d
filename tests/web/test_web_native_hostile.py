"""Whoever means ill over the WebSocket of native clients harms nobody but itself, and memory is bounded."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from consoles import Console, console
from support import Runner, eventually, resident_bytes
from test_web_native import HELLO, control, place, tcp

from jackfield.hub import connect as join
from jackfield.portable import MAGIC, SUBPROTOCOL, WebSocket
from jackfield.web import native, server

TEXT, BINARY, CONTINUED, PING = 1, 2, 0, 9
GROWTH = 24 << 20
FLOOD = 64 << 20  # bytes


def frame(opcode: int, payload: bytes = b"", *, final: bool = True, masked: bool = True) -> bytes:
    """A frame, with a mask of zeros."""
    size = len(payload)
    long = bytes([size]) if size < 126 else struct.pack(">BH" if size < 1 << 16 else ">BQ",
                                                        126 if size < 1 << 16 else 127, size)  # fmt: skip
    head = bytes([opcode | (0x80 if final else 0), long[0] | (0x80 if masked else 0)]) + long[1:]
    return head + (bytes(4) if masked else b"") + payload


@asynccontextmanager
async def raw(
    made: Console, *, greet: bool = True
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A WebSocket that is open, as bytes; with a session unless it is not to greet."""
    plain = socket.create_connection(("127.0.0.1", int(made.url.rpartition(":")[2])))
    reader, writer = await asyncio.open_connection(sock=plain, limit=1 << 16)
    key = base64.b64encode(os.urandom(16)).decode()
    writer.write(
        f"GET {native.PATH} HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n".encode()
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    if greet:
        writer.write(frame(BINARY, MAGIC) + frame(BINARY, control(**HELLO)))
        await reader.readuntil(b'"welcome"')
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def code_of_end(reader: asyncio.StreamReader) -> int:
    """What the server closes with; 0 if it says nothing."""
    rest = await asyncio.wait_for(reader.read(-1), 10)
    at = rest.rfind(b"\x88")
    return int.from_bytes(rest[at + 2 : at + 4], "big") if at >= 0 else 0


async def is_up(made: Console) -> bool:
    async with join(place(made), name="other") as other, other.answering(lambda peer, data: data):
        return await other.request("other", b"there?", timeout=20) == b"there?"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(BINARY, b"unmasked", masked=False), 1002),
        (frame(CONTINUED, b"of nothing"), 1002),
        (frame(BINARY, b"a", final=False) + frame(BINARY, b"b"), 1002),
        (frame(3, b"reserved"), 1002),
        (b"\xf2\x80\0\0\0\0", 1002),
        (frame(PING, bytes(126)), 1002),
        (frame(BINARY, bytes(200_000))[:14], 1009),
        (b"\x82\xff" + b"\x7f" + b"\xff" * 7 + bytes(4), 1009),
        (frame(BINARY, bytes(100_000), final=False) + frame(CONTINUED, bytes(100_000))[:14], 1009),
        (frame(BINARY, final=False) + frame(CONTINUED, final=False) * 1000, 1008),
        (frame(PING) * 200, 1008),
        (frame(TEXT, b"\xff\xfe"), 1007),
    ],
)
def test_what_is_no_websocket_ends_its_session_with_the_code(
    run_here: Runner, sent: bytes, code: int
) -> None:
    async def main() -> None:
        async with console() as made:
            async with raw(made) as (reader, writer):
                writer.write(sent)
                assert await code_of_end(reader) == code
                assert made.hub.native is not None
                await eventually(lambda: not len(made.hub))
                assert not made.hub.native._by_key
            assert await is_up(made)

    run_here(main)


def test_pings_whose_answers_nobody_reads_cost_bounded_memory(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made:
            async with raw(made) as (_, writer):
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                before = resident_bytes()
                for _ in range(FLOOD // 10_000):
                    writer.write(frame(PING, bytes(125)) * 75)
                    try:
                        await asyncio.wait_for(writer.drain(), 1)
                    except (TimeoutError, ConnectionError):
                        break  # the hub reads no more of it
                else:
                    pytest.fail("it goes on answering")
                assert resident_bytes() - before < GROWTH
                assert await is_up(made)
            await eventually(lambda: not len(made.hub))

    run_here(main)


def test_a_slow_reader_costs_bounded_memory_and_nobody_else_waits(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made, join(tcp(made), name="wire") as wire:
            async with raw(made) as (_, writer):
                writer.transport.pause_reading()  # type: ignore[attr-defined]
                (other,) = (each.id for each in await wire.clients() if each.name != "wire")
                before, told = resident_bytes(), 0
                while told < FLOOD and made.hub.tell(int(other), b"x" * 30_000, by="a test"):
                    told += 30_000
                    await asyncio.sleep(0)
                assert told < FLOOD // 2
                assert resident_bytes() - before < GROWTH
                assert await is_up(made)
            await eventually(lambda: len(made.hub) == 1)

    run_here(main)


def test_who_is_killed_within_a_frame_is_gone(run_here: Runner) -> None:
    async def main() -> None:
        async with console() as made:
            for keep in (1, 3, 7, 50):
                async with raw(made) as (_, writer):
                    writer.write(frame(BINARY, bytes(1000))[:keep])
                    await writer.drain()
                await eventually(lambda: not len(made.hub))
            assert await is_up(made)

    run_here(main)


def test_a_websocket_that_takes_no_last_words_is_cut(
    run_here: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LAST_WORDS", 0.1)
    monkeypatch.setattr(native, "LAST_WORDS", 0.1)
    monkeypatch.setattr(native, "DELIVERY", 0.1)

    async def main() -> None:
        async with console() as made, raw(made) as (_, writer):
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            (number,) = made.hub.ids()
            for _ in range(FLOOD // 30_000):
                if not made.hub.tell(number, b"x" * 30_000, by="a test"):
                    break
                await asyncio.sleep(0)
            made.hub.kick(number, reset=True, by="a test")
            site, serving = made.web._site, made.web._server
            assert site is not None
            assert site.native is not None
            assert serving is not None
            door, state = site.native, serving._server.server_state
            await eventually(lambda: door.open == 0)
            await eventually(lambda: not any(isinstance(each, server._Bounded) for each in state.connections))

    run_here(main)


def test_a_server_that_is_none_is_refused_by_the_client() -> None:
    answers = {
        b"SSH-2.0-OpenSSH\r\n": "bad_magic",
        b"HTTP/1.1 200 OK\r\n\r\n": "forbidden",
        b"HTTP/1.1 503 Busy\r\n\r\n": "overloaded",
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: none\r\n\r\n": "unsupported_version",
        b"HTTP/1.1 101 X\r\n" + b"a: b\r\n" * 5000: "bad_magic",
    }
    for answer, code in answers.items():
        wire = WebSocket("here:80", native.PATH)
        assert wire.take().startswith(b"GET /native HTTP/1.1\r\nHost: here:80\r\n")
        with pytest.raises(ConnectionError) as refused:
            list(wire.feed(answer))
        assert getattr(refused.value, "code", "") == code


def test_tiny_frames_that_come_together_leave_others_their_turn(
    run_here: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    most, turns, PONG = 40_000, [0], 10

    def handled(self: server._Bounded, event: object) -> None:
        turns[-1] += 1

    def next_turn() -> None:
        turns.append(0)
        asyncio.get_running_loop().call_soon(next_turn)

    monkeypatch.setattr(server._Bounded, "handle_pong", handled)

    async def main() -> None:
        async with console() as made, raw(made) as (reader, writer):
            next_turn()
            writer.write(frame(PONG) * most + frame(BINARY, control(type="clients", n=7)))
            await reader.readuntil(b'"n":7')
            assert sum(turns) == most
            assert max(turns) <= server.AT_ONCE // len(frame(PONG)) + 1

    run_here(main)
