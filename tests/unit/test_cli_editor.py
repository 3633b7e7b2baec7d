"""The typed line: keys in, lines out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.cli.editor import LEAVE, LineEditor, Lines
from jackfield.hub.display import width_of


def typed(data: bytes) -> tuple[list[str | None], str]:
    editor = LineEditor()
    lines = editor.feed(data)
    one_by_one = LineEditor()
    split = [line for byte in data for line in one_by_one.feed(bytes([byte]))]
    assert (split, one_by_one.text) == (lines, editor.text), "keys mean the same at any split"
    return lines, editor.text


@pytest.mark.parametrize(
    ("keys", "lines", "left"),
    [
        (b"hello\r", ["hello"], ""),
        (b"one\ntwo\nthr", ["one", "two"], "thr"),
        (b"\r", [""], ""),
        ("grüße\r".encode(), ["grüße"], ""),
        (b"ab\x7fc\r", ["ac"], ""),
        (b"\x7f\x08x\r", ["x"], ""),
        (b"ac\x1b[Db\r", ["abc"], ""),
        (b"bc\x01a\x05d\r", ["abcd"], ""),
        (b"bc\x1bOHa\x1b[Fd\r", ["abcd"], ""),
        (b"abc\x1b[H\x1b[3~\r", ["bc"], ""),
        (b"abc\x1b[D\x15\r", ["c"], ""),
        (b"abc\x1b[D\x0b\r", ["ab"], ""),
        (b"one two three\x17X\r", ["one two X"], ""),
        (b"one\x17\x17x\r", ["x"], ""),
        (b"\x04", [LEAVE], ""),
        (b"ab\x04", [], "ab"),
        (b"ab\x01\x04", [], "b"),
        (b"a\x1b[31;1mb\x1b[99~c\r", ["abc"], ""),
        (b"a\x00\x1ab\r", ["ab"], ""),
        (b"a\tb\r", ["a\tb"], ""),
        (b"\xff\r", ["\ufffd"], ""),
    ],
)
def test_keys(keys: bytes, lines: list[str | None], left: str) -> None:
    assert typed(keys) == (lines, left)


def test_history() -> None:
    up, down = b"\x1b[A", b"\x1b[B"
    editor = LineEditor()
    editor.feed(b"one\rtwo\rtwo\r\rdraft")
    seen = []
    for key in (up, up, up, down, down, down):
        editor.feed(key)
        seen.append(editor.text)
    assert seen == ["two", "one", "one", "two", "draft", "draft"]
    assert editor.feed(up + b"!\r") == ["two!"]


def test_history_is_bounded() -> None:
    editor = LineEditor(history=3)
    editor.feed(b"".join(b"%d\r" % n for n in range(10)))
    editor.feed(b"\x1b[A" * 10)
    assert editor.text == "7"


@given(st.binary(max_size=200), st.integers(2, 40))
def test_what_is_visible_fits_and_is_safe(keys: bytes, width: int) -> None:
    editor = LineEditor()
    editor.feed(keys)
    shown, column = editor.visible(width)
    assert width_of(shown) <= width
    assert 0 <= column <= width_of(shown)
    assert "\x1b" not in shown


def test_a_long_line_scrolls() -> None:
    editor = LineEditor()
    editor.feed(b"abcdefghij")
    assert editor.visible(6) == ("fghij", 5)
    editor.feed(b"\x01")
    assert editor.visible(6) == ("abcde", 0)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_lines_come_whole(size: int) -> None:
    data = b"one\r\ntwo\n\nrest"
    lines = Lines()
    got = [line for start in range(0, len(data), size) for line in lines.feed(data[start : start + size])]
    assert got == [b"one", b"two", b""]
    assert lines
    assert lines.rest() == [b"rest"]
    assert not lines
    assert lines.rest() == []


def test_a_line_without_end_is_bounded() -> None:
    lines = Lines(limit=10)
    assert lines.feed(b"x" * 8) == []
    assert lines.feed(b"x" * 8) == [b"x" * 16]
