"""Operators as members: each `room_chat` request is a seat, and its events are what the room is told.

Owns these seats. An operator that does not read what it asked for is disconnected, as always.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .. import protocol
from .room import VIEWS, News, Room, RoomError, Seat
from .rows import row, said_as
from .said import Said, each_of

if TYPE_CHECKING:
    from ..session import Session
    from .rooms import Rooms

WELCOME_HISTORY: Final = 50  # messages that an operator is shown at first


@dataclass(slots=True, eq=False)
class Chat:
    """One operator in one room: its session, and the request that is told."""

    session: Session
    request: int
    room: Room
    seat: Seat
    number: int = 0  # of what it said last

    def tell(self, body: dict[str, Any]) -> None:
        self.session.push(protocol.event(self.request, body))


def reader(name: str) -> str:
    """Under what it is kept how far an operator of that name has read."""
    return f"operator:{name}"


class Chatting:
    """The operators in a hub's rooms: an `Outlet` for them."""

    kind = "operator"

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._chats: dict[tuple[str, int], Chat] = {}  # by room and source
        self._by_request: dict[tuple[int, int], Chat] = {}  # by session and request
        self._count = 0

    def begin(
        self, session: Session, request: int, room: Room, name: str, *, last: int, seen: int | None
    ) -> None:
        """Let an operator in, and tell it where it is. Raises `RoomError`, `RequestError`."""
        room.check_nick(name)
        self._count += 1
        sender = f"operator/{self._rooms.run}-{self._count}"
        seat = Seat(0, self.kind, 0, name, sender, self._rooms.hub.clock(), role="operator")
        chat = Chat(session, request, room, seat)
        self._by_request[id(session), request] = chat
        history = [row(message) for message in room.recent(last)]
        try:
            self._rooms.enter(room, seat, telling=False)
        except RoomError:
            del self._by_request[id(session), request]
            raise
        members = [each.view() for each in list(room.seats.values())[:VIEWS]]
        began = {"room": room.view(), "source": seat.source, "members": members, "history": history}
        chat.tell(began if seen is None else {**began, "seen": seen})
        session.subscribe(request, lambda: self._rooms.leave(room, seat, ""))
        self._rooms.announce(room, seat)

    def chat_of(self, session: Session, request: int) -> Chat | None:
        """What an operator began with that request, if it is there still."""
        return self._by_request.get((id(session), request))

    def say(self, chat: Chat, body: bytes) -> int:
        """Say something; its number. Raises `RoomError`."""
        self._rooms.publish(chat.room, chat.seat, chat.number + 1, body)
        chat.number += 1
        return chat.number

    # ---------------------------------------------------------------- as an outlet

    def _chat(self, room: Room, seat: Seat) -> Chat | None:
        return self._chats.get((room.name, seat.source))

    def _all(self, room: Room) -> list[Chat]:
        return [chat for chat in self._chats.values() if chat.room is room]

    def entered(self, room: Room, seat: Seat) -> None:
        for chat in self._by_request.values():
            if chat.seat is seat:
                self._chats[room.name, seat.source] = chat
                return

    def left(self, room: Room, seat: Seat, reason: str) -> None:
        chat = self._chats.pop((room.name, seat.source), None)
        if chat is not None:
            self._by_request.pop((id(chat.session), chat.request), None)
            chat.session.forget(chat.request)
            if reason:
                chat.session.push(protocol.ok(chat.request, {"left": reason}))

    def heard(self, room: Room, said: Sequence[Said]) -> None:
        told = {"said": [[*row(each.message), each.source] for each in each_of(said)]}
        for chat in self._all(room):
            chat.tell(told)

    def stored(self, room: Room, seat: Seat, number: int, sequence: int, size: int) -> None:
        chat = self._chat(room, seat)
        if chat is not None:
            chat.tell({"stored": number, "sequence": sequence})

    def delayed(self, room: Room, seat: Seat, reason: str) -> None:
        chat = self._chat(room, seat)
        if chat is not None:
            chat.tell({"problem": f"not stored yet: {reason}; it is tried again"})

    def not_stored(self, room: Room, seat: Seat, number: int, size: int, problem: RoomError) -> None:
        chat = self._chat(room, seat)
        if chat is not None:
            chat.tell({"problem": problem.message})

    def news(self, room: Room, news: News) -> None:
        told: dict[str, Any] = {
            "came": [seat.view() for seat in list(news.came.values())[:VIEWS]],
            "changed": [{**seat.view(), "before": before} for seat, before in news.changed.values()][:VIEWS],
            "left": [{**seat.view(), "reason": reason} for seat, reason in news.went.values()][:VIEWS],
        }
        for chat in self._all(room):
            chat.tell({**told, "count": len(room.seats)})

    def topic(self, room: Room, by: str) -> None:
        for chat in self._all(room):
            chat.tell({"topic": room.topic, "by": by})

    def private(self, to: Seat, room: Room, at: float, name: str, body: bytes) -> None:
        chat = self._chat(room, to)
        if chat is not None:
            chat.tell({"private": {"from": name, "at": at, **said_as(body)}})
