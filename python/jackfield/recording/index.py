"""Where in a recording the messages of each connection are, so that many can be said again at a time.

A recording may be longer than memory: of each record its place and time are kept, about 20 bytes, and its
bytes are read again when they are needed.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Final, NamedTuple, Self

from .decoding import decode_record
from .encoding import HEADER, LONGEST_BODY, Encoder
from .file import read, read_located
from .records import Client, Damaged, Data, Direction, Left, Lost, Opened

_OUT: Final = 1
_MORE: Final = 2
_MARKER: Final = bytes(4)


class Message(NamedTuple):
    """One whole message of a recording."""

    time: int
    direction: Direction
    data: bytes


class Track:
    """One connection: who it was, when it began and ended (None: not in the recording), and its messages."""

    def __init__(self, client: Client, load: Callable[[int], bytes]) -> None:
        self.client = client
        self.began = client.time
        self.ended: int | None = None
        self.last = client.time
        self.count = {"in": 0, "out": 0}  # messages
        self.bytes = {"in": 0, "out": 0}
        self._load = load
        self._offsets = array("Q")
        self._flags = bytearray()

    def note(self, offset: int, record: Data) -> None:
        """A record of this connection stands there."""
        self._offsets.append(offset)
        self._flags.append((_OUT if record.direction == "out" else 0) | (_MORE if record.more else 0))
        self.count[record.direction] += not record.more
        self.bytes[record.direction] += len(record.data)
        self.last = record.time

    def messages(self) -> Iterator[Message]:
        """Its messages in order, each whole, read from the file as they are asked for."""
        begun: dict[int, list[bytes]] = {0: [], _OUT: []}
        for offset, flags in zip(self._offsets, self._flags, strict=True):
            record = decode_record(self._load(offset))
            assert isinstance(record, Data)
            pieces = begun[flags & _OUT]
            pieces.append(record.data)
            if not flags & _MORE:
                yield Message(record.time, record.direction, b"".join(pieces))
                pieces.clear()


class Recording:
    """A recording that is read in any order: `tracks` in the order in which they began. A context manager.

    Raises `NotARecording`, and OSError as `open` does. A capture is copied into a temporary file first.
    """

    def __init__(self, path: str) -> None:
        self.role = "server"
        self.tracks: list[Track] = []
        self.lost = 0  # records that were missing when it was recorded
        self.damaged = 0  # bytes
        self._stack = ExitStack()
        try:
            self._file = self._stack.enter_context(_as_recording(path))
            self._read()
        except BaseException:
            self._stack.close()
            raise

    def _read(self) -> None:
        tracks: dict[int, Track] = {}
        for offset, record in read_located(f"/proc/self/fd/{self._file.fileno()}"):
            match record:
                case Opened():
                    self.role = record.role
                case Client():
                    if record.ref not in tracks:
                        tracks[record.ref] = Track(record, self._load)
                    tracks[record.ref].client = record
                case Data() if record.ref in tracks:
                    tracks[record.ref].note(offset, record)
                case Left() if record.ref in tracks:
                    tracks[record.ref].ended = record.time
                case Lost():
                    self.lost += record.records
                case Damaged():
                    self.damaged += record.length
        self.tracks = sorted(tracks.values(), key=lambda track: track.began)

    def _load(self, offset: int) -> bytes:
        return os.pread(self._file.fileno(), HEADER.size + LONGEST_BODY, offset)

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _as_recording(path: str) -> IO[bytes]:
    """The file, or the recording that a capture becomes."""
    file = open(path, "rb", buffering=0)  # noqa: SIM115 - the caller's to close
    try:
        beginning = file.read(4)
        if beginning != b"\x0a\x0d\x0d\x0a":
            return file
        file.close()
        copy = tempfile.TemporaryFile()  # noqa: SIM115
        encoder = Encoder(_MARKER)
        copy.write(encoder.header())
        for record in read(path):
            if not isinstance(record, Damaged):
                copy.write(encoder.encode(record))
        copy.flush()
        return copy
    except BaseException:
        file.close()
        raise
