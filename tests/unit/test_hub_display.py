"""What people see: nothing that a client sends reaches a terminal raw."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.hub.display import (
    Column,
    fit,
    hexdump,
    human_age,
    human_size,
    preview,
    safe_text,
    show_bytes,
    table,
    width_of,
)

HOSTILE = [
    (b"\x1b]0;owned\x07", r"\e]0;owned\x07"),
    (b"\x1b[2J", r"\e[2J"),
    (b"\x9b31m", r"\x9b31m"),  # a lone C1 byte is not text
    ("\u009b31m".encode(), r"\u009b31m"),  # the same as a character
    ("\u202etxt.exe".encode(), r"\u202etxt.exe"),
    ("a\u200bb\u2066".encode(), r"a\u200bb\u2066"),
    (b"\r\n\t\0\x7f\x08", r"\r\n\t\0\x7f\x08"),
    (b"\xff\xfe", r"\xff\xfe"),
    ("\U000e0041".encode(), r"\U000e0041"),
    ("\ue000".encode(), r"\ue000"),
]


@pytest.mark.parametrize(("data", "shown"), HOSTILE)
def test_what_steers_a_terminal_is_escaped(data: bytes, shown: str) -> None:
    assert show_bytes(data) == shown


@pytest.mark.parametrize(
    "text", ["plain text", "grüße", "日本語", "привет", "a\\b", "\N{COMBINING ACUTE ACCENT}"]
)
def test_text_stays_text(text: str) -> None:
    assert show_bytes(text.encode()) == text


@given(st.binary())
def test_no_byte_sequence_gets_through(data: bytes) -> None:
    shown = show_bytes(data)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")]


@given(st.text())
def test_no_text_gets_through(text: str) -> None:
    assert not [c for c in safe_text(text, keep="\t") if unicodedata.category(c)[0] == "C" and c != "\t"]


def test_keep() -> None:
    assert show_bytes(b"a\tb\x1b\n", keep="\t\n") == "a\tb\\e\n"


def test_preview_is_short_and_says_how_much_there_is() -> None:
    assert preview(b"hello") == "hello"
    assert preview(b"x" * 1000, 10) == "xxxxxxxxxx... (1000 bytes)"
    assert len(preview(b"\x00" * 1000)) < 150


def test_hexdump() -> None:
    assert list(hexdump(bytes(range(20)), 16)) == [
        "00000010  00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f  |................|",
        "00000020  10 11 12 13                                       |....|",
    ]
    assert list(hexdump(b"")) == []
    assert next(hexdump(b"\x1b[A~")).endswith("|.[A~|")


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0"),
        (1023, "1023"),
        (1024, "1.0K"),
        (10 * 1024, "10K"),
        (1023 * 1024, "1.0M"),
        (999 * 1024, "999K"),
        (17 << 20, "17M"),
        (3 << 50, "3.0P"),
        (1 << 70, "1024E"),
    ],
)
def test_sizes(count: int, shown: str) -> None:
    assert human_size(count) == shown
    assert len(shown) <= 6


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-3, "0s"),
        (0.4, "0s"),
        (59.9, "59s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (3600, "1h00m"),
        (86399, "23h59m"),
        (86400 * 12, "12d"),
    ],
)
def test_ages(seconds: float, shown: str) -> None:
    assert human_age(seconds) == shown


def test_widths() -> None:
    assert width_of("abc") == 3
    assert width_of("日本") == 4
    assert width_of("e\N{COMBINING ACUTE ACCENT}") == 1


@given(st.text(alphabet="ab日é", max_size=20), st.integers(1, 20))
def test_fit_is_exact(text: str, width: int) -> None:
    assert width_of(fit(text, width)) == width


def test_a_table_fits_its_width() -> None:
    columns = [Column("ID", right=True), Column("NAME", least=4), Column("PEER", least=6)]
    rows = [["1", "a-very-long-name-indeed", "192.168.100.200:40122"], ["100", "b", "x"]]
    assert table(columns, rows, 100) == [
        " ID  NAME                     PEER",
        "  1  a-very-long-name-indeed  192.168.100.200:40122",
        "100  b                        x",
    ]
    for width in range(20, 60):
        assert max(map(width_of, table(columns, rows, width))) <= width
    assert all(width_of(line) <= 5 for line in table(columns, rows, 5))
