"""Verdicts of `check` on what a peer said, or did not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from observed import SILENCE, WHERE, Row, check_row, connected, seen

from jackfield.diagnosis.observations import Answer, Certificate, Observations, Tls, Upgrade

OPENED = b"HTTP/1.1 101 Switching Protocols\r\n"


def over_websocket(upgrade: Upgrade) -> Observations:
    return replace(seen(f"ws://{WHERE}", attempts=(connected(WHERE),)), upgrade=upgrade)


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
    # WebSockets
    (
        "a hub",
        over_websocket(Upgrade(0.1, "/native", OPENED, True, code="unsupported_version", versions=(1, 2))),
        "ok, certain",
        "a Jackfield hub, which speaks version 1, 2",
    ),
    (
        "no WebSocket",
        over_websocket(Upgrade(0.1, "/native", b"HTTP/1.1 404 Not Found\r\n", refused="forbidden")),
        "no-websocket, certain",
        "opens no WebSocket: HTTP/1.1 404 Not Found",
    ),
    (
        "a WebSocket of another kind",
        over_websocket(Upgrade(0.1, "/chat", OPENED, refused="unsupported_version")),
        "not-a-hub, certain",
        "/chat, and no Jackfield hub answers there: it does not know the subprotocol",
    ),
    (
        "a hub that is full",
        over_websocket(Upgrade(0.1, "/native", OPENED, True, code="overloaded", words="no room")),
        "turned-away, certain",
        "no room (overloaded)",
    ),
    (
        "a hub that says nothing",
        over_websocket(Upgrade(5.0, "/native", OPENED, True, ended="silence")),
        "silent-server, likely",
        "a hello is not answered within 5.0 s",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_what_is_seen_has_its_verdict(row: Row) -> None:
    check_row(row)
