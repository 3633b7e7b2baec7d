"""Routes and frames over whole messages, in Python: what `Group.switch` does where the engine has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jackfield
from jackfield.portable import ACK, CREDIT, DATA, MAGIC, PEER_GONE, PING, PONG, RESET, Frame, encode

if TYPE_CHECKING:
    from jackfield import Group

End = tuple[int, int]


class StandIn:
    """Frames of the members of one group."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._routes: dict[End, End] = {}
        self._spoken: set[int] = set()  # members that the magic was sent to

    def send(self, member: int, stream: int, kind: int, payload: bytes = b"", *, flags: int = 0) -> None:
        handle = self._group.member(member)
        if handle is None:
            raise jackfield.ChannelClosed("it has left")
        if member not in self._spoken:
            self._spoken.add(member)
            handle.send_nowait(MAGIC)
        handle.send_nowait(encode(stream, kind, payload, flags))

    def own(self, member: int, stream: int) -> None:
        """Frames reach Python anyway."""

    def link(self, a: int, a_stream: int, b: int, b_stream: int) -> None:
        self._routes[a, a_stream] = (b, b_stream)
        self._routes[b, b_stream] = (a, a_stream)
        if not b_stream:
            self.send(a, a_stream, CREDIT, _u32(1 << 20))

    def unlink(self, a: int, a_stream: int, *, code: int | None = None) -> None:
        other = self._routes.pop((a, a_stream), None)
        if other is not None:
            self._routes.pop(other, None)
            for member, stream in ((a, a_stream), other):
                if code is not None and stream:
                    self.send(member, stream, RESET, _u32(code))

    def passes(self, member: int, frame: Frame) -> bool:
        """Whether a frame was passed on, or was for the switch itself."""
        if frame.kind == PING:
            self.send(member, 0, PONG, frame.payload)
        if frame.kind in (PING, PONG, ACK):
            return True
        other = self._routes.get((member, frame.stream))
        if other is None:
            return False
        handle = self._group.member(other[0])
        if handle is None:
            return True
        if other[1]:
            self.send(*other, frame.kind, frame.payload, flags=frame.flags)
        elif frame.kind == DATA:
            handle.send_nowait(frame.payload)
            self.send(member, frame.stream, CREDIT, _u32(len(frame.payload) + 16))
        if frame.kind == RESET:
            self.unlink(member, frame.stream)
        return True

    def said(self, member: int, data: bytes) -> None:
        """A plain member said something, which may be an end of a route."""
        other = self._routes.get((member, 0))
        if other is not None:
            self.send(*other, DATA, data)

    def left(self, member: int) -> None:
        self._spoken.discard(member)
        for end in [each for each in self._routes if each[0] == member]:
            other = self._routes.get(end)
            self.unlink(*end)
            if other is not None and other[1] and self._group.member(other[0]) is not None:
                self.send(*other, RESET, _u32(PEER_GONE))

    def hold(self, member: int) -> Any:
        self.left(member)
        return None


def _u32(value: int) -> bytes:
    return value.to_bytes(4, "big")
