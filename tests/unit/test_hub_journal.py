"""The log, what was said lately, and what keeps both small."""

from __future__ import annotations

import json

import pytest

from jackfield.hub.journal import Event, Journal, Memory, Throttle, line_of

NOON = 1795176000.5


def test_an_event_is_one_safe_line() -> None:
    event = Event(
        NOON, "left", (("id", 3), ("name", "tcp-3"), ("reason", "it \x1b[31m said\nbye"), ("reset", True))
    )
    line = event.line()
    assert line == r'2026-11-20T12:00:00.500Z left id=3 name=tcp-3 reason="it \\e[31m said\\nbye" reset=yes'
    assert line_of(json.loads(json.dumps(event.to_json()))) == line


def test_an_empty_value_is_visible() -> None:
    assert Event(NOON, "x", (("a", ""), ("b", "c=d"))).line().endswith('x a="" b="c=d"')


def test_the_journal_keeps_the_last_and_tells_followers() -> None:
    journal = Journal(keep=3)
    seen: list[Event] = []
    end = journal.follow(seen.append)
    events = [Event(NOON + n, "e", (("n", n),)) for n in range(5)]
    for event in events[:4]:
        journal.write(event)
    end()
    end()
    journal.write(events[4])
    assert seen == events[:4]
    assert journal.last(10) == events[2:]
    assert journal.last(1) == events[4:]
    assert journal.last(0) == []


@pytest.mark.parametrize("kind", ["joined", "conflict", "autoreply_limited", "script_says", "dial_failed"])
def test_a_flood_of_clients_leaves_what_operators_did(kind: str) -> None:
    journal = Journal(keep=3)
    journal.write(Event(NOON, "renamed"))
    for _ in range(10):
        journal.write(Event(NOON, kind))
    journal.write(Event(NOON, "kicked"))
    assert [event.kind for event in journal.last(100)] == ["renamed", kind, kind, kind, "kicked"]
    assert [event.kind for event in journal.last(2)] == [kind, "kicked"]


def test_a_follower_may_end_itself_while_told() -> None:
    journal = Journal()
    seen: list[str] = []

    def once(event: Event) -> None:
        seen.append(event.kind)
        end()

    end = journal.follow(once)
    journal.follow(lambda event: seen.append("other"))
    journal.write(Event(NOON, "a"))
    journal.write(Event(NOON, "b"))
    assert seen == ["a", "other", "other"]


def test_memory_is_bounded_by_count_bytes_and_size_of_one() -> None:
    memory = Memory(messages=4, total_bytes=100, of_one=30)
    memory.add(NOON, 1, b"x" * 1000)
    assert memory.of(1, 10) == [(NOON, b"x" * 30)]
    for n in range(10):
        memory.add(NOON, n % 2, bytes([n]))
    assert [data for _, data in memory.of(0, 10)] == [b"\x06", b"\x08"]
    assert [data for _, data in memory.of(1, 1)] == [b"\x09"]
    assert memory.of(7, 10) == []
    for _ in range(10):
        memory.add(NOON, 5, b"y" * 30)
    assert sum(len(data) for _, data in memory.of(5, 10)) <= 100


def test_a_flood_becomes_a_few_lines() -> None:
    throttle = Throttle(burst=2, period=1.0)
    assert [throttle.allow(0.1 * n)[0] for n in range(10)] == [True, True] + [False] * 8
    assert throttle.allow(1.05) == (True, 8)
    assert throttle.allow(1.06) == (True, 0)


def test_what_a_flood_left_out_is_told_when_its_period_is_over() -> None:
    throttle = Throttle(burst=2, period=1.0)
    for _ in range(5):
        throttle.allow(7.0)
    assert [throttle.take_left_out(now) for now in (7.5, 8.0, 9.0)] == [0, 3, 0]
