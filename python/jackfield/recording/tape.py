"""Records on their way to a file, in bounded memory: the end that is written on, and the end that is read
off.

Owns what happens when whoever writes the file is slower than what is recorded: new records are left out,
counted, and told by a `Lost` record in their place as soon as there is room again. Pure: times come in with
the records.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from .encoding import Encoder
from .records import Closed, Lost, Opened, Record

INSIDE, BEGINS, ENDS = 0, 1, 2  # a record's place in its file
LIMIT: Final = 8 * 1024 * 1024  # bytes that may wait
SPARE: Final = 1024 * 1024  # and beyond that, for records that are not data of clients
CHUNK: Final = 256 * 1024  # bytes that are taken at once, or one record


class Chunk(NamedTuple):
    """Whole records, to be appended to the file.

    To a new one if it `begins` one. `bytes` are clients' bytes in it.
    """

    data: bytes
    records: int
    bytes: int
    begins: bool
    ends: bool


class Tape:
    """A queue of encoded records. `lost` and `lost_bytes` count what did not fit, since the beginning."""

    def __init__(self, marker: bytes, *, limit: int = LIMIT) -> None:
        self._encoder = Encoder(marker)
        self._limit = limit
        self._records: deque[tuple[bytes, int, int]] = deque()  # encoded, clients' bytes in it, its place
        self._missing = [0, 0]  # records and bytes that are not told of yet
        self._overflown = False
        self.waiting = 0  # bytes
        self.lost = 0
        self.lost_bytes = 0
        self.records = 0  # in this file
        self.written = 0  # bytes in this file

    def begin(self, opened: Opened) -> None:
        """A file begins here, with its header."""
        self.records, self.written = 0, 0
        self._put(self._encoder.header() + self._encoder.encode(opened), 0, BEGINS)

    def data(self, time: int, ref: int, out: bool, piece: bytes, by: str = "", *, more: bool = False) -> bool:
        """Add at most one piece of what a client said or was told; whether there was room."""
        encoded = self._encoder.data(time, ref, out, piece, by, more=more)
        if (self._overflown or self.waiting + len(encoded) > self._limit) and not self._room(
            time, len(encoded), len(piece), self._limit
        ):
            return False
        self._records.append((encoded, len(piece), INSIDE))
        self.waiting += len(encoded)
        self.written += len(encoded)
        self.records += 1
        return True

    def add(self, record: Record, time: int) -> bool:
        """Add any other record; whether there was room. These have some more than data."""
        encoded = self._encoder.encode(record)
        if not self._room(time, len(encoded), 0, self._limit + SPARE):
            return False
        self._put(encoded, 0)
        return True

    def close(self, time: int, reason: str) -> None:
        """This file ends here; there is always room for that."""
        self._tell(time)
        self._put(self._encoder.encode(Closed(time, reason, self.records, self.lost)), 0, ENDS)

    def take(self) -> Chunk | None:
        """What to write next; None when nothing waits."""
        taken: list[bytes] = []
        size = data = 0
        first = last = INSIDE
        while self._records and last != ENDS and not (taken and size >= CHUNK):
            encoded, of_clients, last = self._records.popleft()
            first = first if taken else last
            taken.append(encoded)
            size += len(encoded)
            data += of_clients
        if not taken:
            return None
        self.waiting -= size
        return Chunk(b"".join(taken), len(taken), data, first == BEGINS, last == ENDS)

    def _room(self, time: int, size: int, of_clients: int, limit: int) -> bool:
        # Half of it must be free again, so that one record tells of many that are missing.
        if self.waiting + size > (limit // 2 if self._overflown and of_clients else limit):
            self._overflown = True
            self._missing[0] += 1
            self._missing[1] += of_clients
            self.lost += 1
            self.lost_bytes += of_clients
            return False
        if self._overflown and self.waiting + size <= self._limit // 2:
            self._tell(time)
        return True

    def _tell(self, time: int) -> None:
        if self._overflown:
            records, of_clients = self._missing
            self._missing, self._overflown = [0, 0], False
            lost = Lost(time, records, of_clients, "whoever writes the recording was too slow")
            self._put(self._encoder.encode(lost), 0)

    def _put(self, encoded: bytes, of_clients: int, place: int = INSIDE) -> None:
        self._records.append((encoded, of_clients, place))
        self.waiting += len(encoded)
        self.written += len(encoded)
        self.records += 1
