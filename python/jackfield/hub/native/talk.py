"""What operators and the hub's parts say to a native client, and what it says to them.

Owns the way between bytes, which is what parts and operators know, and a native client. A client that opened
a stream of the service `talk` to the hub (without `to`) has everything on it, messages of any length both
ways; any other one gets events `message` and answers with requests `message` without `to`. What it says is
heard as that of any client.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import jackfield
from jackfield.portable import CANCELLED, CREDIT, DATA, END, FRAME_COST, MORE, RESET, TOO_MANY_STREAMS, Frame

from . import streams
from .contents import LONGEST, content

if TYPE_CHECKING:
    from .part import Native
    from .session import NativeSession

SERVICE: Final = "talk"
GRANTED: Final = 256 * 1024  # credit that a client has on its stream, kept up as it is used
PIECE: Final = 32 * 1024  # bytes of one frame
KEY: Final = "talk"  # in `NativeSession.extra`


@dataclass(slots=True)
class Talk:
    """A client's stream for what is said."""

    stream: int
    credit: int  # what may be sent to the client
    used: int = 0  # of what was granted to it
    said: bytearray = field(default_factory=bytearray)  # of a message that is not whole


def opened(session: NativeSession, stream: int, body: dict[str, Any]) -> None:
    """A client wants to talk with the hub's operators."""
    if _talk_of(session) is not None:
        streams.reset(session, stream, TOO_MANY_STREAMS, "there is one for talking already")
        return
    session.extra = {**(session.extra or {}), KEY: Talk(stream, body.get("credit", 0))}
    session.own(stream, _frame)
    session.send(stream, CREDIT, GRANTED.to_bytes(4, "big"))


def _talk_of(session: NativeSession) -> Talk | None:
    found: Talk | None = (session.extra or {}).get(KEY)
    return found


def _frame(session: NativeSession, frame: Frame) -> None:
    talk = _talk_of(session)
    if talk is None or talk.stream != frame.stream:
        return
    if frame.kind == CREDIT:
        talk.credit += int.from_bytes(frame.payload[:4], "big")
    elif frame.kind in (RESET, END):
        _end(session)
        if frame.kind == END:
            session.send(frame.stream, END)
    elif frame.kind == DATA:
        _data(session, talk, frame)


def _data(session: NativeSession, talk: Talk, frame: Frame) -> None:
    longest = session.hub.settings.limits.max_message
    talk.said += frame.payload
    talk.used += len(frame.payload) + FRAME_COST
    if len(talk.said) > longest:
        _end(session)
        streams.reset(session, frame.stream, CANCELLED, f"a message is longer than {longest} bytes")
        return
    if talk.used >= GRANTED // 2:
        session.send(frame.stream, CREDIT, talk.used.to_bytes(4, "big"))
        talk.used = 0
    if not frame.flags & MORE:
        said, talk.said = bytes(talk.said), bytearray()
        session.native.said(session, said)


def _end(session: NativeSession) -> None:
    talk = _talk_of(session)
    if talk is not None and session.extra is not None:
        session.extra = {name: value for name, value in session.extra.items() if name != KEY} or None
        session.disown(talk.stream)


def tell(native: Native, session: NativeSession, data: bytes, by: str) -> bool:
    """Say something to a client; whether there was room. Raises `FramingError` for what is too long."""
    talk = _talk_of(session)
    if talk is not None:
        pieces = [data[start : start + PIECE] for start in range(0, len(data), PIECE)] or [b""]
        cost = len(data) + FRAME_COST * len(pieces)
        if talk.credit >= cost:
            talk.credit -= cost
            more = [MORE] * (len(pieces) - 1) + [0]
            # With credit for all of them only a connection that is gone can refuse one.
            return all(
                session.send(talk.stream, DATA, piece, flags=flags)
                for piece, flags in zip(pieces, more, strict=True)
            )
        if len(data) > LONGEST:
            return False
    if len(data) > LONGEST:
        raise jackfield.MessageTooLarge(
            f"{session.name} takes messages of at most {LONGEST} bytes, unless it opens a stream for talking"
        )
    event = {"from": {"id": None, "name": by}, "at": native.hub.clock(), **content(data)}
    return session.push({"type": "message", **event, "number": native.mail.new_number()})
