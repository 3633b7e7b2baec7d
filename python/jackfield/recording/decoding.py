"""The bytes of a recording in, records out: as they come, in pieces of any size.

Pure, and hardened: a file may end anywhere and may be damaged anywhere. What cannot be read is told as
`Damaged`, and reading goes on at the next whole record. No record is looked for inside of what clients
said, as long as the file is whole; in a damaged one nobody can have put any there, since the marker is
random.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any, Final
from zlib import crc32

from . import encoding
from .encoding import COVERED, DATA, DATA_HEAD, FILE_HEADER, HEADER, LONGEST_BODY, MAGIC, TIME
from .records import Client, Damaged, Data, Record

_CLASSES: Final[dict[int, Any]] = {
    number: kind for kind, number in encoding.KINDS.items() if kind is not Data
}
_COMPACT: Final = 1024 * 1024  # bytes that are done with, before they are forgotten


class NotARecording(ValueError):
    """The file is no recording, or one of a later version; the message says which."""


class Decoder:
    """Reads one recording that comes in pieces: `feed` each, then `end`.

    Memory stays within one record (1 MiB) and what was fed. `opened`, `clients` and so on are the caller's
    to keep.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._offset = 0  # of the buffer's beginning, in the file
        self._at = 0  # in the buffer: what is before is done with
        self._marker = b""
        self._damage: int | None = None  # offset in the file at which damage began

    def feed(self, data: bytes) -> list[tuple[int, Record]]:
        """The records that are whole now, each with its offset in the file. Raises `NotARecording`."""
        self._buffer += data
        found = list(self._records(ended=False))
        if self._at > _COMPACT or self._at == len(self._buffer):
            del self._buffer[: self._at]
            self._offset += self._at
            self._at = 0
        return found

    def end(self) -> list[tuple[int, Record]]:
        """The file ends here: what is left of it, `Damaged` where it is not whole. Raises `NotARecording`."""
        found = list(self._records(ended=True))
        rest = len(self._buffer) - self._at
        if self._damage is not None or rest:
            begin = self._offset + self._at if self._damage is None else self._damage
            length = self._offset + len(self._buffer) - begin
            found.append((begin, Damaged(begin, length, truncated=True)))
            self._at, self._damage = len(self._buffer), None
        return found

    @property
    def waiting(self) -> int:
        """Bytes that were fed and are no whole record yet."""
        return len(self._buffer) - self._at

    def _records(self, *, ended: bool) -> Iterator[tuple[int, Record]]:
        if not self._marker and not self._read_header():
            return
        while True:
            length = self._whole(self._at, ended=ended)
            if length is None:
                return  # more must come
            if length == 0:
                # Damaged here; the next record begins with the marker, and is whole.
                if self._damage is None:
                    self._damage = self._offset + self._at
                following = self._buffer.find(self._marker, self._at + 1)
                if following < 0:
                    self._at = max(self._at, len(self._buffer) - len(self._marker) + 1)
                    return
                self._at = following
                continue
            offset = self._offset + self._at
            if self._damage is not None:
                yield self._damage, Damaged(self._damage, offset - self._damage, truncated=False)
                self._damage = None
            record = self._decode(self._at, length)
            self._at += length
            if record is not None:
                yield offset, record

    def _read_header(self) -> bool:
        have = bytes(self._buffer[: FILE_HEADER.size])
        if have[: len(MAGIC)] != MAGIC[: len(have)]:
            raise NotARecording("this is no recording of jackfield: it begins otherwise")
        if len(have) < FILE_HEADER.size:
            return False
        _, version, _, self._marker = FILE_HEADER.unpack(have)
        if version != encoding.VERSION:
            self._marker = b""
            raise NotARecording(
                f"a recording of version {version}, and version {encoding.VERSION} can be read"
            )
        self._at = FILE_HEADER.size
        return True

    def _whole(self, at: int, *, ended: bool) -> int | None:
        """The length of the record at `at`; 0 where there is none, None where more bytes must tell."""
        have = len(self._buffer) - at
        if have < HEADER.size:
            begun = self._buffer[at : at + len(self._marker)]
            return None if not ended and self._marker.startswith(begun) else 0 if have else None
        marker, kind, flags, reserved, length, check = HEADER.unpack_from(self._buffer, at)
        if marker != self._marker or length > LONGEST_BODY or length < TIME.size:
            return 0
        if have < HEADER.size + length:
            return 0 if ended else None
        with memoryview(self._buffer) as view:
            body = view[at + HEADER.size : at + HEADER.size + length]
            right = crc32(body, crc32(COVERED.pack(kind, flags, reserved, length))) == check
            body.release()
        return HEADER.size + length if right else 0

    def _decode(self, at: int, length: int) -> Record | None:
        return decode_record(bytes(self._buffer[at : at + length]))


def decode_record(whole: bytes) -> Record | None:
    """One record, header and body.

    None for a kind that this version does not know, and for a strange body.
    """
    _, kind, flags, _, length, _ = HEADER.unpack_from(whole)
    body = whole[HEADER.size : HEADER.size + length]
    if kind == DATA:
        if length < DATA_HEAD.size:
            return None
        time, ref, by = DATA_HEAD.unpack_from(body)
        start = DATA_HEAD.size + by
        who = body[DATA_HEAD.size : start].decode("utf-8", "replace")
        return Data(
            time, ref, "out" if flags & encoding.OUT else "in", body[start:], who, bool(flags & encoding.MORE)
        )
    made = _CLASSES.get(kind)
    if made is None:
        return None
    try:
        said: dict[str, Any] = json.loads(body[TIME.size :])
        names = {each.name for each in fields(made)} - {"time"}
        record: Record = made(TIME.unpack_from(body)[0], **{name: said[name] for name in names & said.keys()})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return record if sound(record) else None


def sound(record: Record) -> bool:
    """Whether the fields are what the classes say: a file may be made by anybody."""
    if isinstance(record, Client):
        texts = (record.name, record.protocol, record.local_address, record.remote_address, record.framing)
        numbers = (record.local_port, record.remote_port, record.since, record.pid, record.uid)
        return (
            all(isinstance(text, str) for text in texts)
            and all(isinstance(number, int | None) for number in numbers)
            and isinstance(record.ref, int)
            and isinstance(record.id, int)
        )
    kinds: dict[object, type] = {"int": int, "str": str, "dict[str, Any]": dict}
    return all(
        isinstance(getattr(record, each.name), kinds[each.type])
        for each in fields(record)
        if each.type in kinds
    )
