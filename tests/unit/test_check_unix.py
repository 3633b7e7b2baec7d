"""Verdicts of `check` on Unix sockets."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest
from observed import SILENCE, STOPPED, UNIX, Row, check_row, connected, failing, seen, unix

from jackfield.diagnosis.observations import Attempt, LocalView

ROWS: list[Row] = [
    # Unix
    (
        "Unix, ok",
        unix(listeners=(UNIX,), attempts=(connected("/run/x"),), answer=SILENCE),
        "ok, certain",
        "accepts connections",
    ),
    (
        "Unix, absent",
        unix("absent", attempts=failing(errno.ENOENT)),
        "no-socket, certain",
        "no socket file /run/x",
    ),
    (
        "Unix, no directory",
        unix("no-directory", attempts=failing(errno.ENOENT)),
        "no-socket, certain",
        "directory",
    ),
    (
        "Unix, a file",
        unix("other", attempts=failing(errno.ECONNREFUSED)),
        "not-a-socket, certain",
        "/run/x is no socket",
    ),
    (
        "Unix, hidden",
        unix("hidden", attempts=failing(errno.EACCES)),
        "permission, certain",
        "may not be entered",
    ),
    ("Unix, not permitted", unix(attempts=failing(errno.EACCES)), "permission, certain", "write permission"),
    ("Unix, stale", unix(attempts=failing(errno.ECONNREFUSED)), "stale-socket, certain", "is stale"),
    (
        "Unix, wrong kind",
        unix(listeners=(replace(UNIX, kind="unix+dgram", limit=None),), attempts=failing(errno.EPROTOTYPE)),
        "wrong-kind, certain",
        "is unix+dgram, not unix",
    ),
    (
        "Unix, wrong kind, unseen",
        unix(attempts=failing(errno.EPROTOTYPE)),
        "wrong-kind, certain",
        "is not unix",
    ),
    (
        "Unix, bound only",
        unix(listeners=(UNIX,), attempts=failing(errno.ECONNREFUSED)),
        "refused, possible",
        "refused the connection",
    ),
    (
        "Unix, full",
        unix(listeners=(replace(UNIX, waiting=6),), attempts=failing(errno.ETIMEDOUT, timed_out=True)),
        "accept-queue-full, certain",
        "is full",
    ),
    (
        "Unix, full, unseen",
        unix(attempts=failing(errno.ETIMEDOUT, timed_out=True)),
        "accept-queue-full, likely",
        "is full",
    ),
    (
        "Unix, stopped",
        unix(listeners=(replace(UNIX, waiting=1, holders=(STOPPED,)),), attempts=(connected("/run/x"),)),
        "process-stopped, certain",
        "is stopped",
    ),
    (
        "Unix datagrams, stopped",
        unix(
            target="unix+dgram:///run/x",
            listeners=(replace(UNIX, kind="unix+dgram", limit=None, holders=(STOPPED,)),),
            attempts=(connected("/run/x"),),
        ),
        "process-stopped, certain",
        "wait unread",
    ),
    (
        "Unix datagrams",
        unix(target="unix+dgram:///run/x", attempts=(connected("/run/x"),)),
        "ok, certain",
        "takes datagrams",
    ),
    (
        "no abstract name",
        seen("unix://@x", local=LocalView(), attempts=(Attempt("@x", 0.0, errno=errno.ECONNREFUSED),)),
        "no-socket, certain",
        "abstract name @x",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_is_seen_has_its_verdict(row: Row) -> None:
    check_row(row)
