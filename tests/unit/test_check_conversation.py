"""Verdicts of `check` on what a peer said, or did not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from observed import SILENCE, WHERE, Row, check_row, connected, seen

from jackfield.diagnosis.observations import Answer, Certificate, Tls

ROWS: list[Row] = [
    # conversation
    (
        "a banner",
        seen(attempts=(connected(WHERE),), answer=Answer(0.1, data=b"220 mail\r\nmore")),
        "ok, certain",
        "answers: 220 mail",
    ),
    (
        "quiet",
        seen(attempts=(connected(WHERE),), answer=SILENCE),
        "ok, certain",
        "let the client speak first",
    ),
    (
        "asked in vain",
        seen(attempts=(connected(WHERE),), answer=replace(SILENCE, asked="5 bytes")),
        "silent-server, likely",
        "was asked (5 bytes)",
    ),
    (
        "closed",
        seen(attempts=(connected(WHERE),), answer=Answer(0.1, ended="closed")),
        "closed-at-once, certain",
        "without a word",
    ),
    (
        "reset",
        seen(attempts=(connected(WHERE),), answer=Answer(0.1, ended="reset")),
        "reset-after-connect, certain",
        "and reset it",
    ),
    (
        "HTTP",
        seen(
            f"http://{WHERE}/",
            attempts=(connected(WHERE),),
            answer=Answer(0.1, "HEAD /", b"HTTP/1.1 404 Not Found\r\n"),
        ),
        "ok, certain",
        "404",
    ),
    (
        "HTTP, its own error",
        seen(
            f"http://{WHERE}/",
            attempts=(connected(WHERE),),
            answer=Answer(0.1, "HEAD /", b"HTTP/1.1 502 Bad\r\n"),
        ),
        "ok, certain",
        "an error of its own",
    ),
    (
        "no HTTP",
        seen(f"http://{WHERE}/", attempts=(connected(WHERE),), answer=Answer(0.1, "HEAD /", b"SSH-2.0\r\n")),
        "wrong-protocol, certain",
        "something else: SSH-2.0",
    ),
    (
        "TLS instead",
        seen(f"http://{WHERE}/", attempts=(connected(WHERE),), answer=Answer(0.1, "HEAD /", b"\x15\x03\x01")),
        "wrong-protocol, certain",
        "with TLS",
    ),
    (
        "no TLS",
        seen(
            f"tls://{WHERE}",
            attempts=(connected(WHERE),),
            tls=Tls(0.1, problem="it does not speak TLS", ended="alert"),
        ),
        "tls-failed, certain",
        "does not speak TLS",
    ),
    (
        "a bad certificate",
        seen(
            f"tls://{WHERE}",
            attempts=(connected(WHERE),),
            tls=Tls(
                0.1,
                "TLSv1.3",
                "X",
                problem="self-signed certificate",
                certificate=Certificate("x", "x", (), 0.0, 2e9),
            ),
        ),
        "certificate-invalid, certain",
        "self-signed",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_is_seen_has_its_verdict(row: Row) -> None:
    check_row(row)
