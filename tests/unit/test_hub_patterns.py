"""Patterns of operators: bytes, groups, and a cost that no client can drive up."""

from __future__ import annotations

import pytest

from jackfield.hub.patterns import LONGEST, Pattern
from jackfield.hub.text import TextError


@pytest.mark.parametrize(
    ("text", "data", "found"),
    [
        ("OK", b"xxOKyy", b"OK"),
        (r"^\d+$", b"123", b"123"),
        (r"\xff\x00.", b"a\xff\x00b", b"\xff\x00b"),
        ("größe", "die größe".encode(), "größe".encode()),
        ("(?i)ready", b"READY", b"READY"),
        ("", b"anything", b""),
        ("(?s)a.b", b"a\nb", b"a\nb"),
    ],
)
def test_a_pattern_is_over_bytes(text: str, data: bytes, found: bytes) -> None:
    match = Pattern(text).search(data)
    assert match is not None
    assert (match.group(), data[match.start : match.end]) == (found, found)


def test_groups_by_number_and_by_name() -> None:
    pattern = Pattern(r"id=(?P<name>\w+)(;(x))?")
    match = pattern.search(b"id=dev7\xfe")
    assert match is not None
    assert (match.group("name"), match.group(1), match.group(3)) == (b"dev7", b"dev7", None)
    assert (pattern.groups, pattern.names) == (3, ("name",))
    for none_such in ("nobody", 7):
        with pytest.raises(IndexError, match="no group"):
            match.group(none_such)


def test_the_search_goes_on_from_a_place() -> None:
    assert Pattern("a").search(b"aba", 1).start == 2  # type: ignore[union-attr]
    assert Pattern("a").search(b"aba", 3) is None


@pytest.mark.parametrize("text", ["(a", r"(a)\1", "a{1000}{1000}", "(?<=x)y", "*", "x" * (LONGEST + 1)])
def test_what_cannot_be_used_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(TextError, match="pattern"):
        Pattern(text)


@pytest.mark.timeout(20)
def test_nested_repetition_costs_no_more_than_its_text() -> None:
    """A backtracking engine would take longer than the universe has existed for each of these."""
    for text in ("(a+)+$", "(a|aa)+$", "(.*)*b(.*)*c$"):
        assert Pattern(text).search(b"a" * 50_000 + b"!") is None
