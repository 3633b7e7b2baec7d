"""One room: who is in it, what it is about, what was said last, and who may do what. Pure.

Owns names of rooms and of their members, seats, and the messages that are remembered without a disk.
Rules: each message of a room has a sequence, one more than the one before; a seat has a source number that
the room gives to nobody else while it exists; memory is bounded by `RECENT`, `RECENT_BYTES` and the limits.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from ..roster import RESERVED, NameRefused, check_name
from .store import Message, Retention

MOST_MEMBERS: Final = 20_000  # of one room
LONGEST_TOPIC: Final = 300  # characters
LONGEST_BODY: Final = 45_000  # bytes of one message: in base64 it fits into one answer with all else
KEPT: Final = Retention(count=1_000_000, bytes=1024**3)  # of a durable room that says nothing else
CREDIT: Final = 1024 * 1024  # bytes that one native member may have on their way to the store
VIEWS: Final = 200  # members in one event or answer
RECENT: Final = 200  # messages that a room remembers without a disk
RECENT_BYTES: Final = 256 * 1024

_ROOM_NAME: Final = re.compile(r"[^\W_][\w.+-]{0,63}")

NO_SUCH_ROOM: Final = "no_such_room"
NO_SUCH_MEMBER: Final = "no_such_member"
BAD_REQUEST: Final = "bad_request"
GAP: Final = "gap"
FORBIDDEN: Final = "forbidden"
NAME_TAKEN: Final = "name_taken"
OVERLOADED: Final = "overloaded"
TOO_BIG: Final = "too_big"


class RoomError(Exception):
    """Something cannot be done with a room; `code` is for programs, the message and `hint` for people."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class Heard(NamedTuple):
    """A message on its way to the members; `source` is the seat that it comes from, 0 for none any more."""

    source: int
    message: Message


@dataclass(slots=True, eq=False)
class Seat:
    """One member's place in one room.

    `kind` is plain, native or operator; `client` the hub's id of it, 0 for an operator; `sender` is who its
    messages are from, lastingly; `state` is here, or away while a native session waits for its client.
    """

    source: int
    kind: str
    client: int
    name: str
    sender: str
    since: float
    state: str = "here"
    role: str = "member"

    def view(self) -> dict[str, Any]:
        """What members and operators are told of it."""
        return {
            "source": self.source,
            "id": str(self.client) if self.client else None,
            "name": self.name,
            "kind": self.kind,
            "state": self.state,
            "role": self.role,
        }


@dataclass(slots=True, eq=False)
class Room:
    """One room. `open_to_plain` says whether programs without a protocol may come in.

    `lasting` rooms are there again after a restart of the hub, with their messages if they are `durable`;
    others end with their last member. `maker` is whose share of rooms it takes, empty for an operator's.
    """

    name: str
    durable: bool = True
    topic: str = ""
    open_to_plain: bool = False
    lasting: bool = True
    made_by: str = ""
    maker: str = ""
    created: float = 0.0
    retention: Retention = field(default=KEPT)
    seats: dict[int, Seat] = field(default_factory=dict)
    # What the members said behind a sequence without the room: it is asked when that matters.
    elsewhere: Callable[[int], Iterable[Message]] | None = None
    _last: int = 0
    _next_source: int = 1
    _recent: deque[Message] = field(default_factory=deque)
    _recent_bytes: int = 0

    # ---------------------------------------------------------------- members

    def enter(self, seat_of: Seat) -> Seat:
        """Give a newcomer its source. Raises `RoomError` when the room is full."""
        if len(self.seats) >= MOST_MEMBERS:
            raise RoomError(OVERLOADED, f"room {self.name} has its {MOST_MEMBERS} members")
        seat_of.source = self._next_source
        self._next_source += 1
        self.seats[seat_of.source] = seat_of
        return seat_of

    def leave(self, seat: Seat) -> bool:
        """Forget a member; whether it was there."""
        return self.seats.pop(seat.source, None) is not None

    def named(self, name: str) -> list[Seat]:
        """Who of the members is called that: exactly, or else but for upper and lower case."""
        exactly = [seat for seat in self.seats.values() if seat.name == name]
        if exactly:
            return exactly
        folded = name.casefold()
        return [seat for seat in self.seats.values() if seat.name.casefold() == folded]

    def check_nick(self, name: str, *, of: Seat | None = None) -> None:
        """Raise `RoomError` unless a member may be called that here."""
        try:
            check_name(name)
        except NameRefused as problem:
            raise RoomError(BAD_REQUEST, str(problem)) from None
        folded = name.casefold()
        if folded in RESERVED:
            raise RoomError(NAME_TAKEN, f"nobody can be called {name!r}")
        for seat in self.seats.values():
            if seat is not of and seat.name.casefold() == folded and (of is None or seat.sender != of.sender):
                raise RoomError(NAME_TAKEN, f"somebody in {self.name} is called {seat.name!r} already")

    def names(self) -> list[str]:
        """The names of all members, each once, as people sort them."""
        return sorted({seat.name for seat in self.seats.values()}, key=str.casefold)

    # ---------------------------------------------------------------- messages

    def number(self, at: float, sender: str, name: str, number: int, body: bytes) -> Message:
        """The next message of a room that has no store."""
        return Message(self.last + 1, at, sender, name, number, body)

    @property
    def last(self) -> int:
        """The sequence of the newest message that members were told."""
        self.catch_up()
        return self._last

    @last.setter
    def last(self, sequence: int) -> None:
        self._last = sequence

    def catch_up(self) -> None:
        """Remember what was said without the room: before a seat that said it is another's, or nobody's."""
        if self.elsewhere is not None:
            self.remember(self.elsewhere(self._last))

    def remember(self, messages: Iterable[Message]) -> None:
        """These were told to the members, in the order of their sequences."""
        recent = self._recent
        for message in messages:
            recent.append(message)
            self._recent_bytes += len(message.body)
        while len(recent) > RECENT or (self._recent_bytes > RECENT_BYTES and len(recent) > 1):
            self._recent_bytes -= len(recent.popleft().body)
        if recent:
            self._last = max(self._last, recent[-1].sequence)

    def recent(self, count: int) -> list[Message]:
        """The last messages, oldest first, as many as are remembered and at most `count`."""
        if count <= 0:
            return []
        self.catch_up()
        return list(self._recent)[-count:]

    def after(self, sequence: int, limit: int) -> list[Message]:
        """What is remembered and came after a sequence."""
        self.catch_up()
        return [message for message in self._recent if message.sequence > sequence][:limit]

    # ---------------------------------------------------------------- views

    def view(self) -> dict[str, Any]:
        """What members and operators are told of the room."""
        return {
            "room": self.name,
            "topic": self.topic,
            "durable": self.durable,
            "open": self.open_to_plain,
            "lasting": self.lasting,
            "members": len(self.seats),
            "last": self.last,
            "made_by": self.made_by,
            "created": self.created,
            "retention": retention_document(self.retention),
        }

    def document(self) -> dict[str, Any]:
        """What of it lasts in the hub's state."""
        return {
            "durable": self.durable,
            "topic": self.topic,
            "open": self.open_to_plain,
            "made_by": self.made_by,
            "maker": self.maker,
            "created": self.created,
            "retention": retention_document(self.retention),
        }

    @classmethod
    def of_document(cls, name: str, document: dict[str, Any]) -> Room:
        """A room as the state has it. Raises KeyError, TypeError, ValueError or `RoomError` for damage."""
        check_room_name(name)
        return cls(
            name,
            durable=bool(document["durable"]),
            topic=check_topic(str(document["topic"])),
            open_to_plain=bool(document["open"]),
            made_by=str(document["made_by"]),
            maker=str(document.get("maker", "")),
            created=float(document["created"]),
            retention=retention_of(document["retention"]),
        )


def retention_document(retention: Retention) -> dict[str, Any]:
    """How much is kept, as JSON holds it."""
    return {"age": retention.age, "count": retention.count, "bytes": retention.bytes}


def retention_of(document: Any) -> Retention:
    """How much is kept, as JSON has it. Raises ValueError or TypeError for nonsense."""
    age, count, size = (document.get(name) for name in ("age", "count", "bytes"))
    for value in (age, count, size):
        if value is not None and (isinstance(value, bool) or not value > 0):
            raise ValueError(f"{value!r} is no limit of what is kept")
    return Retention(
        age=None if age is None else float(age),
        count=None if count is None else int(count),
        bytes=None if size is None else int(size),
    )


def check_room_name(name: str) -> str:
    """The name, if a room can have it. Raises `RoomError`."""
    if _ROOM_NAME.fullmatch(name) is None:
        raise RoomError(
            BAD_REQUEST,
            f"{name[:80]!r} is not a room's name: up to 64 letters, digits and . _ + -, "
            "a letter or digit first",
        )
    return name


def check_topic(topic: str) -> str:
    """The topic, on one line. Raises `RoomError` for one that is too long."""
    topic = " ".join(topic.split())
    if len(topic) > LONGEST_TOPIC:
        raise RoomError(TOO_BIG, f"a topic of {len(topic)} characters is too long: {LONGEST_TOPIC} at most")
    return topic


def check_body(body: bytes) -> bytes:
    """The body, if it can be said. Raises `RoomError`."""
    if len(body) > LONGEST_BODY:
        raise RoomError(
            TOO_BIG, f"a message of {len(body)} bytes is too long for a room: {LONGEST_BODY} at most"
        )
    return body


@dataclass(slots=True)
class News:
    """Who came and went since the members were told last: a flood of them is told at once.

    Whoever came and went within one telling is not told at all.
    """

    came: dict[int, Seat] = field(default_factory=dict)
    went: dict[int, tuple[Seat, str]] = field(default_factory=dict)
    changed: dict[int, tuple[Seat, str]] = field(default_factory=dict)  # with its name before

    def enter(self, seat: Seat) -> None:
        self.came[seat.source] = seat

    def leave(self, seat: Seat, reason: str) -> None:
        self.changed.pop(seat.source, None)
        if self.came.pop(seat.source, None) is None:
            self.went[seat.source] = (seat, reason)

    def change(self, seat: Seat, before: str) -> None:
        if seat.source not in self.came:
            self.changed.setdefault(seat.source, (seat, before))

    def __bool__(self) -> bool:
        return bool(self.came or self.went or self.changed)


def plain_may_enter(room: Room, listener_room: str) -> bool:
    """Whether a program without a protocol may be in a room: its listener's own, and those that are open."""
    return room.open_to_plain or room.name == listener_room


def pages(messages: Sequence[Message], limit: int) -> Iterator[Sequence[Message]]:
    """Slices of at most `limit` bytes of bodies each, and at least one message."""
    start = size = 0
    for at, message in enumerate(messages):
        size += len(message.body)
        if size > limit and at > start:
            yield messages[start:at]
            start, size = at, len(message.body)
    if start < len(messages):
        yield messages[start:]
