"""Words for peers that vanished and peers that do not read: which of the two it was, and the evidence."""

from __future__ import annotations

import errno as errno_names
from collections.abc import Mapping

from jackfield._error_classes import ChannelLost, PeerStalled, PeerVanished

_GAVE_UP = {
    errno_names.ETIMEDOUT: "this machine's kernel gave up: neither data nor keepalive probes were answered",
    errno_names.EHOSTUNREACH: "no way to the host is left: it is silent on its network, or a router says so",
    errno_names.EHOSTDOWN: "the host no longer answers on its network",
}


def vanished(channel: str, facts: Mapping[str, object]) -> PeerVanished:
    """Nothing was heard of the peer for too long, or the kernel gave it up."""
    silent, unanswered = _number(facts, "silent"), int(_number(facts, "unanswered"))
    unacknowledged = int(_number(facts, "unacknowledged"))
    number = facts.get("errno")
    evidence = [f"nothing was heard of it for {duration(silent)}"]
    if unanswered:
        evidence.append(
            f"{unanswered} {'retransmission' if unanswered == 1 else 'retransmissions'} or probes "
            "went unanswered"
        )
    if unacknowledged:
        evidence.append(f"{size(unacknowledged)} are not acknowledged")
    said = f"the peer has vanished: {', '.join(evidence)}"
    if isinstance(number, int) and number in _GAVE_UP:
        said += f"; {_GAVE_UP[number]}"
    hint = "check that host's power and cable, and the network in between"
    error = PeerVanished(f"{channel} is lost: {said}{counted(facts)}", hint=hint)
    error.silent, error.unanswered, error.unacknowledged = silent, unanswered, unacknowledged
    return error


def stalled(channel: str, operation: str | None, facts: Mapping[str, object]) -> PeerStalled:
    """A call ran out of time because the peer lives and does not read."""
    since, waiting = _number(facts, "stalled"), int(_number(facts, "waiting"))
    timeout = facts.get("timeout")
    within = f" within {timeout:g} s" if isinstance(timeout, (int, float)) else " in time"
    call = f"{operation}()" if operation else "the call"
    said = f"the peer lives and does not read: nothing has moved for {duration(since)}"
    hint = "look at what the program at the other end does, or choose what a full queue does with when_full="
    error = PeerStalled(
        f"{call} did not finish{within} on {channel}: {said}, {size(waiting)} wait for it", hint=hint
    )
    error.stalled, error.waiting = since, waiting
    return error


def counted(facts: Mapping[str, object]) -> str:
    """What became of the messages, for the end of a sentence; nothing if all had arrived."""
    unsent, unknown = facts.get("certainly_unsent"), facts.get("unknown")
    parts = []
    if isinstance(unsent, int) and unsent:
        parts.append(f"{unsent} {_messages(unsent)} certainly not sent")
    if isinstance(unknown, int) and unknown:
        parts.append(f"{unknown} {_messages(unknown)} sent without an acknowledgement")
    return f" ({', '.join(parts)})" if parts else ""


def note_loss(error: ChannelLost, facts: Mapping[str, object]) -> None:
    """Put the counts on the error."""
    unsent, unknown = facts.get("certainly_unsent"), facts.get("unknown")
    error.certainly_unsent = unsent if isinstance(unsent, int) else None
    error.unknown = unknown if isinstance(unknown, int) else None


def duration(seconds: float) -> str:
    """For people: ``41 s``, ``2.5 s``, ``3 min``."""
    if seconds >= 120:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"


def size(count: int) -> str:
    """For people: ``512 bytes``, ``3.9 MB``."""
    if count == 1:
        return "1 byte"
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} bytes"


def _messages(count: int) -> str:
    return "message was" if count == 1 else "messages were"


def _number(facts: Mapping[str, object], name: str) -> float:
    value = facts.get(name)
    return value if isinstance(value, (int, float)) else 0
