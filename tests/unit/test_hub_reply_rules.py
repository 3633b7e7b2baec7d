"""Automatic replies as rules: what matches, how often is answered, and how loops end."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.hub.patterns import Pattern
from jackfield.hub.reply_rules import ECHOES, FIRST_PAUSE, WINDOW, Bucket, LoopGuard, Rate, Rule, Stream
from jackfield.hub.text import TextError


def answers(rule: Rule, chunks: list[bytes]) -> int:
    """How often a rule answers a stream that comes in these chunks."""
    stream, pattern, after, count = Stream(), rule.compile(), 0, 0
    for chunk in chunks:
        stream.add(chunk)
        found, after = stream.matches(pattern, after)
        count += found
    return count


# -------------------------------------------------------------------- rates


@pytest.mark.parametrize(
    ("text", "rate"), [("10/s", Rate(10, 1)), (" 5/m", Rate(5, 60)), ("1/h", Rate(1, 3600))]
)
def test_a_rate_is_read_and_printed(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate
    assert str(rate) == text.strip()


@pytest.mark.parametrize("text", ["", "10", "0/s", "10/d", "-1/s", "1.5/s", "10000000/s", "1/s/s"])
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(TextError, match="such as 10/s"):
        Rate.parse(text)


def test_a_bucket_gives_its_rate_and_saves_nothing_up() -> None:
    bucket = Bucket(Rate(2, 1.0))
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take(0.5) for _ in range(2)] == [True, False]
    assert [bucket.take(3600.0) for _ in range(3)] == [True, True, False]
    assert not bucket.take(3599.0), "a clock that is set back gives nothing"


# -------------------------------------------------------------------- rules


def test_a_rule_comes_back_as_it_was_kept() -> None:
    rule = Rule("r", pattern="^x", reply=b"\x00\xff", to="dev*", ending="crlf", rate=Rate(3, 60))
    assert Rule.from_json("r", rule.to_json()) == rule


@pytest.mark.parametrize(
    "damage",
    [{"pattern": "(a"}, {"reply": "zz"}, {"ending": "no"}, {"rate": "x"}, {"rate": None}, {"reply": 7}],
)
def test_a_damaged_rule_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        Rule.from_json("r", {**Rule("r", pattern="x", reply=b"y").to_json(), **damage})


def test_exact_bytes_are_no_pattern() -> None:
    rule = Rule("r", pattern=b".*\xff(".hex(), reply=b"", exact=True)
    assert rule.compile().search(b"xx.*\xff(yy") is not None
    assert rule.compile().search(b"xxyy\xff(") is None


# -------------------------------------------------------------------- streams


@given(st.lists(st.sampled_from([b"ping", b"\n", b"pi", b"ng", b"xyz", b"p"]), max_size=60), st.data())
def test_a_match_does_not_depend_on_how_the_stream_was_cut(words: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(words)
    rule = Rule("r", pattern="ping", reply=b"pong")
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=10)))
    chunks = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert answers(rule, chunks) == whole.count(b"ping")


def test_bytes_one_by_one() -> None:
    text = b"xxpingyypingping"
    assert answers(Rule("r", pattern="ping", reply=b""), [text[i : i + 1] for i in range(len(text))]) == 3


def test_what_was_answered_is_not_answered_again() -> None:
    assert answers(Rule("r", pattern="aba", reply=b""), [b"ab", b"ab", b"a"]) == 1


def test_a_pattern_of_nothing_answers_each_chunk_once() -> None:
    for pattern in ("", ".*", "x*"):
        assert answers(Rule("r", pattern=pattern, reply=b""), [b"hello", b"abc", b"x"]) == 3, pattern


@pytest.mark.parametrize(
    ("chunks", "count"),
    [
        ([b"id=dev1\n", b"ping\n", b"ping\n"], 2),
        ([b"id=dev1\nping\nping"], 2),
        ([b"id=dev1\np", b"ing\n"], 1),
        ([b"x", b"ping\n"], 0),
        ([b"pingping\n", b"ping ping\n"], 0),
        ([b"." * (2 * WINDOW), b"ping\n"], 0),
        ([b"." * (2 * WINDOW) + b"\n", b"ping\n"], 1),
    ],
)
def test_a_stream_is_looked_at_in_lines(chunks: list[bytes], count: int) -> None:
    assert answers(Rule("r", pattern="^ping$", reply=b""), chunks) == count


def test_the_edge_of_the_window_begins_no_line() -> None:
    assert answers(Rule("r", pattern="^p", reply=b""), [b"x" + b"p" * (WINDOW + 1), b"p"]) == 0


def test_a_refused_pattern_is_told_as_it_was_typed() -> None:
    with pytest.raises(TextError, match=r"^the pattern '\(' cannot be used: missing \): \(; "):
        Rule("r", pattern="(", reply=b"").compile()


def test_memory_is_the_window() -> None:
    stream, pattern = Stream(), Pattern("begin.*end")
    for chunk in (b"begin", b"." * (2 * WINDOW), b"." * WINDOW, b"end"):
        stream.add(chunk)
        assert stream.matches(pattern, 0)[0] == 0
    assert stream.end == 8 + 3 * WINDOW
    stream.add(b"begin")
    stream.add(b"." * (WINDOW - 8) + b"end")
    assert stream.matches(pattern, 0)[0] == 1


# -------------------------------------------------------------------- loops


def test_two_that_answer_each_other_come_to_an_end() -> None:
    """The other end speaks only when spoken to: once it is not, there is silence."""
    guard, now, rounds = LoopGuard(), 0.0, 0
    while rounds < 1000:
        now += 0.001
        if guard.withhold(now, b"what?"):
            break
        guard.replied(now, b"pardon?")
        rounds += 1
    assert rounds == FIRST_PAUSE


def test_who_asks_by_itself_misses_less_and_less() -> None:
    guard, missed = LoopGuard(), []
    for number in range(1000):
        if guard.withhold(number * 0.1, b"time?"):
            missed.append(number)
        else:
            guard.replied(number * 0.1, b"noon")
    assert len(missed) <= 6
    gaps = [b - a for a, b in itertools.pairwise(missed)]
    assert gaps == sorted(gaps)


def test_an_echo_is_answered_no_more_until_it_says_something_else() -> None:
    guard, answered = LoopGuard(), 0
    for number in range(100):
        if not guard.withhold(number * 10.0, b"hello"):  # slow, so that only the echo tells
            guard.replied(number * 10.0, b"hello")
            answered += 1
    assert answered == ECHOES
    assert guard.withhold(2000.0, b"something else") == ""


def test_who_speaks_seldom_is_always_answered() -> None:
    guard = LoopGuard()
    for number in range(500):
        assert guard.withhold(number * 1.5, b"status") == ""
        guard.replied(number * 1.5, b"fine")
