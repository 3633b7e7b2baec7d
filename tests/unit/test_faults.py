"""``Faults`` and ``Wire``: what a faulty link does to bytes, without sockets and on a clock of the test."""

from __future__ import annotations

import random
from typing import Any

import pytest

from jackfield.testing import Faults
from jackfield.testing._faults import Wire

DATA = bytes(range(256)) * 8


def drain(wire: Wire, now: float) -> list[bytes]:
    pieces = []
    while (piece := wire.take(now)) is not None:
        pieces.append(piece)
    return pieces


def test_without_faults_bytes_go_through_at_once_and_whole() -> None:
    wire = Wire(Faults(), random.Random(1))
    wire.feed(5.0, DATA)
    wire.end(5.0)
    assert wire.next_due == 5.0
    assert drain(wire, 5.0) == [DATA, b""]
    assert wire.next_due is None


def test_split_makes_pieces_of_at_most_so_many_bytes() -> None:
    wire = Wire(Faults(split=7), random.Random(2))
    wire.feed(0.0, DATA)
    pieces = drain(wire, 0.0)
    assert b"".join(pieces) == DATA
    assert {len(piece) for piece in pieces[:-1]} == set(range(1, 8))


def test_coalesce_joins_pieces_and_never_the_end() -> None:
    wire = Wire(Faults(split=3, coalesce=1.0), random.Random(3))
    wire.feed(0.0, DATA)
    wire.end(0.0)
    assert drain(wire, 0.0) == [DATA, b""]


def test_delay_keeps_the_order() -> None:
    wire = Wire(Faults(split=5, delay=(0.1, 2.0)), random.Random(4))
    wire.feed(1.0, DATA)
    assert drain(wire, 1.05) == []
    seen, due = b"", 1.0
    while (next_due := wire.next_due) is not None:
        assert next_due >= due
        due = next_due
        seen += b"".join(drain(wire, due))
    assert seen == DATA
    assert due <= 3.0


def test_stall_holds_a_direction_up() -> None:
    wire = Wire(Faults(split=100, stall=(0.5, 3.0)), random.Random(5))
    wire.feed(0.0, DATA)
    before = b"".join(drain(wire, 0.0))
    assert len(before) < len(DATA)
    assert before + b"".join(drain(wire, 1e6)) == DATA


def test_truncate_ends_in_order_and_swallows_the_rest() -> None:
    wire = Wire(Faults(truncate=100), random.Random(6))
    wire.feed(0.0, DATA[:60])
    wire.feed(0.0, DATA[60:])
    wire.feed(0.0, b"more")
    wire.end(0.0)
    assert drain(wire, 0.0) == [DATA[:60], DATA[60:100], b""]
    assert wire.room > 0


def test_flip_changes_one_bit_of_a_piece() -> None:
    wire = Wire(Faults(flip=1.0), random.Random(7))
    wire.feed(0.0, DATA)
    [piece] = drain(wire, 0.0)
    changed = [a ^ b for a, b in zip(piece, DATA, strict=True) if a != b]
    assert len(changed) == 1
    assert changed[0].bit_count() == 1


def test_the_buffer_bounds_what_is_under_way() -> None:
    wire = Wire(Faults(buffer=100, delay=1.0), random.Random(8))
    assert wire.room == 100
    wire.feed(0.0, DATA[:70])
    assert wire.room == 30
    wire.feed(0.0, DATA[70:100])
    assert wire.room == 0
    drain(wire, 1.0)
    assert wire.room == 100


def test_nothing_arrives_behind_a_target_that_is_gone() -> None:
    wire = Wire(Faults(delay=1.0), random.Random(9))
    wire.feed(0.0, DATA)
    wire.close()
    wire.feed(0.0, DATA)
    assert wire.next_due is None
    assert wire.room > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"split": 0},
        {"delay": -1.0},
        {"delay": (2.0, 1.0)},
        {"delay": float("inf")},
        {"stall": (1.0, 1.0)},
        {"stall": (0.5, -1.0)},
        {"coalesce": 1.5},
        {"flip": -0.1},
        {"reset_after": -1},
        {"truncate": -1},
        {"buffer": 0},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Faults(**wrong)


def test_what_is_drawn_is_the_same_for_the_same_seed_and_loses_nothing_unasked() -> None:
    drawn = [Faults.drawn(random.Random(seed)) for seed in range(200)]
    assert drawn == [Faults.drawn(random.Random(seed)) for seed in range(200)]
    assert len(set(drawn)) > 50
    assert all(each.reset_after is None and each.truncate is None and each.flip is None for each in drawn)
    cut = [Faults.drawn(random.Random(seed), resets=True) for seed in range(200)]
    assert any(each.reset_after is not None for each in cut)
    assert any(each.truncate is not None for each in cut)
