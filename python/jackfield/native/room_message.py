"""What one member of a room said, as the others and the hub's answers have it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class RoomMessage:
    """What one member said."""

    sequence: int
    """Its number in the room."""
    at: float
    """Seconds since 1970: when the hub took it, or when it came here where that is not known."""
    name: str
    """Who said it, as the room calls them; empty for one that has left."""
    data: bytes
    source: int = 0
    """The seat of who said it; 0 where it was read from the store."""
    number: int = 0
    """The sender's own count."""
    missed: int = 0
    """How many messages before this one are lost; in a durable room always 0."""

    @property
    def text(self) -> str:
        """The data as text; bytes that are no UTF-8 as replacement characters."""
        return self.data.decode("utf-8", "replace")


def read_row(row: list[Any]) -> RoomMessage:
    """A message as the hub's answers have it."""
    sequence, at, _, name, number, said = row
    data = said.encode() if isinstance(said, str) else base64.b64decode(said["base64"])
    return RoomMessage(int(sequence), float(at), str(name), data, 0, int(number))
