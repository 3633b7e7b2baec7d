"""How long a lasting channel waits between two attempts."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import jackfield
import jackfield.hub


def test_delays_grow_to_the_maximum() -> None:
    backoff = jackfield.Backoff(first=0.1, factor=2, maximum=1.0, jitter=0)
    assert [round(backoff.delay(attempt), 6) for attempt in range(1, 7)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert backoff.delay(10**9) == 1.0
    assert jackfield.Backoff(first=0.5, factor=1, jitter=0).delay(10**9) == 0.5


def test_jitter_shortens_by_an_injected_chance() -> None:
    chances = iter([0.0, 0.5, 0.999])
    backoff = jackfield.Backoff(first=1.0, factor=1, maximum=1.0, jitter=0.2, random=lambda: next(chances))
    assert [round(backoff.delay(1), 4) for _ in range(3)] == [1.0, 0.9, 0.8002]
    assert all(0.8 <= jackfield.Backoff(first=1.0).delay(1) <= 1.0 for _ in range(100))


def test_text_forms() -> None:
    assert jackfield.Backoff.parse("100ms..30s") == jackfield.Backoff()
    assert jackfield.Backoff.parse("yes") == jackfield.Backoff()
    assert str(jackfield.Backoff(first=0.25, maximum=2.0)) == "250ms..2s"


@pytest.mark.parametrize("text", ["", "often", "1..2", "1s", "2s..1s", "0s..1s", "1s..1000h"])
def test_bad_text_is_refused(text: str) -> None:
    with pytest.raises(jackfield.InvalidOption, match="reconnect"):
        jackfield.Backoff.parse(text)


@pytest.mark.parametrize(
    "field", [{"first": 0}, {"factor": 0.5}, {"maximum": 0.01}, {"jitter": 1.5}, {"attempts": 0}]
)
def test_bad_values_are_refused(field: dict[str, float]) -> None:
    with pytest.raises(jackfield.InvalidOption, match=f"{next(iter(field))}="):
        jackfield.Backoff(**field)  # type: ignore[arg-type]


def test_states_say_what_comes_next() -> None:
    refused = jackfield.ConnectRefused("nothing listens there")
    assert str(jackfield.Connecting()) == "connecting, attempt 1 now"
    assert str(jackfield.Reconnecting(refused, 3, 4.0)) == (
        "reconnecting, attempt 3 in 4 s (nothing listens there)"
    )
    assert str(jackfield.Connected(2)) == "connected"
    assert (str(jackfield.Closed()), str(jackfield.Closed(refused))) == (
        "closed",
        "given up: nothing listens there",
    )


@pytest.mark.parametrize("connect", [jackfield.connect, jackfield.hub.connect])
@pytest.mark.parametrize("wrong", [True, False, 5.0])
def test_what_is_no_backoff_is_refused_at_once(connect: Callable[..., object], wrong: object) -> None:
    with pytest.raises(TypeError, match=rf"takes a Backoff, .* or None for never, and not {wrong}$"):
        connect("tcp://127.0.0.1:9", reconnect=wrong)
