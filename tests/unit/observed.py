"""Observations written by hand, for the tests of verdicts, and how a verdict on them is checked."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

from jackfield.diagnosis.judge import judge
from jackfield.diagnosis.observations import (
    Answer,
    Attempt,
    Listener,
    LocalView,
    Neighbour,
    Observations,
    Process,
    Route,
    UnixFile,
)
from jackfield.diagnosis.target import targets

HOST = "192.0.2.7"
WHERE = f"{HOST}:7000"
LOCAL = "127.0.0.1:7000"
BY_ROUTER = Route(HOST, 0.0, "unicast", "192.0.2.100", "eth0", "192.0.2.1")
ON_LINK = replace(BY_ROUTER, gateway=None)
HERE = Route("127.0.0.1", 0.0, "local", "127.0.0.1", "lo")
SLEEPING = Process(41, "server", "S", "ada")
STOPPED = replace(SLEEPING, state="T")
LISTENER = Listener(LOCAL, "tcp", waiting=0, limit=5, holders=(SLEEPING,), user="ada")
SILENCE = Answer(1.0, ended="silence")


def seen(target: str = WHERE, **observed: Any) -> Observations:
    return Observations(targets([target])[0], **observed)


def remote(route: Route = BY_ROUTER, neighbours: tuple[Neighbour, ...] = (), **attempt: Any) -> Observations:
    """One failed attempt at another machine."""
    return seen(routes=(route,), attempts=(Attempt(WHERE, 0.01, **attempt),), neighbours=neighbours)


def local(
    *listeners: Listener, target: str = LOCAL, view: dict[str, Any] | None = None, **observed: Any
) -> Observations:
    """A target on this machine."""
    return seen(target, routes=(HERE,), local=LocalView(listeners, **(view or {})), **observed)


def refused(where: str = LOCAL) -> Attempt:
    return Attempt(where, 0.0, errno=errno.ECONNREFUSED, cause="nothing_listens")


def silent(where: str = LOCAL) -> Attempt:
    return Attempt(where, 5.0, errno=errno.ETIMEDOUT, timed_out=True, cause="no_answer")


def connected(where: str = LOCAL) -> Attempt:
    return Attempt(where, 0.0, True)


def unix(state: str = "socket", target: str = "unix:///run/x", **observed: Any) -> Observations:
    file = UnixFile("/run/x", state, "srwxr-xr-x", "ada")  # type: ignore[arg-type]
    return seen(target, file=file, local=LocalView(observed.pop("listeners", ())), **observed)


def failing(number: int, **facts: Any) -> tuple[Attempt, ...]:
    return (Attempt("/run/x", 0.0, errno=number, **facts),)


UNIX = Listener("/run/x", "unix", waiting=0, limit=5, holders=(SLEEPING,))


Row = tuple[str, Observations, str, str]
"""What is seen, in words and as observations; the cause and how sure; a part of the sentence."""


def check_row(row: Row) -> None:
    """The row's observations have its verdict, and the verdict has all its parts."""
    _, observed, expected, part = row
    verdict = judge(observed)
    assert f"{verdict.cause}, {verdict.confidence}" == expected, verdict
    assert part in verdict.sentence, verdict
    assert verdict.because
    assert not verdict.sentence.endswith((".", " "))
    assert verdict.ok == (verdict.exit_code == 0)
    assert verdict.ok or verdict.evidence, verdict
