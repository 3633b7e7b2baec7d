"""What people type: escapes, hex, line endings, durations, sizes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.hub.text import (
    TextError,
    line_ending,
    parse_duration,
    parse_hex,
    parse_size,
    there_are,
    typed_bytes,
    unescape,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", b""),
        ("plain", b"plain"),
        (r"AT\r\n", b"AT\r\n"),
        (r"\0\a\b\e\f\v\t\\", b"\0\a\b\x1b\f\v\t\\"),
        (r"\x00\xff\x7F", b"\x00\xff\x7f"),
        (r"\u00e9\U0001F600", "é\U0001f600".encode()),
        ("é", "é".encode()),
        (r"\"\'", b"\"'"),
        ("\udcff", b"\xff"),
    ],
)
def test_unescape(text: str, expected: bytes) -> None:
    assert unescape(text) == expected


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("\\", "position 0"),
        (r"a\q", "position 1"),
        (r"\x4", "position 0"),
        (r"ab\xzz", "position 2"),
        (r"\ud800", "not a character"),
        (r"\U00110000", "not a character"),
        (r"\x+1", "hex"),
    ],
)
def test_unescape_refuses_and_says_where(text: str, where: str) -> None:
    with pytest.raises(TextError, match=where):
        unescape(text)


@given(st.text())
def test_unescape_raises_nothing_else(text: str) -> None:
    with contextlib.suppress(TextError):
        assert isinstance(unescape(text.encode("utf-8", "replace").decode()), bytes)


@pytest.mark.parametrize(
    "text",
    ["de ad be ef", "DEADBEEF", "0xdeadbeef", "0xde 0xad,0xBE,ef", "de:ad-be_ef", "  dead\nbeef\t"],
)
def test_hex_in_many_spellings(text: str) -> None:
    assert parse_hex(text) == bytes.fromhex("deadbeef")


@pytest.mark.parametrize(
    ("text", "message"),
    [("abc", "odd"), ("de a", "odd"), ("zz", "position 0"), ("de xg", "position 3"), ("dé", "position 1")],
)
def test_hex_refuses(text: str, message: str) -> None:
    with pytest.raises(TextError, match=message):
        parse_hex(text)


@given(st.binary())
def test_hex_reads_back_what_python_writes(data: bytes) -> None:
    assert parse_hex(data.hex()) == data
    assert parse_hex(data.hex(" ")) == data


def test_line_endings() -> None:
    assert [line_ending(name) for name in ("lf", "CRLF", "cr", "nul", "none")] == [
        b"\n",
        b"\r\n",
        b"\r",
        b"\0",
        b"",
    ]
    with pytest.raises(TextError, match="known are lf, crlf"):
        line_ending("dos")


DURATIONS = [
    ("250ms", 0.25), ("5s", 5), ("1.5s", 1.5), ("2m", 120), ("1h", 3600), ("7d", 604_800), ("2w", 1_209_600),
    ("1y", 31_536_000),
]  # fmt: skip


@pytest.mark.parametrize(("text", "seconds"), DURATIONS)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "5 s", "1e3s", "5S", "nan", "\u0661d", "9" * 16 + "y"])
def test_durations_need_a_number_and_a_unit(text: str) -> None:
    with pytest.raises(TextError, match="250ms, 5s"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "size"), [("512B", 512), ("64K", 65536), ("4M", 4 << 20), ("1G", 1 << 30)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "64", "64k", "1.5M", "-1K", "M"])
def test_sizes_need_a_whole_number_and_a_unit(text: str) -> None:
    with pytest.raises(TextError, match="64K"):
        parse_size(text)


def test_a_typed_line_keeps_the_bytes_that_were_no_text() -> None:
    assert typed_bytes("h\udcffi", ending=b"\r\n") == b"h\xffi\r\n"


@pytest.mark.parametrize(
    ("names", "words"), [([], "there is none"), (["a"], "there is a"), (["a", "b"], "there are a, b")]
)
def test_what_there_is_in_words(names: list[str], words: str) -> None:
    assert there_are(names) == words
