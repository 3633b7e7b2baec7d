"""How clients are recognised by what they say first: what counts, what is given up, and what it costs."""

from __future__ import annotations

import pytest

from jackfield.hub.identify import (
    LONGEST,
    MOST_CHUNKS,
    PATIENCE,
    QUIET,
    Beginnings,
    identity_of,
    parse_rule,
)
from jackfield.hub.text import TextError


@pytest.mark.parametrize(
    ("rule", "data", "name"),
    [
        (r"id=(\w+)", b"hello id=dev1;", b"dev1"),
        (r"(v\d) (?P<name>\w+)", b"v2 dev1 x", b"dev1"),
        (r"dev\d+", b"I am dev12.", b"dev12"),
        (r"id=(\w*)", b"id=;", None),  # an empty name is none
        (r"a|(b)", b"a", None),  # the group took no part
        (r"(x)", b"y" * LONGEST + b"x", None),  # beyond what is looked at
    ],
)
def test_what_a_rule_finds(rule: str, data: bytes, name: bytes | None) -> None:
    found = parse_rule(rule).find(data)
    assert (found[0] if found else None) == name


def test_rules_by_name() -> None:
    assert parse_rule("host").by_host
    assert parse_rule("none").pattern is None
    assert parse_rule("host").find(b"host") is None
    with pytest.raises(TextError, match="cannot be used"):
        parse_rule(r"(?=ahead)")


ID = parse_rule(r"id=(\w+)")


def test_of_messages_only_the_first_counts() -> None:
    beginnings = Beginnings()
    assert beginnings.heard(0, 1, ID, b"id=dev1", whole=True) == b"dev1"
    assert beginnings.heard(0, 2, ID, b"hello", whole=True) is None
    assert beginnings.heard(0, 2, ID, b"id=dev2", whole=True) is None
    beginnings.forget(2)  # another connection, later, with the same number
    assert beginnings.heard(0, 2, ID, b"id=dev2", whole=True) == b"dev2"


@pytest.mark.parametrize("size", [1, 2, 5, 100])
def test_a_stream_may_come_in_any_pieces(size: int) -> None:
    """At every cut the whole name is found: never a half one."""
    said = b"v1;id=dev12\n"
    beginnings = Beginnings()
    found = None
    for start in range(0, len(said), size):
        found = found or beginnings.heard(0, 1, ID, said[start : start + size], whole=False)
    assert found == b"dev12"


def test_a_name_at_the_end_of_what_came_counts_once_nothing_more_comes() -> None:
    beginnings = Beginnings()
    assert beginnings.heard(10, 1, ID, b"id=de", whole=False) is None
    assert beginnings.next_due == 10 + QUIET
    assert beginnings.heard(10.2, 1, ID, b"v1", whole=False) is None
    assert beginnings.heard(10.3, 2, ID, b"id=b", whole=False) is None
    assert beginnings.due(10 + QUIET) == []
    assert beginnings.due(10.2 + QUIET) == [(1, b"dev1")]
    assert beginnings.due(11) == [(2, b"b")]
    assert (beginnings.due(99), beginnings.next_due) == ([], None)


def test_who_left_is_not_recognised() -> None:
    beginnings = Beginnings()
    beginnings.heard(0, 1, ID, b"id=de", whole=False)
    beginnings.forget(1)
    assert beginnings.due(99) == []


@pytest.mark.parametrize("how", ["long", "many", "late"])
def test_a_beginning_without_a_name_is_given_up(how: str) -> None:
    beginnings = Beginnings()
    for number in range({"long": 2, "many": MOST_CHUNKS, "late": 1}[how]):
        chunk = b"x" * (LONGEST // 2 if how == "long" else 1)
        assert beginnings.heard(number * 0.01, 1, ID, chunk, whole=False) is None
    later = PATIENCE + 1 if how == "late" else 1.0
    if how == "late":
        assert beginnings.heard(later, 1, ID, b"x", whole=False) is None
    assert beginnings.heard(later, 1, ID, b" id=dev1\n", whole=False) is None


def test_what_is_gathered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jackfield.hub.identify.MOST_GATHERED", 10_000)
    beginnings = Beginnings()
    for client_id in range(1000):
        beginnings.heard(0, client_id, ID, b"x" * 100, whole=False)
    assert beginnings._bytes <= 10_000
    assert beginnings.heard(0, 2000, ID, b"id=dev1\n", whole=False) == b"dev1"


@pytest.mark.timeout(20)
def test_no_pattern_and_no_client_can_hold_it_up() -> None:
    beginnings = Beginnings()
    said = b"a" * 50_000 + b"c"
    for number, rule in enumerate(("(a+)+c", "(a|aa)+c", "(.*)*b(.*)*c$")):
        for client_id in range(100):
            assert beginnings.heard(0, 100 * number + client_id, parse_rule(rule), said, whole=True) is None


def test_identities() -> None:
    assert identity_of(" größe-1 ".encode()) == "said:größe-1"
    for said, why in {b"\xff\xfe": "no text", b"  ": "blank", b"x" * 201: "too long"}.items():
        with pytest.raises(ValueError, match=why):
            identity_of(said)
