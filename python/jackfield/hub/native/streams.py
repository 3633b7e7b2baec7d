"""What clients open: OPEN in, a route in the engine out, or a RESET that says why there is none.

Owns who is connected to whom. The payload never comes here: once a route is linked the engine passes it on,
with its credit. A stream to the hub itself (no `to`) belongs to one of the hub's services.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import jackfield
from jackfield.portable import (
    CANCELLED,
    MAX_CREDIT,
    NO_SUCH_PEER,
    NO_SUCH_SERVICE,
    OPEN,
    OVERLOADED,
    PEER_GONE,
    REFUSED,
    RESET,
    from_json,
    to_json,
)

from .effort import dense
from .handshake import Refused

if TYPE_CHECKING:
    from jackfield import Member

    from .part import Native
    from .session import NativeSession

CHANNEL: Final = "channel"  # the one service that a plain client has: its bytes
AGAIN: Final = 0.1  # seconds until a newcomer that has said nothing yet is tried again,
TRIES: Final = 20  # so often
LONGEST_OPEN: Final = 4096  # bytes of an OPEN
LONGEST_REASON: Final = 256  # bytes of a RESET's reason

Service = Callable[["NativeSession", int, dict[str, Any]], None]
"""Accepts a stream that a client opened to the hub: the session, the stream's number, what OPEN said."""


def opened(native: Native, session: NativeSession, stream: int, payload: bytes) -> None:
    """A client opens a stream. Raises `Refused` for what ends the connection."""
    if len(payload) > LONGEST_OPEN:
        raise Refused("too_big", f"an open of {len(payload)} bytes; the longest has {LONGEST_OPEN}")
    session.count(dense(payload))
    body = from_json(payload)
    service, credit, to = body.get("service", CHANNEL), body.get("credit", 0), body.get("to")
    if not isinstance(service, str) or not service:
        raise Refused("bad_json", "an open needs 'service', a text")
    if type(credit) is not int or credit < 0:
        raise Refused("bad_json", "an open needs 'credit', a whole number of bytes")
    if credit > MAX_CREDIT:
        raise Refused("credit_overflow", f"an open grants at most {MAX_CREDIT}, and this one {credit}")
    if to is None:
        own = native.services.get(service)
        if own is None:
            known = ", ".join(native.services) or "none"
            reset(session, stream, NO_SUCH_SERVICE, f"the hub has no service {service}; it has {known}")
        else:
            own(session, stream, body)
        return
    if type(to) is not int and not isinstance(to, str):
        raise Refused("bad_json", "an open needs 'to', a name or an id")
    _connect(native, session, stream, to, service, credit)


def _connect(
    native: Native,
    session: NativeSession,
    stream: int,
    to: int | str,
    service: str,
    credit: int,
    tries: int = TRIES,
) -> None:
    if session.way is None:
        return
    member = native.find(to)
    if member is None:
        known = native.hub.identities.registry.known_as(to) if isinstance(to, str) else None
        why = f"{to!r} is absent; a message would wait for it" if known is not None else f"no client {to!r}"
        reset(session, stream, NO_SUCH_PEER, why)
        return
    target = native.sessions.get(member.id)
    services = (CHANNEL,) if target is None else target.services
    if service not in services:
        has = ", ".join(services) or "none"
        reset(session, stream, NO_SUCH_SERVICE, f"it has no service {service[:64]}; it has {has}")
        return
    try:
        if target is None:
            if native.switch.is_native(member) is None and tries:
                again = (native, session, stream, to, service, credit, tries - 1)
                asyncio.get_running_loop().call_later(AGAIN, _connect, *again)
                return
            native.switch.link(session.way, stream, member.id, 0, credit=credit)
        else:
            _open_at(native, session, stream, target, service, credit)
    except (jackfield.QueueFull, jackfield.ChannelClosed):
        reset(session, stream, PEER_GONE, "it is leaving")
    except ValueError as problem:  # the engine cannot: another client speaks with it already
        reset(session, stream, REFUSED, str(problem))


def _open_at(
    native: Native, session: NativeSession, stream: int, target: NativeSession, service: str, credit: int
) -> None:
    """Open a stream at the target, and join both."""
    number = native.switch.next_stream(target.member_id)
    source = {"id": str(session.client_id), "name": session.name}
    payload = to_json({"from": source, "service": service, "credit": credit})
    if not target.send(number, OPEN, payload):
        reset(session, stream, OVERLOADED, "its queue is full")
        return
    try:
        native.switch.link(session.way, stream, target.member_id, number, credit=credit)
    except (jackfield.QueueFull, jackfield.ChannelClosed, ValueError):
        reset(target, number, CANCELLED, "who opened it has ended it already")
        raise


def reset(session: NativeSession, stream: int, code: int, reason: str) -> None:
    """End a stream with a reason."""
    text = reason.encode("utf-8", "replace")[:LONGEST_REASON].decode("utf-8", "ignore").encode()
    session.disown(stream)
    session.send(stream, RESET, code.to_bytes(4, "big") + text)


def find(native: Native, to: int | str) -> Member | None:
    """The connection of the client that is meant: the one with that id, or the newest one of that name."""
    hub = native.hub
    if isinstance(to, int) or (to.isascii() and to.isdigit() and len(to) < 20):
        member = hub.member(int(to)) if int(to) > 0 else None
    else:
        entry = hub.identities.registry.known_as(to)
        newest = native.newest(entry.identity) if entry is not None and entry.identity else None
        if newest is not None:
            return newest.member
        found = hub.by_name(to)
        member = None if found is None else hub.member(found.id)
    if member is None or not member.is_connected or not hub.admission.holds(member.listener_id, member.id):
        return None
    return None if native.greeting.holds(member.id) else member
