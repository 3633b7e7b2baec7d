"""Records in, the bytes of a recording out. docs/recording.md describes the format.

Pure: the marker is the caller's random number, times are the records' own.

    file     header, then records
    header   0  8   89 4A 46 52 0D 0A 1A 0A   ("\\x89JFR\\r\\n\\x1a\\n")
             8  2   version, 1
            10  2   0
            12  4   marker: four random bytes, the same before every record of this file
    record   0  4   marker
             4  1   kind
             5  1   flags
             6  2   0
             8  4   length of the body
            12  4   CRC-32 of the bytes 4 to 11 and the body
            16      body

All numbers are little endian. A body begins with the time, 64 bits, in nanoseconds since 1970. Behind it,
data has 32 bits `ref`, 8 bits length of `by`, `by`, and the bytes; every other kind has a JSON object.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final
from zlib import crc32

from .records import Client, Closed, Damaged, Data, Happened, Left, Lost, Opened, Record

MAGIC: Final = b"\x89JFR\r\n\x1a\n"
VERSION: Final = 1
FILE_HEADER: Final = struct.Struct("<8sHH4s")
MARKER_LENGTH: Final = 4
HEADER: Final = struct.Struct("<4sBBHII")
COVERED: Final = struct.Struct("<BBHI")  # what the CRC covers of a record's header
TIME: Final = struct.Struct("<q")
DATA_HEAD: Final = struct.Struct("<qIB")

_CHECKED: Final = struct.Struct("<BBHIqIB")  # COVERED and DATA_HEAD
_DATA_RECORD: Final = struct.Struct("<4sBBHIIqIB")  # HEADER and DATA_HEAD

KINDS: Final[dict[type, int]] = {Opened: 1, Client: 2, Data: 3, Left: 4, Lost: 5, Happened: 6, Closed: 7}
DATA: Final = KINDS[Data]
OUT: Final = 1  # flags of data
MORE: Final = 2

PIECE: Final = 1024 * 1024  # bytes of one message in one record
LONGEST_BODY: Final = PIECE + 64 * 1024
_LONGEST_TEXT: Final = 4096  # characters of one text in a JSON body


class Encoder:
    """Makes the bytes of one file. `marker` is four random bytes that nobody else knows beforehand."""

    __slots__ = ("_marker",)

    def __init__(self, marker: bytes) -> None:
        if len(marker) != MARKER_LENGTH:
            raise ValueError(f"a marker has {MARKER_LENGTH} bytes, and not {len(marker)}")
        self._marker = marker

    def header(self) -> bytes:
        """What a file begins with."""
        return FILE_HEADER.pack(MAGIC, VERSION, 0, self._marker)

    def encode(self, record: Record) -> bytes:
        """One record; `Data` longer than a piece comes out as several. Raises TypeError for `Damaged`."""
        if isinstance(record, Data):
            return b"".join(
                self.data(record.time, record.ref, record.direction == "out", piece, record.by, more=more)
                for piece, more in pieces(record.data, more=record.more)
            )
        if isinstance(record, Damaged):
            raise TypeError("what is damaged cannot be written again")
        facts = {each.name: getattr(record, each.name) for each in fields(record) if each.name != "time"}
        body = _json(facts)
        if len(body) > PIECE:
            body = _json({name: _shortened(value) for name, value in facts.items()})
        return self._record(KINDS[type(record)], 0, TIME.pack(record.time) + body)

    def data(
        self, time: int, ref: int, out: bool, piece: bytes, by: str = "", *, more: bool = False
    ) -> bytes:
        """A record of at most `PIECE` bytes: the fast way, without an object."""
        flags = (OUT if out else 0) | (MORE if more else 0)
        who = by.encode("utf-8", "backslashreplace")[:255] if by else b""
        length = DATA_HEAD.size + len(who) + len(piece)
        check = crc32(_CHECKED.pack(DATA, flags, 0, length, time, ref, len(who)))
        check = crc32(piece, crc32(who, check) if who else check)
        head = _DATA_RECORD.pack(self._marker, DATA, flags, 0, length, check, time, ref, len(who))
        return head + who + piece if who else head + piece

    def _record(self, kind: int, flags: int, body: bytes) -> bytes:
        length = len(body)
        check = crc32(body, crc32(COVERED.pack(kind, flags, 0, length)))
        return HEADER.pack(self._marker, kind, flags, 0, length, check) + body


def pieces(data: bytes, *, more: bool = False) -> Iterator[tuple[bytes, bool]]:
    """A message in pieces that one record takes, and whether more of it follows."""
    if len(data) <= PIECE:
        yield data, more
        return
    for start in range(0, len(data), PIECE):
        yield data[start : start + PIECE], more or start + PIECE < len(data)


def _json(facts: dict[str, Any]) -> bytes:
    # ensure_ascii: a lone surrogate of an odd file name stays valid.
    return json.dumps(facts, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return value[:_LONGEST_TEXT]
    if isinstance(value, dict):
        return {str(name)[:100]: str(each)[:100] for name, each in list(value.items())[:100]}
    return value
