"""Native clients as members: what they publish, what they are told, and how they catch up.

Owns a `Place` for each session in each room, and the fan of each room. Rules: a place grants credit and takes
no more than that; what is stored is acknowledged once per group; a member that the fan had to leave out is
told so (`room_behind`) and is back in the fan once it has read up to what everyone was told. In a room that
is not durable the engine grants credit; as long as all members are native it also passes on what they say,
and the room asks it for the last messages when somebody wants them.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import jackfield
from jackfield.portable import CREDIT as CREDIT_FRAME
from jackfield.portable import DATA, FRAME_COST, Frame, to_json

from ..native.follower import Follower
from .room import CREDIT, FORBIDDEN, LONGEST_BODY, RECENT, VIEWS, News, Room, RoomError, Seat
from .rows import pages, said_as
from .said import Said
from .searching import SEARCHING
from .store import Message

if TYPE_CHECKING:
    from jackfield import Fan

    from ..client import Client
    from ..native import Native
    from ..native.session import NativeSession
    from .rooms import Rooms

TELL_AGAIN: Final = 0.1  # seconds after which one that could not be told is told again
PLACES: Final = "rooms"  # in a session's `extra`

_NUMBER: Final = struct.Struct(">Q")
_STORED: Final = struct.Struct(">QQ")


@dataclass(slots=True, eq=False)
class Place:
    """One session in one room. `owed` is credit that it has used and not been given back."""

    session: NativeSession
    room: Room
    seat: Seat
    owed: int = 0
    waiting: int = 0  # bytes, in frames, of what is not stored yet
    acknowledged: tuple[int, int] = (0, 0)  # what it was told of last as stored: its number, the room's
    behind: bool = False  # it is not in the fan, and has to read
    # While its client is away: the first source that it does not know, and what it knows the room is about.
    known: tuple[int, str] = (0, "")


class NativeMembers(Follower):
    """The native members of one hub's rooms: an `Outlet` for them."""

    kind = "native"

    def __init__(self, rooms: Rooms, native: Native) -> None:
        self._rooms = rooms
        self._native = native
        self._places: dict[str, dict[int, Place]] = {}  # room -> source -> place
        self._streams: dict[str, int] = {}
        self._fans: dict[str, Fan] = {}
        self._entering: Place | None = None  # who is being let in
        self._untold: dict[Place, int] = {}  # who fell behind and does not know yet, and from where on
        self._telling: asyncio.TimerHandle | None = None
        native.follow(self)

    def close(self) -> None:
        """Tell nobody any more."""
        if self._telling is not None:
            self._telling.cancel()
        for stream in self._streams.values():
            self._native.shared.pop(stream, None)
            self._native.gathered.pop(stream, None)
        for places in self._places.values():
            for place in places.values():
                _places(place.session).pop(place.room.name, None)
        self._places.clear()

    # ---------------------------------------------------------------- coming and going

    def join(self, session: NativeSession, room: Room) -> Place:
        """Let a session in; where it is already it has its place there. Raises `RoomError`."""
        place = _places(session).get(room.name)
        if place is not None:
            return place
        if session.way is None:
            raise RoomError(FORBIDDEN, "this session has ended")
        seat = Seat(
            0, self.kind, session.client_id, session.name, session.sender, self._rooms.hub.clock(),
            role=session.role,
        )  # fmt: skip
        if not session.is_connected:
            seat.state = "away"
        self._entering = place = Place(session, room, seat)
        _places(session)[room.name] = place
        try:
            self._rooms.enter(room, seat)
        except BaseException:
            del _places(session)[room.name]
            raise
        finally:
            self._entering = None
        place.known = seat.source + 1, room.topic
        return place

    def stream_of(self, room: Room) -> int:
        """The number of a room's stream, the same for all of its members."""
        stream = self._streams.get(room.name)
        if stream is None:
            stream = self._streams[room.name] = self._native.new_shared_stream()
            self._native.shared[stream] = lambda session, frame: self._frame(room, session, frame)
            self._native.gathered[stream] = lambda session, payloads: self._frames(room, session, payloads)
            self._fans[room.name] = self._fan(room, stream)
        return stream

    def _fan(self, room: Room, stream: int) -> Fan:
        switch = self._native.switch
        if room.durable:
            return switch.fan(stream)
        fan = switch.fan(stream, publish=True, recent=RECENT, longest=LONGEST_BODY, sequence=room.last)

        def said(after: int) -> list[Message]:
            found = []
            for source, sequence, at, payload in fan.recent(after):
                seat = room.seats.get(source)
                sender, name = (seat.sender, seat.name) if seat is not None else ("", "")
                (number,) = _NUMBER.unpack_from(payload)
                found.append(Message(sequence, at, sender, name, number, payload[_NUMBER.size :]))
            return found

        room.elsewhere = said
        return fan

    def credit_of(self, room: Room) -> int:
        """What a newcomer may send: the engine's to give, or what may be on its way to the store."""
        return CREDIT if room.durable else jackfield.Fan.credit

    def publishes(self, room: Room, *, alone: bool) -> None:
        """Have the engine pass on what is said in a room that is not durable, if its members are `alone`."""
        fan = self._fans.get(room.name)
        if fan is not None:
            fan.publish(on=alone)

    def entered(self, room: Room, seat: Seat) -> None:
        place = self._entering
        if place is None:
            return
        self.stream_of(room)
        self._places.setdefault(room.name, {})[seat.source] = place
        if place.session.is_connected or not room.durable:  # see `paused`
            self._fans[room.name].add(place.session.way, seat.source)

    def left(self, room: Room, seat: Seat, reason: str) -> None:
        inside = self._places.get(room.name, {})
        place = inside.pop(seat.source, None)
        if place is None:
            return
        self._untold.pop(place, None)
        session = place.session
        _places(session).pop(room.name, None)
        with contextlib.suppress(jackfield.ChannelClosed):  # one that is gone is in no fan
            self._fans[room.name].remove(session.held or session.member_id)
        session.push({"type": "room_left", "room": room.name, "members": [_gone(seat, reason)]})
        if not inside:
            del self._places[room.name]
            stream = self._streams.pop(room.name)
            self._native.shared.pop(stream, None)
            self._native.gathered.pop(stream, None)
            room.elsewhere = None
            self._fans.pop(room.name).close()

    # ---------------------------------------------------------------- sessions, as they come and go

    def began(self, session: NativeSession) -> None:
        self._rooms.plain.recognised(session.client_id)

    def paused(self, session: NativeSession, reason: str) -> None:
        for place in list(_places(session).values()):
            # Otherwise the engine keeps its credit, and notes what it misses.
            if place.room.durable:
                self._fans[place.room.name].remove(session.held or session.member_id)
            place.seat.state = "away"
            place.known = 1 + next(reversed(place.room.seats), 0), place.room.topic
            self._rooms.changed(place.room, place.seat)

    def resumed(self, session: NativeSession) -> None:
        self._rooms.plain.recognised(session.client_id)
        for place in list(_places(session).values()):
            place.seat.client, place.seat.state, place.behind = session.client_id, "here", False
            stream = self._streams[place.room.name]
            self._tell_newcomers(place)
            if not place.room.durable:  # the engine has kept it in the fan, and tells what it missed
                self._rooms.changed(place.room, place.seat, name=session.name)
                continue
            self._fans[place.room.name].add(session.member_id, place.seat.source)
            # What was shared while it was away was not kept for it, nor what it was told as stored.
            if place.acknowledged[0]:
                session.send(stream, DATA, _STORED.pack(*place.acknowledged))
            self._done(place, 0)
            self._tell_behind(place, place.room.last)
            self._rooms.changed(place.room, place.seat, name=session.name)

    def _tell_newcomers(self, place: Place) -> None:
        """Tell a member that was away who came meanwhile, and what the room is about."""
        room, came = place.room, []
        for source in reversed(room.seats):
            if source < place.known[0]:
                break
            came.append(room.seats[source].view())
        for some in pages(came, VIEWS):
            place.session.push({"type": "room_joined", "room": room.name, "members": some})
        if room.topic != place.known[1]:
            place.session.push({"type": "room_topic", "room": room.name, "topic": room.topic, "by": ""})

    def renamed(self, client: Client) -> None:
        """A client may have another name, and with it every session of its identity.

        One that is away has it once it is back.
        """
        session = self._native.session_of(client.id)
        if session is None:
            return
        for each in self._native.of_identity(session.identity) or [session]:
            for place in _places(each).values():
                if place.seat.state == "here":
                    self._rooms.rename(place.room, place.seat, each.name)

    def ended(self, session: NativeSession, reason: str) -> None:
        if searching := (session.extra or {}).get(SEARCHING):
            searching.cancel()
        for place in list(_places(session).values()):
            self._rooms.leave(place.room, place.seat, reason)

    # ---------------------------------------------------------------- what they publish

    def _frames(self, room: Room, session: NativeSession, payloads: list[bytes]) -> None:
        """DATA frames that a member sent on the room's stream one after the other."""
        place = _places(session).get(room.name)
        if place is None:
            return
        size = sum(map(len, payloads)) + FRAME_COST * len(payloads)
        said = self._said(room, place, payloads)
        if said is not None and place.waiting + size <= CREDIT:
            with contextlib.suppress(RoomError):  # then each is refused
                self._rooms.publish_many(room, said)
                place.waiting += size if room.durable else 0
                return
        for payload in payloads:
            self._frame(room, session, Frame(self._streams.get(room.name, 0), DATA, 0, payload))

    def _said(self, room: Room, place: Place, payloads: list[bytes]) -> Said | None:
        """What was published, if nothing is wrong with it; None when each has to be looked at."""
        if min(map(len, payloads)) < _NUMBER.size or max(map(len, payloads)) > _NUMBER.size + LONGEST_BODY:
            return None
        unpack, size = _NUMBER.unpack_from, _NUMBER.size
        numbers = [unpack(payload)[0] for payload in payloads]
        first, behind = numbers[0], numbers[0] + len(numbers)
        if not 0 < first < behind <= 2**63 or numbers != list(range(first, behind)):
            return None
        bodies = [payload[size:] for payload in payloads]
        return Said(room.name, place.seat, place.seat.name, self._rooms.hub.clock(), first, bodies, payloads)

    def _frame(self, room: Room, session: NativeSession, frame: Frame) -> None:
        """A frame that a member sent on the room's stream."""
        place = _places(session).get(room.name)
        if place is None or frame.kind != DATA:
            return
        payload = frame.payload
        size = len(payload) + FRAME_COST if room.durable else 0  # else the engine grants credit
        place.waiting += size
        if place.waiting > CREDIT:
            self._rooms.leave(room, place.seat, "it sent more than it was granted")
            return
        number = 0
        try:
            if len(payload) < 8 or frame.flags:
                raise RoomError("bad_frame", "what is published begins with a u64, in one frame")
            number = _NUMBER.unpack_from(payload)[0]
            if not 0 < number < 2**63:
                raise RoomError("bad_frame", f"{number} is no number of a message: they count from 1")
            self._rooms.publish(room, place.seat, number, payload[8:])
        except RoomError as problem:
            self._done(place, size)
            self._refuse(place, number, problem)

    def _done(self, place: Place, size: int) -> None:
        """So much of what it sent is dealt with: it may send as much again."""
        place.waiting -= size
        place.owed += size
        if place.owed >= CREDIT // 4 or (place.owed and not place.waiting):
            credit, place.owed = place.owed, 0
            stream = self._streams[place.room.name]
            if not place.session.send(stream, CREDIT_FRAME, credit.to_bytes(4, "big")):
                place.owed = credit

    def _refuse(self, place: Place, number: int, problem: RoomError) -> None:
        place.session.push(
            {"type": "room_refused", "room": place.room.name, "sequence": number, "code": problem.code,
             "message": problem.message}
        )  # fmt: skip

    # ---------------------------------------------------------------- as an outlet

    def heard(self, room: Room, said: Sequence[Said]) -> None:
        fan = self._fans.get(room.name)
        if fan is not None:
            for one in said:
                fan.send_many(one.as_payloads(), source=one.seat.source, sequence=one.sequence)

    def stored(self, room: Room, seat: Seat, number: int, sequence: int, size: int) -> None:
        place = self._places.get(room.name, {}).get(seat.source)
        if place is None:
            return
        if number > place.acknowledged[0]:
            place.acknowledged = (number, sequence)
        if place.session.is_connected:  # else it is told of the last one when it is back
            place.session.send(self._streams[room.name], DATA, _STORED.pack(*place.acknowledged))
        self._done(place, size)

    def delayed(self, room: Room, seat: Seat, reason: str) -> None:
        """A native member sees that it is not acknowledged."""

    def not_stored(self, room: Room, seat: Seat, number: int, size: int, problem: RoomError) -> None:
        place = self._places.get(room.name, {}).get(seat.source)
        if place is not None:
            self._refuse(place, number, problem)
            self._done(place, size)

    def news(self, room: Room, news: News) -> None:
        came = [seat.view() for seat in news.came.values()]
        changed = [seat.view() for seat, _ in news.changed.values()]
        gone = [_gone(seat, reason) for seat, reason in news.went.values()]
        for kind, views in (("room_joined", came), ("room_changed", changed), ("room_left", gone)):
            for some in pages(views, VIEWS):
                self._tell(room, {"type": kind, "room": room.name, "members": some})

    def topic(self, room: Room, by: str) -> None:
        self._tell(room, {"type": "room_topic", "room": room.name, "topic": room.topic, "by": by})

    def private(self, to: Seat, room: Room, at: float, name: str, body: bytes) -> None:
        place = self._places.get(room.name, {}).get(to.source)
        if place is not None:
            event = {"type": "room_private", "room": room.name, "from": name, "at": at, **said_as(body)}
            place.session.push(event)

    def _tell(self, room: Room, event: dict[str, Any]) -> None:
        payload = to_json(event)
        for place in self._places.get(room.name, {}).values():
            place.session.tell(payload)

    # ---------------------------------------------------------------- who falls behind

    def fell_behind(self, member_id: int, stream: int, sequence: int) -> None:
        """The fan left a member out, from that sequence on."""
        session = self._native.sessions.get(member_id)
        if session is None:
            return
        for place in _places(session).values():
            if self._streams.get(place.room.name) == stream and not place.behind:
                place.behind = True
                self._tell_behind(place, sequence)

    def _tell_behind(self, place: Place, sequence: int) -> None:
        event = {"type": "room_behind", "room": place.room.name, "sequence": sequence}
        if place.session.is_connected and not place.session.push(event):
            self._untold[place] = min(sequence, self._untold.get(place, sequence))
            if self._telling is None:
                self._telling = asyncio.get_running_loop().call_later(TELL_AGAIN, self._tell_again)

    def _tell_again(self) -> None:
        self._telling = None
        untold, self._untold = self._untold, {}
        for place, sequence in untold.items():
            self._tell_behind(place, sequence)

    def has_read(self, session: NativeSession, room: Room, sequence: int) -> None:
        """A member has read up to there: if nothing else was told to the room yet, it is told again."""
        place = _places(session).get(room.name)
        if place is not None and place.behind and sequence >= room.last and session.is_connected:
            place.behind = False
            self._fans[room.name].add(session.member_id, place.seat.source)

    def rooms_of(self, session: NativeSession) -> list[Room]:
        """Where a session is."""
        return [place.room for place in _places(session).values()]

    def place_of(self, session: NativeSession, room: Room) -> Place:
        """Where a session is in a room. Raises `RoomError` when it is not there."""
        place = _places(session).get(room.name)
        if place is None:
            raise RoomError(FORBIDDEN, f"you are not in {room.name}", "join it first")
        return place


def _places(session: NativeSession) -> dict[str, Place]:
    """Where a session is, by room."""
    if session.extra is None:
        session.extra = {}
    found: dict[str, Place] = session.extra.setdefault(PLACES, {})
    return found


def _gone(seat: Seat, reason: str) -> dict[str, Any]:
    return {"source": seat.source, "name": seat.name, "reason": reason}
