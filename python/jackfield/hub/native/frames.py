"""Frames of the Jackfield protocol as the hub sees them: eight bytes, then a payload. Pure."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

MAGIC: Final = b"\x8fJACK\r\n\x1a"
LONGEST: Final = 65_536  # bytes of a payload
CONTROL, OPEN, DATA, END, RESET, CREDIT, ACK, PING, PONG = range(9)
MORE: Final = 1  # the message goes on in the next DATA
SHARED: Final = 2  # one-to-many delivery
PER_FRAME: Final = 16  # what a DATA frame costs beside its payload
MOST_CREDIT: Final = 2**31 - 1

# Codes of RESET.
CANCELLED, REFUSED, NO_SUCH_PEER, NO_SUCH_SERVICE, PEER_GONE, OVERLOADED = range(1, 7)
CREDIT_EXCEEDED, STREAM_STATE, TOO_MANY_STREAMS, TIMEOUT, FORBIDDEN = range(7, 12)

_HEADER: Final = struct.Struct(">IBBH")
_U32: Final = struct.Struct(">I")


class Frame(NamedTuple):
    """One frame."""

    stream: int
    kind: int
    flags: int
    payload: bytes


class BadFrame(ValueError):
    """What came is no frame; the message says why."""


def read(message: bytes) -> Frame:
    """The frame in a message. Raises `BadFrame`."""
    if not 8 <= len(message) <= 8 + LONGEST:
        raise BadFrame(f"a frame has 8 to {8 + LONGEST} bytes, and this has {len(message)}")
    stream, kind, flags, reserved = _HEADER.unpack_from(message)
    if kind > PONG or flags & ~(MORE | SHARED) or reserved:
        raise BadFrame(f"kind {kind}, flags {flags}, reserved {reserved}")
    return Frame(stream, kind, flags, message[8:])


def write(stream: int, kind: int, payload: bytes = b"", *, flags: int = 0) -> bytes:
    """A frame as bytes."""
    return _HEADER.pack(stream, kind, flags, 0) + payload


def number(value: int) -> bytes:
    """A u32, as CREDIT and RESET carry it."""
    return _U32.pack(value)


def number_of(payload: bytes) -> int:
    """The u32 at the beginning of a payload; 0 for one too short."""
    return int(_U32.unpack_from(payload)[0]) if len(payload) >= 4 else 0
