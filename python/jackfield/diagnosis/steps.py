"""The steps of a check, as people and programs read them. Pure."""

from __future__ import annotations

import errno
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .judge_local import describe
from .observations import Answer, Attempt, LocalView, Resolution, Route, Tls, Upgrade
from .spoken import first_line
from .target import Target


@dataclass(frozen=True)
class Step:
    """One thing that was done or looked at."""

    name: str
    """``resolve``, ``route``, ``connect``, ``send``, ``tls``, ``answer``, ``upgrade``, ``hub`` or
    ``listener``."""
    state: Literal["ok", "failed", "note"]
    text: str
    seconds: float | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    """The same for programs; docs/check.md says which step has which."""


def resolution_step(seen: Resolution) -> Step:
    """How the name became addresses."""
    by = f" (by {seen.source})" if seen.source else ""
    text = f"{seen.sentence}{by}"
    if seen.failure is not None:
        text = f"{seen.name}: {seen.said or seen.failure}{by}"
    return Step("resolve", "failed" if seen.failure else "ok", text, seen.seconds, _facts(seen))


def route_step(seen: Route) -> Step:
    """Which way a packet would go."""
    if seen.is_local:
        text = f"{seen.destination} is this machine"
    elif seen.kind in ("none", "unreachable", "prohibit", "blackhole"):
        kind = "there is none" if seen.kind == "none" else f"of kind {seen.kind}"
        text = f"{seen.destination}: {kind}"
    else:
        way = "on the local link" if seen.gateway is None else f"by {seen.gateway}"
        link = f" on {seen.interface}" if seen.interface else ""
        text = f"{seen.destination} {way}, from {seen.source or 'an unknown address'}{link}"
    failed = seen.kind in ("none", "unreachable", "prohibit", "blackhole")
    return Step("route", "failed" if failed else "ok", text, seen.seconds, _facts(seen))


def attempt_step(seen: Attempt, target: Target) -> Step:
    """One connect, or over UDP one question."""
    facts = _facts(seen) | {
        "errno": None if seen.errno is None else errno.errorcode.get(seen.errno, str(seen.errno))
    }
    name = "send" if target.address.scheme == "udp" else "connect"
    if seen.connected:
        trip = "" if seen.rtt is None else f", round trip {seen.rtt * 1000:.2f} ms"
        again = f", first packet sent {seen.retransmits + 1} times" if seen.retransmits else ""
        what = "no error came back" if name == "send" else "connected"
        return Step(name, "ok", f"{seen.address} {what}{trip}{again}", seen.seconds, facts)
    text = f"{seen.address}: {seen.outcome}"
    if seen.icmp is not None:
        text += " (ICMP type {} code {}".format(*seen.icmp) + f" from {seen.offender or 'an unknown host'})"
    elif seen.offender:
        text += f" (said by {seen.offender})"
    return Step(name, "failed", text, seen.seconds, facts)


def listener_steps(seen: LocalView) -> list[Step]:
    """Who listens on this machine."""
    steps = []
    for listener in seen.listeners[:8]:
        bad = listener.is_full or listener.is_stopped
        text = describe(listener) + ("; it is stopped" if listener.is_stopped else "")
        state: Literal["ok", "failed", "note"] = "failed" if bad else "ok" if listener.matches else "note"
        holders = [asdict(process) for process in listener.holders]
        steps.append(Step("listener", state, text, None, _facts(listener) | {"holders": holders}))
    return steps


def tls_step(seen: Tls, now: float) -> Step:
    """The TLS handshake and the certificate."""
    if seen.ended is not None:
        words = {"closed": "closed by the peer", "reset": "reset by the peer", "silence": "no answer"}
        return Step("tls", "failed", words.get(seen.ended, seen.problem), seen.seconds, _facts(seen))
    text = f"{seen.version}, {seen.cipher}" if seen.version else "handshake refused by this side"
    certificate = seen.certificate
    if certificate is not None:
        days = (certificate.not_after - now) / 86400
        when = f"valid for {days:.0f} days" if days >= 0 else f"ended {-days:.0f} days ago"
        text += (
            f"; certificate for {certificate.subject or 'nobody'} by {certificate.issuer or 'nobody'}, {when}"
        )
    text += "; verified" if seen.verified else f"; NOT verified: {seen.problem}"
    return Step("tls", "ok" if seen.verified else "failed", text, seen.seconds, _facts(seen))


def answer_step(seen: Answer, target: Target) -> Step:
    """What the peer said."""
    asked = f"{seen.asked}: " if seen.asked else ""
    facts = _facts(seen) | {"data": seen.data.decode("utf-8", "backslashreplace"), "bytes": len(seen.data)}
    if seen.data:
        return Step("answer", "ok", f"{asked}{first_line(seen.data)}", seen.seconds, facts)
    words = {"closed": "closed without a word", "reset": "reset", "silence": "nothing said"}
    quiet = seen.ended == "silence" and (not seen.asked or target.is_datagram)
    text = f"{asked}{words.get(seen.ended or '', 'nothing')}"
    return Step("answer", "note" if quiet else "failed", text, seen.seconds, facts)


def websocket_steps(seen: Upgrade) -> list[Step]:
    """The WebSocket that was asked for, and the hub that was."""
    facts = {"path": seen.path, "opened": seen.opened, "close": seen.close}
    state: Literal["ok", "failed"] = "ok" if seen.opened else "failed"
    steps = [Step("upgrade", state, f"GET {seen.path}: {first_line(seen.data)}", seen.seconds, facts)]
    if seen.opened:
        said: dict[str, Any] = {"code": seen.code, "versions": list(seen.versions)}
        numbers = ", ".join(map(str, seen.versions))
        text = f"it speaks version {numbers} of the Jackfield protocol" if numbers else "no answer of a hub"
        text = text if numbers or not seen.code else f"{seen.words} ({seen.code})"
        steps.append(Step("hub", "ok" if numbers else "failed", text, None, said))
    return steps


def _facts(seen: Any) -> dict[str, Any]:
    facts = asdict(seen)
    facts.pop("seconds", None)
    return facts
