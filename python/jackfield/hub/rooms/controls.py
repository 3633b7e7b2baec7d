"""What native clients ask of rooms: join, leave, topic, rooms, members, read, search, seen, private.

Each is a control of `hub/native/control.py`. What they are refused with is a `RoomError`'s code and message.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from ..native.session import ENDED
from ..protocol import BAD_REQUEST, FAILED, RequestError
from .keeping import maker_of
from .room import NO_SUCH_ROOM, OVERLOADED, VIEWS, Room, RoomError, Seat
from .rows import fitting, row
from .searching import SEARCHING
from .store import Cursor

if TYPE_CHECKING:
    from ..native.control import ControlRequest
    from ..native.session import NativeSession
    from .rooms import Rooms

MOST_READ: Final = 1000  # messages in one answer
MOST_FOUND: Final = 100

Control = Callable[["NativeSession", "ControlRequest"], Awaitable[dict[str, Any] | None]]
Work = Callable[["Rooms", "NativeSession", "ControlRequest"], Awaitable[dict[str, Any]]]


def _control(work: Work) -> Control:
    """A control of what is done with the hub's rooms."""

    @wraps(work)
    async def control(session: NativeSession, request: ControlRequest) -> dict[str, Any]:
        from .rooms import Rooms

        rooms = session.hub.part(Rooms)
        if rooms is None:
            raise RequestError(FAILED, "this hub has no rooms")
        try:
            return await work(rooms, session, request)
        except RoomError as problem:
            raise RequestError(problem.code, problem.message, hint=problem.hint) from problem

    return control


async def join(rooms: Rooms, session: NativeSession, request: ControlRequest) -> dict[str, Any]:
    """Become a member; what the room is, and where to go on."""
    name = request.text("room")
    after = request.arguments.get("after", "now")
    if after not in ("cursor", "now") and (type(after) is not int or after < 0):
        raise RequestError(BAD_REQUEST, 'join: \'after\' must be a sequence, "cursor" or "now"')
    room = rooms.rooms.get(name)
    if room is None:
        room = _create(rooms, session, name, request.arguments.get("create"))
    await rooms.ready(room)
    published = await rooms.published(room, session.sender)
    stored = await rooms.cursor(room, reader(session)) if after == "cursor" else None
    if rooms.rooms.get(name) is not room:
        raise RoomError(NO_SUCH_ROOM, f"room {name} was deleted")
    place = rooms.native.join(session, room)
    start = after if type(after) is int else stored
    return {
        **room.view(),
        "stream": rooms.native.stream_of(room),
        "source": place.seat.source,
        "published": published,
        "cursor": room.last if start is None else min(start, room.last),
        "credit": rooms.native.credit_of(room),
        "count": len(room.seats),
        "members": list(fitting(map(Seat.view, room.seats.values()), VIEWS)),
    }


def _create(rooms: Rooms, session: NativeSession, name: str, wish: Any) -> Room:
    if wish is None:
        return rooms.find(name)
    if not isinstance(wish, dict) or not isinstance(wish.get("topic", ""), str):
        raise RequestError(BAD_REQUEST, "join: 'create' must be an object with 'durable' and 'topic'")
    durable = wish.get("durable", True)
    if not isinstance(durable, bool):
        raise RequestError(BAD_REQUEST, "join: 'durable' must be true or false")
    return rooms.create(
        name,
        made_by=session.name,
        maker=maker_of(session),
        durable=durable,
        topic=wish.get("topic", ""),
        lasting=durable,
    )


async def leave(rooms: Rooms, session: NativeSession, request: ControlRequest) -> dict[str, Any]:
    room = rooms.find(request.text("room"))
    rooms.leave(room, rooms.native.place_of(session, room).seat, "")
    return {"room": room.name}


async def topic(rooms: Rooms, session: NativeSession, request: ControlRequest) -> dict[str, Any]:
    room = rooms.find(request.text("room"))
    place = rooms.native.place_of(session, room)
    if "topic" in request.arguments:
        rooms.set_topic(room, request.text("topic"), by=place.seat.name)
    return {"room": room.name, "topic": room.topic}


async def list_(rooms: Rooms, session: NativeSession, request: ControlRequest) -> dict[str, Any]:
    """The rooms behind `after`, by name; `next` is where the next page begins."""
    after = request.text("after", "")
    found = sorted((room for room in rooms if room.name > after), key=lambda room: room.name)
    page = list(fitting((room.view() for room in found), MOST_READ))
    return {"rooms": page, **({"next": page[-1]["room"]} if len(page) < len(found) else {})}


async def members(rooms: Rooms, session: NativeSession, request: ControlRequest) -> dict[str, Any]:
    """The members behind a source; `next` is where the next page begins."""
    room = rooms.find(request.text("room"))
    rooms.native.place_of(session, room)
    after = request.integer("after", 0)
    found = [seat for seat in room.seats.values() if seat.source > after]
    page = list(fitting(map(Seat.view, found), VIEWS))
    more = {"next": page[-1]["source"]} if len(page) < len(found) else {}
    return {"members": page, "count": len(room.seats), **more}


async def read(rooms: Rooms, session: NativeSession, request: ControlRequest) -> dict[str, Any]:
    """What was said after a sequence, as much as fits; `behind` is how many more there are."""
    room = rooms.find(request.text("room"))
    rooms.native.place_of(session, room)
    after = request.integer("after", 0)
    page = await rooms.read(room, after, request.integer("limit", 100, least=1, most=MOST_READ))
    rows = list(fitting(map(row, page.messages), MOST_READ))
    reached = rows[-1][0] if rows else after
    if not rows or len(rows) == len(page.messages):
        rooms.native.has_read(session, room, reached)
    last = max(page.last, room.last)  # the others may have been told more meanwhile
    return {"messages": rows, "behind": max(0, last - reached), "first": page.first, "last": last}


async def search(rooms: Rooms, session: NativeSession, request: ControlRequest) -> dict[str, Any]:
    """Messages with these words, newest first, of one room or of all that the client is in."""
    name = request.text("room", "")
    room = rooms.find(name) if name else None
    if room is not None:
        rooms.native.place_of(session, room)
    wanted = [room] if room is not None else rooms.native.rooms_of(session)
    limit, text = request.integer("limit", 20, least=1, most=MOST_FOUND), request.text("text")
    session.extra = session.extra or {}
    if SEARCHING in session.extra:
        raise RoomError(OVERLOADED, "another search of yours is being done", "wait for its answer")
    work = rooms.search(text, rooms=wanted, limit=limit, who=session.origin)
    session.extra[SEARCHING] = searching = asyncio.ensure_future(work)
    try:
        found = await searching
    except asyncio.CancelledError:
        if session.state != ENDED:  # else nobody waits for it any more
            raise
        return {}
    finally:
        session.extra.pop(SEARCHING, None)
    return {"messages": list(fitting(([name, *row(message)] for name, message in found), limit))}


async def seen(rooms: Rooms, session: NativeSession, request: ControlRequest) -> dict[str, Any]:
    """Keep how far this client's identity has read."""
    room = rooms.find(request.text("room"))
    rooms.native.place_of(session, room)
    sequence = request.integer("sequence")
    await rooms.seen(Cursor(room.name, reader(session), sequence))
    return {"room": room.name, "sequence": sequence}


async def private(rooms: Rooms, session: NativeSession, request: ControlRequest) -> dict[str, Any]:
    """Say something to one member alone."""
    room = rooms.find(request.text("room"))
    place = rooms.native.place_of(session, room)
    if "data" in request.arguments:
        try:
            body = base64.b64decode(request.text("data"), validate=True)
        except (binascii.Error, ValueError):
            raise RequestError(BAD_REQUEST, "private: 'data' must be base64") from None
    else:
        body = request.text("text").encode("utf-8", "replace")
    seat = rooms.private(room, place.seat, request.text("to"), body)
    return {"to": seat.name}


def reader(session: NativeSession) -> str:
    """Under what the cursor of a client is kept."""
    return session.identity or session.sender


CONTROLS: Final[dict[str, Control]] = {
    "join": _control(join),
    "leave": _control(leave),
    "topic": _control(topic),
    "rooms": _control(list_),
    "members": _control(members),
    "read": _control(read),
    "search": _control(search),
    "seen": _control(seen),
    "private": _control(private),
}
