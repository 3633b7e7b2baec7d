"""Why nothing moves on a channel, or that all is well: one sentence, and the facts that it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from jackfield._life_errors import duration, size

_NOTICED = 1.0
"""Seconds of silence that are worth a word."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The state of a channel at one moment; ``str()`` is its sentence."""

    state: str
    """``well``: everything arrives, or there is nothing to send; ``sending``: bytes are under way and move;
    ``peer_not_reading``: the peer lives and does not read; ``peer_silent``: it does not acknowledge, or the
    way to it is broken; ``not_receiving``: messages wait here, and nobody receives them; ``ended``: the peer
    has ended its side; ``lost``; ``closing``; ``closed``; ``connecting``; ``reconnecting``."""
    text: str
    """One sentence."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Bytes (``queued_bytes``, ``unacknowledged``, ``unread`` in this kernel, ``unclaimed`` in this program),
    messages (``queued_messages``), seconds (``stalled``, ``silent``, ``last_received``, ``last_sent`` ago;
    ``round_trip`` of a TCP connection), counts (``unanswered`` retransmissions and probes, ``broken_frames``
    skipped), ``error``; None where it is not known."""

    def __str__(self) -> str:
        return self.text

    @property
    def is_well(self) -> bool:
        """Nothing is held up."""
        return self.state in ("well", "sending")


CLOSED = Explanation("closed", "closed on this side")


def explain(facts: Mapping[str, Any] | None) -> Explanation:
    """The explanation of what the engine knows; None is a link that is gone."""
    if facts is None:
        return CLOSED
    waiting = facts["queued_bytes"] + facts["unacknowledged"]
    error = facts["error"]
    if facts["is_closing"]:
        if not waiting:
            return CLOSED
        return Explanation("closing", f"closing: {size(waiting)} still have to leave", facts)
    if error is not None:
        return Explanation("lost", str(error), facts)
    return _outgoing(facts, waiting) or _incoming(facts)


def _outgoing(facts: Mapping[str, Any], waiting: int) -> Explanation | None:
    """What is to be sent and does not arrive, if anything."""
    if not waiting:
        return None
    here = size(facts["queued_bytes"] or waiting)
    if facts["stalled"] is not None:
        text = f"the peer has not read for {duration(facts['stalled'])}, {size(waiting)} wait here"
        return Explanation("peer_not_reading", text, facts)
    silent, unanswered = facts["silent"], facts["unanswered"]
    if silent is not None and unanswered and silent >= _NOTICED:
        text = f"the peer acknowledges nothing for {duration(silent)}: {unanswered} retransmissions or probes"
        text += f" are unanswered, {here} wait"
        if facts["vanished_after"] is not None:
            text += f"; it is given up after {duration(facts['vanished_after'])}"
        return Explanation("peer_silent", text, facts)
    return Explanation("sending", f"{size(waiting)} are on their way to the peer", facts)


def _incoming(facts: Mapping[str, Any]) -> Explanation:
    unread = facts["unread"] + facts["unclaimed"]
    if unread and not facts["is_received"]:
        text = f"this side is slow: {size(unread)} of the peer wait here, and nobody receives them"
        return Explanation("not_receiving", text, facts)
    if facts["has_ended"]:
        return Explanation("ended", "the peer has ended its side: nothing more will come", facts)
    last = facts["last_received"]
    text = "all is well"
    if last is None:
        text += "; the peer has sent nothing yet"
    elif last >= _NOTICED:
        text += f"; the peer has sent nothing for {duration(last)}"
    broken = facts["broken_frames"]
    if broken:
        text += f"; {broken} broken frame{'s were' if broken > 1 else ' was'} skipped so far"
    return Explanation("well", text, facts)
