"""The sentence that explains a channel: which cause it names of several, and its words."""

from __future__ import annotations

from typing import Any

import pytest

import jackfield
from jackfield._explain import explain

IDLE: dict[str, Any] = {
    "queued_bytes": 0,
    "queued_messages": 0,
    "unacknowledged": 0,
    "unread": 0,
    "unclaimed": 0,
    "is_received": True,
    "stalled": None,
    "silent": None,
    "unanswered": 0,
    "vanished_after": 30.0,
    "last_received": 0.2,
    "last_sent": 0.2,
    "is_closing": False,
    "has_ended": False,
    "broken_frames": 0,
    "error": None,
}
WAITING = {"queued_bytes": 3_000_000, "unacknowledged": 900_000}


@pytest.mark.parametrize(
    ("facts", "state", "text"),
    [
        ({}, "well", "all is well"),
        ({"last_received": None}, "well", "all is well; the peer has sent nothing yet"),
        ({"last_received": 41.2}, "well", "all is well; the peer has sent nothing for 41 s"),
        ({"broken_frames": 1}, "well", "all is well; 1 broken frame was skipped so far"),
        (
            {"last_received": 41.2, "broken_frames": 7},
            "well",
            "all is well; the peer has sent nothing for 41 s; 7 broken frames were skipped so far",
        ),
        (WAITING, "sending", "3.9 MB are on their way to the peer"),
        (
            WAITING | {"stalled": 41.0, "unread": 9},
            "peer_not_reading",
            "the peer has not read for 41 s, 3.9 MB wait here",
        ),
        (
            {"unacknowledged": 12, "silent": 7.1, "unanswered": 5},
            "peer_silent",
            "the peer acknowledges nothing for 7.1 s: 5 retransmissions or probes are unanswered, 12 bytes "
            "wait; it is given up after 30 s",
        ),
        ({"unacknowledged": 12, "silent": 0.3, "unanswered": 1}, "sending", "12 bytes are on their way"),
        (
            {"unread": 1000, "unclaimed": 500, "is_received": False},
            "not_receiving",
            "this side is slow: 1.5 kB of the peer wait here, and nobody receives them",
        ),
        ({"unread": 1000}, "well", "all is well"),
        ({"has_ended": True}, "ended", "the peer has ended its side: nothing more will come"),
        (WAITING | {"is_closing": True}, "closing", "closing: 3.9 MB still have to leave"),
        ({"is_closing": True}, "closed", "closed on this side"),
        ({"error": jackfield.ChannelLost("gone for good")}, "lost", "gone for good"),
    ],
)
def test_the_cause_and_its_words(facts: dict[str, Any], state: str, text: str) -> None:
    explanation = explain(IDLE | facts)
    assert explanation.state == state
    assert str(explanation).startswith(text)
    assert explanation.is_well == (state in ("well", "sending"))


def test_a_link_that_is_gone_is_closed() -> None:
    assert explain(None).state == "closed"
