"""Input into messages, messages into output."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield import Address
from jackfield.cli.netcat import Manner, Shown, Splitter


def split(data: bytes, size: int, *, framed: bool, ending: bytes | None) -> list[bytes]:
    splitter = Splitter(framed=framed, ending=ending)
    messages = [m for start in range(0, len(data), size) for m in splitter.feed(data[start : start + size])]
    return messages + splitter.end()


@pytest.mark.parametrize("size", [1, 2, 100])
def test_lines_become_messages(size: int) -> None:
    assert split(b"one\n\ntwo", size, framed=True, ending=None) == [b"one", b"", b"two"]
    assert split(b"one\ntwo\n", size, framed=True, ending=b"\r\n") == [b"one", b"two"]
    assert split(b"one\ntwo", size, framed=False, ending=b"\r\n") == [b"one\r\n", b"two\r\n"]


@given(st.binary(), st.integers(1, 10))
def test_without_framing_every_byte_goes_through(data: bytes, size: int) -> None:
    assert b"".join(split(data, size, framed=False, ending=None)) == data
    assert b"".join(split(data, size, framed=False, ending=b"\n")).removesuffix(b"\n") == data.removesuffix(
        b"\n"
    )


def test_what_is_shown() -> None:
    assert Shown(framed=False, as_hex=False).received([b"a\0", b"b"]) == b"a\0b"
    assert Shown(framed=True, as_hex=False).received([b"a", b""]) == b"a\n\n"
    dumps = Shown(framed=False, as_hex=True)
    assert dumps.received([b"x" * 16]).startswith(b"< 00000000  78 78")
    assert dumps.received([b"y"]).startswith(b"< 00000010  79")
    assert dumps.dump(">", b"z").startswith(b"> 00000000  7a")


def test_options() -> None:
    manner = Manner.from_options(framing=None, as_hex=False, eol="crlf", timeout="2s", verbose=False)
    assert (manner.ending, manner.timeout) == (b"\r\n", 2.0)
    assert not manner.framed(Address.parse("tcp://h:1"))
    assert manner.framed(Address.parse("tcp://h:1?framing=u32"))
    assert Manner(framing="line").framed(Address.parse("tcp://h:1"))
    assert Manner(framing="line").options() == {"framing": "line"}
