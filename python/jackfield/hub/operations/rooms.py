"""Rooms for operators: which there are and who is in them, what was said, and taking part."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, Final

from ..protocol import BAD_REQUEST, FAILED, REFUSED, Request, RequestError
from ..rooms.chatting import WELCOME_HISTORY, Chat, reader
from ..rooms.keeping import delete_all_of
from ..rooms.lines import MOST_HISTORY
from ..rooms.room import VIEWS, RoomError, retention_document, retention_of
from ..rooms.rows import fitting, row
from ..rooms.store import Cursor

if TYPE_CHECKING:
    from ..rooms.rooms import Rooms
    from ..session import Session

MOST_READ: Final = 1000  # messages in one answer
Work = Callable[["Rooms", "Session", Request], Awaitable[dict[str, Any] | None]]
Operation = Callable[["Session", Request], Awaitable[dict[str, Any] | None]]


def _operation(work: Work) -> Operation:
    """An operation on the hub's rooms."""

    @wraps(work)
    async def operation(session: Session, request: Request) -> dict[str, Any] | None:
        from ..rooms.rooms import Rooms

        rooms = session.hub.part(Rooms)
        if rooms is None:
            raise RequestError(FAILED, "this hub has no rooms")
        try:
            return await work(rooms, session, request)
        except RoomError as problem:
            code = BAD_REQUEST if problem.code == BAD_REQUEST else REFUSED
            raise RequestError(code, problem.message, hint=problem.hint) from problem

    return operation


async def room_list(rooms: Rooms, session: Session, request: Request) -> dict[str, Any]:
    """The rooms; `maker` is the origin of the client that made one, empty for an operator's."""
    found = sorted(rooms, key=lambda room: room.name)
    return {"rooms": [{**room.view(), "maker": room.maker} for room in found]}


async def room_members(rooms: Rooms, session: Session, request: Request) -> dict[str, Any]:
    room = rooms.find(request.text("room"))
    after = request.integer("after", 0)
    found = [seat for seat in room.seats.values() if seat.source > after]
    more = {"next": found[VIEWS - 1].source} if len(found) > VIEWS else {}
    return {"members": [seat.view() for seat in found[:VIEWS]], "count": len(room.seats), **more}


async def room_create(rooms: Rooms, session: Session, request: Request) -> dict[str, Any]:
    room = rooms.create(
        request.text("room"),
        made_by=session.who,
        durable=not request.flag("ephemeral"),
        topic=request.text("topic", ""),
        open_to_plain=request.flag("open"),
    )
    await rooms.ready(room)
    await session.hub.state.flush()
    return room.view()


async def room_topic(rooms: Rooms, session: Session, request: Request) -> dict[str, Any]:
    room = rooms.find(request.text("room"))
    if "topic" in request.arguments:
        rooms.set_topic(room, request.text("topic"), by=session.who)
        await session.hub.state.flush()
    return {"room": room.name, "topic": room.topic}


async def room_open(rooms: Rooms, session: Session, request: Request) -> dict[str, Any]:
    """Let plain clients of any listener in, or no more."""
    room = rooms.find(request.text("room"))
    room.open_to_plain = request.flag("open")
    rooms.save(room)
    session.hub.log("room_opened", room=room.name, open=room.open_to_plain, by=session.who)
    await session.hub.state.flush()
    return room.view()


async def room_retention(rooms: Rooms, session: Session, request: Request) -> dict[str, Any]:
    """How much is kept: what is given replaces all of it."""
    room = rooms.find(request.text("room"))
    given = {name: request.arguments.get(name) for name in ("age", "count", "bytes")}
    if not room.durable:
        raise RoomError(BAD_REQUEST, f"{room.name} keeps nothing on disk")
    if any(value is not None for value in given.values()) or request.flag("all"):
        try:
            room.retention = retention_of(given)
        except (TypeError, ValueError) as problem:
            raise RequestError(BAD_REQUEST, f"room_retention: {problem}") from problem
        rooms.save(room)
        session.hub.log("room_retention", room=room.name, by=session.who, **_numbers(given))
        await session.hub.state.flush()
        gone = await rooms.retain(room)
    else:
        gone = 0
    return {"room": room.name, "deleted": gone, **retention_document(room.retention)}


def _numbers(given: dict[str, Any]) -> dict[str, int | float]:
    return {name: value for name, value in given.items() if value is not None}


async def room_delete(rooms: Rooms, session: Session, request: Request) -> dict[str, Any]:
    """Delete one room, or all that clients of the origin `maker` have made."""
    maker = request.text("maker", "")
    if maker:
        names = await delete_all_of(rooms, maker, by=session.who)
        await session.hub.state.flush()
        return {"maker": maker, "rooms": names}
    room = rooms.find(request.text("room"))
    members = await rooms.delete(room, by=session.who)
    await session.hub.state.flush()
    return {"room": room.name, "members": members}


async def room_kick(rooms: Rooms, session: Session, request: Request) -> dict[str, Any]:
    room = rooms.find(request.text("room"))
    name = request.text("name")
    rooms.member(room, name)
    seats = room.named(name)
    for seat in seats:
        rooms.kick(room, seat, by=session.who)
    return {"room": room.name, "kicked": [seat.name for seat in seats]}


async def room_read(rooms: Rooms, session: Session, request: Request) -> dict[str, Any]:
    """Messages after a sequence, or the `last` ones."""
    room = rooms.find(request.text("room"))
    last = request.integer("last", 0, most=MOST_READ)
    after = max(0, room.last - last) if last else request.integer("after", 0)
    page = await rooms.read(room, after, request.integer("limit", last or 100, least=1, most=MOST_READ))
    rows = [row(message) for message in page.messages]
    reached = rows[-1][0] if rows else after
    return {"messages": rows, "behind": max(0, page.last - reached), "first": page.first, "last": page.last}


async def room_search(rooms: Rooms, session: Session, request: Request) -> dict[str, Any]:
    name = request.text("room", "")
    wanted = [rooms.find(name)] if name else list(rooms)
    limit = request.integer("limit", 50, least=1, most=MOST_READ)
    found = await rooms.search(request.text("text"), rooms=wanted, limit=limit, who=f"operator:{session.who}")
    rows = fitting(([room, *row(message)] for room, message in found), limit, size=4_000_000)
    return {"messages": list(rows)}


async def room_chat(rooms: Rooms, session: Session, request: Request) -> None:
    """Take part until the request is cancelled: see `hub/protocol.py` for the events."""
    room = rooms.find(request.text("room"))
    await rooms.ready(room)
    name, last = request.text("name"), request.integer("last", WELCOME_HISTORY, most=MOST_HISTORY)
    seen = await rooms.cursor(room, reader(name))
    rooms.chatting.begin(session, request.id, room, name, last=last, seen=seen)
    session.hub.log("room_entered", room=room.name, name=name, by=session.who)


async def room_say(rooms: Rooms, session: Session, request: Request) -> dict[str, Any]:
    body = (
        request.data("data")
        if "data" in request.arguments
        else request.text("text").encode("utf-8", "replace")
    )
    return {"number": rooms.chatting.say(_chat(rooms, session, request), body)}


async def room_private(rooms: Rooms, session: Session, request: Request) -> dict[str, Any]:
    chat = _chat(rooms, session, request)
    seat = rooms.private(
        chat.room, chat.seat, request.text("to"), request.text("text").encode("utf-8", "replace")
    )
    return {"to": seat.name}


async def room_seen(rooms: Rooms, session: Session, request: Request) -> dict[str, Any]:
    """Keep how far the operator of this name has read."""
    chat = _chat(rooms, session, request)
    sequence = request.integer("sequence")
    await rooms.seen(Cursor(chat.room.name, reader(chat.seat.name), sequence))
    return {"sequence": sequence}


def _chat(rooms: Rooms, session: Session, request: Request) -> Chat:
    of = request.integer("of")
    chat = rooms.chatting.chat_of(session, of)
    if chat is None:
        raise RequestError(BAD_REQUEST, f"{request.op}: no room_chat with the id {of} is under way")
    return chat


OPERATIONS: Final[dict[str, Operation]] = {
    work.__name__: _operation(work)
    for work in (
        room_list,
        room_members,
        room_create,
        room_topic,
        room_open,
        room_retention,
        room_delete,
        room_kick,
        room_read,
        room_search,
        room_chat,
        room_say,
        room_private,
        room_seen,
    )
}
