"""How members of one kind are told what happens in a room.

Owns the contract between a hub's rooms and the ways in which members take part: plain programs, operators,
native clients. An outlet is told once for all of its members in a room, and never waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .room import News, Room, RoomError, Seat
from .said import Said


class Outlet(Protocol):
    """The members of one kind. `kind` is what their seats say."""

    kind: str

    def entered(self, room: Room, seat: Seat) -> None:
        """A member has its seat; what is said from now on goes to it, too."""

    def left(self, room: Room, seat: Seat, reason: str) -> None:
        """A member has lost its seat, whoever took it."""

    def heard(self, room: Room, said: Sequence[Said]) -> None:
        """These messages, in this order, are for all members of the room."""

    def stored(self, room: Room, seat: Seat, number: int, sequence: int, size: int) -> None:
        """All that this member said up to its `number` is stored; that one is `sequence` in the room.

        `size` is how many bytes of bodies and frames that is since it was told last.
        """

    def delayed(self, room: Room, seat: Seat, reason: str) -> None:
        """What this member said is not on disk yet, and tried again."""

    def not_stored(self, room: Room, seat: Seat, number: int, size: int, problem: RoomError) -> None:
        """What this member said as its `number` is refused."""

    def news(self, room: Room, news: News) -> None:
        """Who came, went and changed its name."""

    def topic(self, room: Room, by: str) -> None:
        """The room is about something else now."""

    def private(self, to: Seat, room: Room, at: float, name: str, body: bytes) -> None:
        """Somebody who is called `name` says something to one member alone."""
