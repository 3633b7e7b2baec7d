"""One message to all native members of a room: the engine's fan, or a group's broadcast where it has none."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from jackfield.portable import DATA, SHARED, encode

if TYPE_CHECKING:
    from jackfield import Group

    from ..native import Native

_SHARED: Final = struct.Struct(">IQ")


def fan_of(native: Native, stream: int) -> Any:
    """A fan on that stream."""
    make = getattr(native.switch, "fan", None)
    return GroupFan(native.hub.group, stream) if make is None else make(stream)


class GroupFan:
    """What `switch.fan` does, as broadcasts of a group; who is left out is not told."""

    def __init__(self, group: Group, stream: int) -> None:
        self._group = group
        self._stream = stream
        self._members: dict[int, int] = {}

    def add(self, member: int, source: int) -> None:
        self._members[member] = source

    def remove(self, member: int) -> None:
        self._members.pop(member, None)

    def send(self, payload: bytes, *, source: int = 0, sequence: int) -> None:
        whole = _SHARED.pack(source, sequence) + payload
        frame = encode(self._stream, DATA, whole, SHARED)
        self._group.broadcast_nowait(frame, to=list(self._members))
