"""Bytes lost, doubled, flipped or put in on the way, in every framing: what was whole before is received.

Behind the damage there may be messages that nobody sent, each within its limit, or a `FramingError` that
stays; never anything else, and nobody else notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import FRAMINGS, Runner, raw_peer
from wire import fitting, on_the_wire

import jackfield

pytestmark = pytest.mark.timeout(120)

MOST = 5_000
SIZES = (0, 1, 2, 7, 40, 300, 4_000)


@cache
def framed(framing: str, size: int) -> tuple[bytes, bytes]:
    """A message and its frame."""
    message = fitting(framing, size)
    return message, Runner("selector")(lambda: on_the_wire(framing, [message]))


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> tuple[int, bytes]:
    """Where the damage begins, and what is left of the bytes."""
    at = draw(st.integers(0, max(0, len(whole) - 1)))
    end = draw(st.integers(at, min(len(whole), at + 20)))
    kind = draw(st.sampled_from(["cut off", "flipped", "lost", "doubled", "put in", "overwritten"]))
    match kind:
        case "cut off":
            return at, whole[:at]
        case "flipped":
            bit = 1 << draw(st.integers(0, 7))
            return at, whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :] if whole else b""
        case "lost":
            return at, whole[:at] + whole[end:]
        case "doubled":
            return at, whole[:end] + whole[at:]
        case "put in":
            return at, whole[:at] + draw(st.binary(max_size=20)) + whole[at:]
        case _:
            return at, whole[:at] + draw(st.binary(min_size=end - at, max_size=end - at)) + whole[end:]


@pytest.mark.parametrize("framing", FRAMINGS)
def test_what_was_whole_before_the_damage_is_received(framing: str) -> None:
    @settings(max_examples=40, database=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        sizes = data.draw(st.lists(st.sampled_from(SIZES), min_size=1, max_size=5))
        pairs = [framed(framing, size) for size in sizes]
        begin, wire = data.draw(damaged(b"".join(frame for _, frame in pairs)))
        unharmed, ends = [], 0
        for message, frame in pairs:
            ends += len(frame)
            if ends <= begin:
                unharmed.append(message)
        cut = data.draw(st.integers(0, len(wire)))
        got, errors = Runner("selector")(lambda: received(framing, wire[:cut], wire[cut:]))
        assert got[: len(unharmed)] == unharmed
        assert all(len(message) <= MOST for message in got)
        assert sum(map(len, got)) <= len(wire)
        assert len(errors) in (0, 3)
        assert all(type(error) is type(errors[0]) for error in errors), errors

    check()


async def received(framing: str, first: bytes, second: bytes) -> tuple[list[bytes], list[Exception]]:
    """All messages that these bytes and the end are, and what three calls say then if the end is none."""
    got: list[bytes] = []
    errors: list[Exception] = []
    async with raw_peer(framing, max_message=MOST) as (channel, plain):
        one, two = jackfield.pair(framing="line")
        async with one, two:
            plain.sendall(first)
            await asyncio.sleep(0)
            plain.sendall(second)
            plain.shutdown(socket.SHUT_WR)
            with contextlib.suppress(jackfield.EndOfStream):
                while len(errors) < 3:
                    try:
                        got.append(await channel.receive(10.0))
                    except jackfield.FramingError as error:
                        errors.append(error)
            await one.send(b"unharmed")
            assert await two.receive(10.0) == b"unharmed"
    return got, errors
