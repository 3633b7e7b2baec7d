"""What one member said at once, on its way through a room: many messages as one thing.

A flood of messages costs one `Said` for each turn of the loop and member, not an object for each message:
those are made where somebody needs them. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from .room import RECENT, Heard, Seat
from .store import Message, Run

_NUMBER = struct.Struct(">Q")


@dataclass(slots=True, eq=False)
class Said:
    """Messages of one member, whose numbers follow each other, as do their sequences once these are known."""

    room: str
    seat: Seat
    name: str  # the seat's, when it was said
    at: float
    number: int  # of the first
    bodies: Sequence[bytes]
    payloads: list[bytes] | None = None  # each a u64 number and its body, if a native client sent them
    sequence: int = 0  # of the first in the room; 0 until it is stored

    def __len__(self) -> int:
        return len(self.bodies)

    @property
    def size(self) -> int:
        """Bytes of the bodies."""
        return sum(map(len, self.bodies))

    @property
    def last_number(self) -> int:
        return self.number + len(self.bodies) - 1

    @property
    def last_sequence(self) -> int:
        return self.sequence + len(self.bodies) - 1

    def run(self) -> Run:
        """What a store is given."""
        return Run(self.room, self.seat.sender, self.number, self.at, self.name, self.bodies)

    def messages(self, most: int | None = None) -> list[Message]:
        """The messages as a room has them, or only the last ones."""
        start = 0 if most is None else max(0, len(self.bodies) - most)
        return [
            Message(
                self.sequence + at, self.at, self.seat.sender, self.name, self.number + at, self.bodies[at]
            )
            for at in range(start, len(self.bodies))
        ]

    def as_payloads(self) -> list[bytes]:
        """The messages as native clients send and hear them."""
        if self.payloads is not None:
            return self.payloads
        return [_NUMBER.pack(number) + body for number, body in enumerate(self.bodies, self.number)]

    def part(self, at: int, sequence: int) -> Said:
        """One of the messages alone."""
        body = self.bodies[at]
        return Said(self.room, self.seat, self.name, self.at, self.number + at, [body], sequence=sequence)


def each_of(said: Sequence[Said]) -> list[Heard]:
    """Message by message."""
    return [Heard(one.seat.source, message) for one in said for message in one.messages()]


def newest_of(said: Sequence[Said]) -> list[Message]:
    """The last messages, oldest first: as many as a room remembers."""
    found: list[Message] = []
    for one in reversed(said):
        found[:0] = one.messages(RECENT - len(found))
        if len(found) >= RECENT:
            break
    return found
