"""Who is next in a bulk send, and when it is enough."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.hub.text import TextError
from jackfield.hub.waves import Waves, halt_count


def finish(waves: Waves, wave: list[int], *, failing: int = 0) -> None:
    for number, client_id in enumerate(wave):
        assert not waves.over
        waves.ended(client_id, well=number >= failing)


def test_the_next_wave_starts_when_everyone_has_ended() -> None:
    waves = Waves(range(5), size=2)
    first = list(waves.next())
    assert first == [0, 1]
    assert list(waves.next()) == []
    waves.ended(0, well=True)
    waves.ended(0, well=True)
    assert list(waves.next()) == []
    waves.ended(1, well=False)
    assert waves.over
    finish(waves, list(waves.next()))
    assert list(waves.next()) == [4]
    assert not waves.more
    waves.ended(4, well=True)
    assert list(waves.next()) == []
    assert (waves.count, waves.started, waves.failed, waves.halted) == (3, 3, 1, False)


def test_enough_failures_halt_it_after_the_wave_at_hand() -> None:
    waves = Waves(range(10), size=3, halt_on=2)
    finish(waves, list(waves.next()), failing=1)
    assert waves.more
    wave = list(waves.next())
    waves.ended(wave[0], well=False)
    assert waves.halted
    assert not waves.over
    finish(waves, wave[1:])
    assert list(waves.next()) == []
    assert list(waves.not_begun) == [6, 7, 8, 9]


def test_without_a_size_all_go_at_once() -> None:
    waves = Waves([3, 1])
    assert list(waves.next()) == [3, 1]
    assert waves.count == 1
    nobody = Waves([])
    assert list(nobody.next()) == []
    assert nobody.over


@given(st.integers(0, 40), st.integers(1, 9), st.integers(1, 9), st.randoms())
def test_everyone_is_in_one_wave_or_told_of(total: int, size: int, halt_on: int, random: object) -> None:
    waves = Waves(range(total), size=size, halt_on=halt_on)
    asked: list[int] = []
    while wave := waves.next():
        assert len(wave) <= size
        asked += wave
        for client_id in wave:
            waves.ended(client_id, well=random.random() < 0.7)  # type: ignore[attr-defined]
    assert [*asked, *waves.not_begun] == list(range(total))
    assert bool(waves.not_begun) <= waves.halted
    assert waves.failed < halt_on + size


@pytest.mark.parametrize(
    ("text", "total", "count"), [("2", 10, 2), ("10%", 25, 3), ("1%", 5, 1), ("100%", 7, 7)]
)
def test_how_many_failures_are_too_many(text: str, total: int, count: int) -> None:
    assert halt_count(text, total) == count


@pytest.mark.parametrize("text", ["", "0", "0%", "-1", "101%", "two", "1.5"])
def test_what_is_no_number_of_failures(text: str) -> None:
    with pytest.raises(TextError):
        halt_count(text, 10)
