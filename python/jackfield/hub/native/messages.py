"""What messages between clients have in them, and the requests that send and acknowledge them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..identity import Entry
from ..protocol import BAD_REQUEST, FAILED, RequestError
from . import streams
from .contents import EXPIRES, LONGEST_WAIT, content_of, data_of

if TYPE_CHECKING:
    from jackfield import Member

    from .control import ControlRequest
    from .part import Native
    from .session import NativeSession


async def message(session: NativeSession, request: ControlRequest) -> dict[str, Any]:
    """A message for one client; without `to` it is said to the hub's operators."""
    mail, native = session.native.mail, session.native
    body = content_of(request)
    to = request.arguments.get("to")
    if to is None:
        native.said(session, data_of(body))
        return {"state": "delivered"}
    if type(to) is not int and not isinstance(to, str):
        raise RequestError(BAD_REQUEST, "message: 'to' must be a name or an id")
    number = request.integer("sequence", least=1)
    expires = request.arguments.get("expires")
    if expires is not None and (type(expires) not in (int, float) or not 0 < expires <= LONGEST_WAIT):
        raise RequestError(BAD_REQUEST, f"message: 'expires' must be seconds, at most {LONGEST_WAIT:.0f}")
    body = {"from": {"id": str(session.client_id), "name": session.name}, **body}
    entry, member = whom(native, to)
    if entry is not None:
        state = await mail.send(
            entry.identity,
            body,
            session=session,
            number=number,
            expires=EXPIRES if expires is None else float(expires),
        )
        return {"state": state}
    if member is None:
        raise RequestError("no_such_peer", f"no client {str(to)[:80]!r} is known")
    target = native.sessions.get(member.id)
    if target is not None:
        return {"state": await mail.send_direct(target, {"at": native.hub.clock(), **body})}
    if not native.hub.tell(member.number, data_of(body), by=f"client:{session.name}", ending=None):
        raise RequestError(FAILED, "its queue is full")
    return {"state": "delivered"}


def whom(native: Native, to: int | str) -> tuple[Entry | None, Member | None]:
    """Who is meant: what is lastingly known of that one, or a connection of which nothing is."""
    member = streams.find(native, to)
    registry = native.hub.identities.registry
    if member is None:
        entry = registry.known_as(to) if isinstance(to, str) else None
        return (entry if entry is not None and entry.identity else None), None
    session = native.sessions.get(member.id)
    if session is None:
        return None, member
    entry = registry.known_as(session.identity) if session.identity else None
    return entry, member


def delivered(session: NativeSession, body: dict[str, Any]) -> None:
    """A client has a message."""
    number = body.get("number")
    if type(number) is int:
        session.native.mail.acknowledged(session, number)


CONTROLS: Final = {"message": message}
NOTES: Final = {"delivered": delivered}
