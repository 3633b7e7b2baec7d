"""Recordings as files: reading one record by record, and appending to one that a full disk cannot damage.

The thin shell over `decoding` and `encoding`; what the bytes mean is theirs.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from .capture import CaptureDecoder
from .decoding import Decoder
from .encoding import FILE_HEADER, MARKER_LENGTH, Encoder
from .pcapng import SECTION
from .records import Closed, Lost, Record

READ_AT_ONCE: Final = 1024 * 1024
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def read(path: str | os.PathLike[str]) -> Iterator[Record]:
    """Every record of a recording, in the order of the file; what cannot be read comes as `Damaged`.

    A capture that was made of a recording (pcapng) is read as well: see docs/recording.md for what it has
    less.

    Raises `NotARecording` (a ValueError) for another kind of file, and OSError as `open` does. A recording
    that is still being written is read as far as it goes.
    """
    for _, record in read_located(path):
        yield record


def read_located(path: str | os.PathLike[str]) -> Iterator[tuple[int, Record]]:
    """As `read`, each record with its offset in the file."""
    with open(path, "rb", buffering=0) as file:
        data = file.read(READ_AT_ONCE)
        decoder = decoder_of(data)
        while data:
            yield from decoder.feed(data)
            data = file.read(READ_AT_ONCE)
    yield from decoder.end()


def decoder_of(beginning: bytes) -> Decoder | CaptureDecoder:
    """What reads a file that begins so: a recording, or a capture (pcapng) that was made of one."""
    return CaptureDecoder() if beginning[:4] == SECTION.to_bytes(4, "little") else Decoder()


class Appender:
    """A file, or a pipe, that whole records are appended to.

    What a full disk has no room for is cut off again, so that the file ends with a whole record; `write`
    tells, and the caller says later how much is missing.
    """

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self.name = name
        self.size = 0  # bytes written
        self._regular = False
        with suppress(OSError):
            os.lseek(fd, 0, os.SEEK_CUR)
            self._regular = True

    @classmethod
    def create(cls, path: Path, *, replace: bool = False, mode: int = 0o666) -> Self:
        """A new file; what is no regular file (a pipe, /dev/stdout) is opened as it is.

        Raises FileExistsError unless it may be replaced, and OSError as os.open does.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY
        if path.exists() and not path.is_file():
            return cls(os.open(path, flags, mode), str(path))
        return cls(os.open(path, flags | (os.O_TRUNC if replace else os.O_EXCL), mode), str(path))

    def write(self, data: bytes) -> bool:
        """Append it whole; False when the disk is full, and then nothing of it is in the file.

        Raises OSError for anything else, BrokenPipeError when nobody reads a pipe any more.
        """
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError as problem:
            if problem.errno not in NO_ROOM or not self._regular:
                raise
            os.ftruncate(self._fd, self.size)
            os.lseek(self._fd, self.size, os.SEEK_SET)
            return False
        self.size += len(data)
        return True

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        """Close the file. May be called twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class RecordingAppender:
    """A recording that is appended to in chunks of whole records.

    What a full disk has no room for is counted, and a `Lost` record tells it before what is written next.
    `missing` are these records in all, `records` those that are in the file.
    """

    def __init__(self, appender: Appender) -> None:
        self._appender = appender
        self._header = b""
        self._untold = [0, 0]  # records and bytes
        self.records = 0
        self.missing = 0

    @property
    def name(self) -> str:
        return self._appender.name

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._appender.size

    def missing_before(self, records: int, data: int) -> None:
        """So much is missing before what is written next, and no fault of this file."""
        self._untold[0] += records
        self._untold[1] += data

    def write(self, chunk: bytes, *, records: int, data: int, now: int) -> bool:
        """Append `records` records with `data` bytes of clients; the first chunk begins with the file's
        header.

        False when the disk is full. Raises OSError for anything else.
        """
        if not self._header:
            self._header, chunk = chunk[: FILE_HEADER.size], chunk[FILE_HEADER.size :]
        told = b""
        if self._untold[0]:
            lost = Lost(now, self._untold[0], self._untold[1], "the disk was full")
            told = Encoder(self._header[-MARKER_LENGTH:]).encode(lost)
        header = b"" if self.size else self._header
        if self._appender.write(header + told + chunk if header or told else chunk):
            self.records += records
            self._untold = [0, 0] if told else self._untold
            return True
        self.missing_before(records, data)
        self.missing += records
        return False

    def end(self, reason: str, now: int) -> None:
        """Write the record that closes the file, if there is one."""
        if self._header:
            closed = Closed(now, reason, self.records, self.missing)
            encoded = Encoder(self._header[-MARKER_LENGTH:]).encode(closed)
            self.write(encoded, records=1, data=0, now=now)

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._appender.close()
