"""What a console shows: watch, and look, which says what of it is on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .. import protocol, watching
from ..protocol import BAD_REQUEST, Request, RequestError
from ..watcher import MAX_LOG, Watcher

if TYPE_CHECKING:
    from ..server import Hub
    from ..session import Session

EARLIER: Final = 50  # messages that are told again when a conversation is opened


async def watch(session: Session, request: Request) -> None:
    await watching.begin(session, request.id, last=request.integer("last", 50, most=MAX_LOG))


async def look(session: Session, request: Request) -> dict[str, Any]:
    hub = session.hub
    of = request.integer("of")
    opened = _watcher(session, of).look(_ids(request, "seen"), _ids(request, "open"))
    # Looked up before anything is sent: what is said meanwhile is told as new, and must not be told twice.
    bodies = [body for body in (_opening(hub, each) for each in sorted(opened)) if body is not None]
    for body in bodies:
        await watching.send(session, protocol.event(of, body))
    return {}


def _opening(hub: Hub, client_id: int) -> dict[str, Any] | None:
    """What stands at the beginning of a conversation."""
    member = hub.member(client_id)
    if member is None:
        return None
    earlier = [
        {"at": round(when, 3), "heard": protocol.encode_data(data)}
        for when, data in hub.memory.of(client_id, EARLIER)
    ]
    return {"open": client_id, "ending": hub.plan_of(member).ending, "earlier": earlier}


def _watcher(session: Session, of: int) -> Watcher:
    part = session.hub.part(watching.Watching)
    watcher = None if part is None else part.watchers.get((id(session), of))
    if watcher is None:
        raise RequestError(BAD_REQUEST, f"look: no watch with the id {of} is under way")
    return watcher


def _ids(request: Request, name: str) -> list[int]:
    ids = request.arguments.get(name, [])
    if not isinstance(ids, list) or not all(type(each) is int and 0 <= each < 2**53 for each in ids):
        raise RequestError(BAD_REQUEST, f"look: {name!r} must be a list of ids")
    return ids


OPERATIONS: Final = {"watch": watch, "look": look}
