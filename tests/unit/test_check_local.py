"""Verdicts of `check` on targets of this machine: listeners, queues, processes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from observed import (
    LISTENER,
    LOCAL,
    SILENCE,
    SLEEPING,
    STOPPED,
    WHERE,
    Row,
    check_row,
    connected,
    local,
    refused,
    seen,
    silent,
)

from jackfield.diagnosis.observations import Answer, Tls

ROWS: list[Row] = [
    # this machine: TCP
    (
        "nothing listens",
        local(attempts=(refused(),)),
        "refused, certain",
        "nothing on this machine listens on port 7000",
    ),
    (
        "bound elsewhere",
        local(replace(LISTENER, bound="192.0.2.9:7000", matches=False), attempts=(refused(),)),
        "bound-elsewhere, certain",
        "server (pid 41, user ada) listens on 192.0.2.9:7000",
    ),
    ("refused by a listener", local(LISTENER, attempts=(refused(),)), "refused, possible", "all the same"),
    (
        "a full queue",
        local(replace(LISTENER, waiting=6), attempts=(silent(),)),
        "accept-queue-full, certain",
        "it sleeps",
    ),
    (
        "a full queue of a stopped one",
        local(replace(LISTENER, waiting=6, holders=(STOPPED,)), attempts=(silent(),)),
        "process-stopped, certain",
        "its accept queue is full",
    ),
    (
        "a queue that was full",
        local(LISTENER, view={"overflows": 2}, attempts=(silent(),)),
        "accept-queue-full, likely",
        "was full",
    ),
    (
        "refused on one address, and full on the other",
        local(
            replace(LISTENER, waiting=6), target="localhost:7000", attempts=(refused("[::1]:7000"), silent())
        ),
        "accept-queue-full, certain",
        LOCAL,
    ),
    (
        "one of two is full",
        local(replace(LISTENER, waiting=6), LISTENER, attempts=(silent(),)),
        "accept-queue-full, certain",
        "1 of 2 listeners",
    ),
    ("a filter here", local(LISTENER, attempts=(silent(),)), "own-firewall, likely", "drops its own packets"),
    (
        "stopped",
        local(
            replace(LISTENER, waiting=1, holders=(STOPPED,)),
            view={"accepted": False},
            attempts=(connected(),),
        ),
        "process-stopped, certain",
        "the kernel alone took",
    ),
    (
        "stopped after accepting",
        local(
            LISTENER,
            view={"accepted": True, "acceptors": (STOPPED,)},
            attempts=(connected(),),
            answer=SILENCE,
        ),
        "process-stopped, certain",
        "which accepted",
    ),
    (
        "one worker of two is stopped",
        local(
            replace(LISTENER, holders=(STOPPED, SLEEPING)),
            view={"accepted": True, "acceptors": (SLEEPING,)},
            attempts=(connected(),),
            answer=Answer(0.1, data=b"hi"),
        ),
        "ok, certain",
        "answers: hi",
    ),
    (
        "busy",
        local(
            replace(LISTENER, waiting=1, holders=(replace(SLEEPING, state="R"),)),
            view={"accepted": False},
            attempts=(connected(),),
            answer=SILENCE,
        ),
        "process-busy, certain",
        "it is computing",
    ),
    (
        "not accepting",
        local(
            replace(LISTENER, waiting=1), view={"accepted": False}, attempts=(connected(),), answer=SILENCE
        ),
        "not-accepting, certain",
        "has not accepted",
    ),
    (
        "not accepting, TLS",
        local(
            replace(LISTENER, waiting=1),
            target="https://127.0.0.1:7000",
            view={"accepted": False},
            attempts=(connected(),),
            tls=Tls(5.0, ended="silence"),
        ),
        "not-accepting, certain",
        "for 5.0 s",
    ),
    (
        "no moment to accept",
        local(replace(LISTENER, waiting=1), view={"accepted": False}, attempts=(connected(),)),
        "ok, certain",
        "accepts connections",
    ),
    # this machine: UDP
    (
        "UDP, nothing bound",
        local(target=f"udp://{LOCAL}", attempts=(refused(),)),
        "refused, certain",
        "UDP port 7000",
    ),
    (
        "UDP, bound elsewhere",
        local(
            replace(LISTENER, kind="udp", bound="[::1]:7000", matches=False),
            target=f"udp://{LOCAL}",
            attempts=(refused(),),
        ),
        "bound-elsewhere, certain",
        "[::1]:7000",
    ),
    (
        "UDP, stopped",
        local(
            replace(LISTENER, kind="udp", limit=None, holders=(STOPPED,)),
            target=f"udp://{LOCAL}",
            attempts=(connected(),),
            answer=replace(SILENCE, asked="5 bytes"),
        ),
        "process-stopped, certain",
        "wait unread",
    ),
    (
        "UDP, unread",
        local(
            replace(LISTENER, kind="udp", limit=None, waiting=768),
            target=f"udp://{LOCAL}",
            attempts=(connected(),),
            answer=replace(SILENCE, asked="5 bytes"),
        ),
        "not-accepting, likely",
        "has not read",
    ),
    (
        "UDP, read and silent",
        local(
            replace(LISTENER, kind="udp", limit=None),
            target=f"udp://{LOCAL}",
            attempts=(connected(),),
            answer=replace(SILENCE, asked="5 bytes"),
        ),
        "silent-server, likely",
        "took 5 bytes",
    ),
    (
        "UDP, empty",
        local(
            replace(LISTENER, kind="udp", limit=None),
            target=f"udp://{LOCAL}",
            attempts=(connected(),),
            answer=replace(SILENCE, asked="an empty datagram"),
        ),
        "ok, likely",
        "no error came back",
    ),
    (
        "UDP, dropped here",
        local(
            target=f"udp://{LOCAL}",
            attempts=(connected(),),
            answer=replace(SILENCE, asked="an empty datagram"),
        ),
        "own-firewall, likely",
        "no socket holds",
    ),
    (
        "UDP, silence",
        seen(
            f"udp://{WHERE}", attempts=(connected(WHERE),), answer=replace(SILENCE, asked="an empty datagram")
        ),
        "silence, possible",
        "which proves nothing",
    ),
    (
        "UDP, answered",
        seen(f"udp://{WHERE}", attempts=(connected(WHERE),), answer=Answer(0.1, "4 bytes", b"pong")),
        "ok, certain",
        "answers: pong",
    ),
    (
        "UDP, not asked",
        seen(f"udp://{WHERE}", attempts=(connected(WHERE),)),
        "silence, possible",
        "nothing was sent",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_is_seen_has_its_verdict(row: Row) -> None:
    check_row(row)
