"""What counts as the answer of one client, however it comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.hub.encodings import UTF8, find_encoding
from jackfield.hub.expecting import QUIET, SAID, WINDOW, Answer, Expecting, hex_pattern, text_pattern
from jackfield.hub.patterns import Pattern
from jackfield.hub.text import TextError


def stream(pattern: str, *, binary: bool = False) -> Expecting:
    made = hex_pattern(pattern) if binary else text_pattern(pattern, UTF8)
    return Expecting(Pattern(made), in_messages=False, binary=binary)


def answer_of(expecting: Expecting, *chunks: bytes) -> Answer | None:
    """What comes of chunks a millisecond apart, and silence after them."""
    now = 0.0
    for chunk in chunks:
        now += 0.001
        expecting.feed(now, chunk)
        expecting.look(now)
    return expecting.look(now + 2 * QUIET)


@pytest.mark.parametrize(
    ("pattern", "said", "data", "groups"),
    [
        ("OK", b"OK\r\n", b"OK\r\n", ()),
        ("OK", b"+CSQ: 20,99\r\n\r\nOK\r\nlater", b"+CSQ: 20,99\r\n\r\nOK\r\n", ()),
        ("temp", b"temp=21.5 C\nnext\n", b"temp=21.5 C\n", ()),
        (r"temp=([\d.]+)", b"noise\ntemp=21.5\n", b"noise\ntemp=21.5\n", (b"21.5",)),
        (r"(a)|(b)", b"b\n", b"b\n", (None, b"b")),
        ("^OK$", b"NOT OK\nOKAY\nOK\n", b"NOT OK\nOKAY\nOK\n", ()),
        ("login: $", b"Welcome\nlogin: ", b"Welcome\nlogin: ", ()),
        (".", b"anything at all", b"anything at all", ()),
        ("温", "温度\n".encode(), "温度\n".encode(), ()),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_an_answer_is_the_same_however_it_is_cut(
    pattern: str, said: bytes, data: bytes, groups: tuple[bytes | None, ...], size: int
) -> None:
    chunks = [said[start : start + size] for start in range(0, len(said), size)]
    assert answer_of(stream(pattern), *chunks) == Answer(data, groups)


def test_a_match_that_was_only_the_beginning_of_something_else_does_not_count() -> None:
    expecting = stream("OK$")
    assert answer_of(expecting, b"OK", b"AY\n") is None
    assert expecting.found_at is None
    assert answer_of(expecting, b"OK\n") == Answer(b"OKAY\nOK\n")


def test_an_answer_without_a_line_end_is_complete_once_it_is_quiet() -> None:
    expecting = stream("ready")
    expecting.feed(1.0, b"ready")
    assert expecting.look(1.0) is None
    assert expecting.found_at == 1.0
    expecting.feed(1.0 + QUIET / 2, b" now")
    assert expecting.look(1.0 + QUIET) is None
    assert expecting.look(1.0 + 1.6 * QUIET) == Answer(b"ready now")


def test_whoever_never_is_quiet_is_cut_off() -> None:
    expecting = stream("ready")
    now = 0.0
    while expecting.look(now) is None:
        expecting.feed(now, b"ready...")
        now += QUIET / 2
        assert now < 1.0
    assert expecting.answer is not None
    assert expecting.answer.data.startswith(b"ready...ready...")


def test_a_message_answers_alone() -> None:
    expecting = Expecting(Pattern(text_pattern("b(.)", UTF8)), in_messages=True, binary=False)
    expecting.feed(0.0, b"a")
    expecting.feed(0.0, b"")
    assert expecting.look(0.0) is None
    expecting.feed(0.1, b"abc")
    assert expecting.look(0.1) == Answer(b"abc", (b"c",))
    across = Expecting(Pattern("ab"), in_messages=True, binary=False)
    across.feed(0.0, b"a")
    across.feed(0.0, b"b")
    assert across.look(0.0) is None


def test_bytes_are_an_answer_until_it_is_quiet() -> None:
    expecting = stream("01 03 .. 0a", binary=True)
    assert answer_of(expecting, b"\x01\x03", b"\n", b"\n\x00", b"\x12") == Answer(b"\x01\x03\n\n\x00\x12")


def test_when_time_is_over_what_has_matched_counts() -> None:
    expecting = stream("ready")
    expecting.feed(0.0, b"ready")
    expecting.look(0.0)
    assert expecting.give_up() == Answer(b"ready")
    nothing = stream("ready")
    nothing.feed(0.0, b"read")
    nothing.look(0.0)
    assert nothing.give_up() is None
    assert nothing.said == b"read"


def test_memory_is_bounded_and_a_match_lies_within_the_window() -> None:
    expecting = stream("needle=(.)")
    for _ in range(100):
        expecting.feed(0.0, b"x" * 50_000)
        assert expecting.look(0.0) is None
        assert len(expecting._text) <= 2 * WINDOW
    assert len(expecting.said) == SAID
    expecting.feed(0.0, b"hay" * 20_000 + b"needle=7\n" + b"hay" * 20_000)
    answer = expecting.look(0.0)
    assert answer is not None
    assert answer.groups == (b"7",)
    assert len(answer.data) <= 3 * WINDOW


def test_what_is_not_looked_at_is_bounded_and_passed_over() -> None:
    expecting = stream("needle")
    expecting.feed(0.0, b"needle\n")
    for _ in range(1000):
        expecting.feed(0.0, b"x" * WINDOW)
    assert expecting.behind
    assert expecting.overrun
    assert sum(map(len, expecting._pending)) <= 8 * WINDOW
    assert expecting.look(0.0) is None
    assert not expecting.behind


@given(st.text(alphabet="abc\n.*+?()|[]{}^$\\", max_size=12), st.lists(st.binary(max_size=20), max_size=8))
def test_no_pattern_and_no_chunks_raise_anything_else(pattern: str, chunks: list[bytes]) -> None:
    try:
        expecting = stream(pattern)
    except TextError:
        return
    answer_of(expecting, *chunks)
    expecting.give_up()


def test_a_pattern_in_another_encoding() -> None:
    gbk = find_encoding("gbk")
    expecting = Expecting(Pattern(text_pattern("温度=(\\d+)", gbk)), in_messages=False, binary=False)
    assert answer_of(expecting, "温度=21\n".encode("gbk")) == Answer("温度=21\n".encode("gbk"), (b"21",))
    with pytest.raises(TextError, match="give --hex"):
        text_pattern("x", find_encoding("utf-16-le"))


@pytest.mark.parametrize(
    ("text", "matches", "does_not"),
    [
        ("01 03", b"\x00\x01\x03", b"\x01\x00\x03"),
        ("0103", b"\x01\x03", b"\x03\x01"),
        ("0x01,0x03", b"\x01\x03", b"0x01"),
        ("01 .. 03", b"\x01\n\x03", b"\x01\x03"),
        ("01 ?? 03", b"\x01\xff\x03", b"\x01\x03"),
        ("01 * 03", b"\x01abc\x03", b"\x03\x01"),
        ("2a 2e", b"*.", b"ab"),
    ],
)
def test_patterns_of_bytes(text: str, matches: bytes, does_not: bytes) -> None:
    pattern = Pattern(hex_pattern(text))
    assert pattern.search(matches)
    assert not pattern.search(does_not)


@pytest.mark.parametrize("text", ["0", "0g", "xyz", "", " ", "01 .", "01 3"])
def test_what_is_no_pattern_of_bytes(text: str) -> None:
    with pytest.raises(TextError):
        hex_pattern(text)
