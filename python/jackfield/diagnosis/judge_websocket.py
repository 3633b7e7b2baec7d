"""What became of a WebSocket that was asked for, and of the question whether a hub is there. Pure."""

from __future__ import annotations

from .observations import Observations, Upgrade
from .spoken import first_line, wrong_protocol
from .verdict import Verdict

BUSY = (b"429", b"503")
"""HTTP statuses of a server that may take a client later."""
LATER = (1012, 1013)
"""Codes with which a hub ends a WebSocket for the same reason."""
PASSING = ("forbidden", "overloaded", "rate_limited")
"""What a hub answers to a client that it takes not now, or not from there."""
_TURNED_AWAY = (
    "see `jackfield status` and the log of the hub: its clients, its rates, `allow=` of the address"
)


def judge_websocket(seen: Observations, upgrade: Upgrade, where: str, evidence: tuple[str, ...]) -> Verdict:
    """The verdict on a WebSocket endpoint that has answered."""
    first, at = first_line(upgrade.data), f"{where}{upgrade.path}"
    if not upgrade.data.startswith(b"HTTP/"):
        return wrong_protocol(seen, upgrade.data, where, evidence)
    status = upgrade.data.split(None, 2)[1:2]
    if status != [b"101"]:
        return _no_websocket(seen, first, at, status, evidence)
    evidence = (*evidence, f"GET {upgrade.path}: {first}")
    if upgrade.close in LATER or upgrade.code in PASSING:
        why = (
            f"{upgrade.words} ({upgrade.code})"
            if upgrade.code
            else f"it ended the WebSocket, {upgrade.close}"
        )
        sentence = f"{at} is a WebSocket of a hub that turns this client away: {why}"
        return Verdict("turned-away", sentence, "certain", "the hub said so", _TURNED_AWAY, evidence)
    if upgrade.versions or upgrade.code == "unsupported_version":
        numbers = ", ".join(map(str, upgrade.versions)) or "unknown to this check"
        sentence = f"{at} is a WebSocket of a Jackfield hub, which speaks version {numbers} of the protocol"
        return Verdict("ok", sentence, "certain", "it answered a hello", "", evidence)
    if upgrade.ended == "silence" and upgrade.opened:
        sentence = f"a WebSocket opens at {at}, and a hello is not answered within {upgrade.seconds:.1f} s"
        step, because = "look at the log of the server", "it may only be slow: try a longer --wait"
        return Verdict("silent-server", sentence, "likely", because, step, evidence)
    sentence = f"a WebSocket opens at {at}, and no Jackfield hub answers there{_what_else(upgrade)}"
    step = "look at the address and its path: that of a hub is /native of its web console"
    return Verdict("not-a-hub", sentence, "certain", "a hub answers a hello", step, evidence)


def _no_websocket(
    seen: Observations, first: str, at: str, status: list[bytes], evidence: tuple[str, ...]
) -> Verdict:
    if status and status[0] in BUSY:
        sentence = f"{at} turns this client away: {first}"
        return Verdict("turned-away", sentence, "certain", "the server said so", _TURNED_AWAY, evidence)
    sentence = f"{at} speaks HTTP and opens no WebSocket: {first}"
    step = "look at the path: that of a hub is /native of its web console"
    if status and status[0].startswith(b"3"):
        step = "look where it sends browsers to: `jackfield check` of its http:// or https:// address"
    return Verdict("no-websocket", sentence, "certain", "the status would be 101", step, evidence)


def _what_else(upgrade: Upgrade) -> str:
    if upgrade.refused:
        return ": it does not know the subprotocol jackfield.1"
    if upgrade.broken:
        return f": {upgrade.broken}"
    if upgrade.close is not None:
        return f": it ended the WebSocket, {upgrade.close}"
    return ": it ended the connection" if upgrade.ended else ""
