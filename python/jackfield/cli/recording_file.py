"""The file that a command records into: Jackfield's own format, or a capture for Wireshark, by its name.

Owns the end of it: the limit of its size, a disk that is full (what is missing is counted, and told in the
file as soon as there is room), and the record that closes it.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Final

from ..recording.decoding import Decoder
from ..recording.file import Appender, RecordingAppender
from ..recording.pcapng import PcapngWriter
from ..recording.records import Lost, Record
from .failures import USAGE, Failure

FORMATS: Final = ("jfrec", "pcapng")
_CLOSING: Final = 256  # bytes that are kept for the record at the end


def format_of(path: str, given: str | None) -> str:
    """The format that was asked for, or that the name says. Raises `Failure`."""
    if given is not None and given not in FORMATS:
        raise Failure(f"unknown format {given!r}", f"known are {' and '.join(FORMATS)}", code=USAGE)
    return given or ("pcapng" if path.endswith(".pcapng") else "jfrec")


class RecordingFile:
    """A recording that is written in chunks of whole records, as they come from a hub or an `Encoder`."""

    def __init__(self, appender: Appender, *, as_capture: bool, limit: int | None = None) -> None:
        self._appender = appender
        self._own = None if as_capture else RecordingAppender(appender)
        self._capture = PcapngWriter() if as_capture else None
        self._decoder = Decoder() if as_capture or limit is not None else None
        self._limit = limit
        self._untold = [0, 0]  # records and bytes that a full disk had no room for, in a capture
        self._blocks = 0  # records that became blocks of a capture
        self._missing = 0
        self.full = False  # the limit is reached: nothing more is written

    @classmethod
    def create(cls, path: str, *, form: str, replace: bool, limit: int | None = None) -> RecordingFile:
        """Open the file at `path`, or standard output for `-`.

        Raises `Failure` for one that is there already.
        """
        as_capture = form == "pcapng"
        if path == "-":
            if sys.stdout.isatty():
                raise Failure("a recording is no text for a terminal", "name a file with -o", code=USAGE)
            return cls(Appender(os.dup(1), "standard output"), as_capture=as_capture, limit=limit)
        try:
            appender = Appender.create(Path(path), replace=replace)
        except FileExistsError:
            raise Failure(f"{path} is there already", "choose another name, or --force") from None
        return cls(appender, as_capture=as_capture, limit=limit)

    @property
    def name(self) -> str:
        return self._appender.name

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._appender.size

    @property
    def records(self) -> int:
        """Records in the file."""
        return self._blocks if self._own is None else self._own.records

    @property
    def missing(self) -> int:
        """Records that a full disk had no room for."""
        return self._missing if self._own is None else self._own.missing

    def write(self, chunk: bytes, *, records: int, data: int) -> None:
        """Append a chunk of `records` records with `data` bytes of clients; as much of it as the limit
        allows.

        Raises OSError as writing does, but for a full disk.
        """
        if self.full:
            return
        if self._capture is not None:
            assert self._decoder is not None
            self._write_capture(self._capture, [record for _, record in self._decoder.feed(chunk)], data)
            return
        if self._limit is not None and self._decoder is not None:
            located = self._decoder.feed(chunk)
            over = self.size + len(chunk) - (self._limit - _CLOSING)
            if over > 0:
                chunk, records = self._cut(chunk, [offset for offset, _ in located], over)
        assert self._own is not None
        if chunk:
            self._own.write(chunk, records=records, data=data, now=time.time_ns())

    def _cut(self, chunk: bytes, offsets: list[int], over: int) -> tuple[bytes, int]:
        """The whole records of a chunk that fit."""
        self.full = True
        if not offsets:
            return b"", 0
        most = len(chunk) - over
        first = offsets[0] if self.size else 0
        fitting = [offset - first for offset in offsets if offset - first <= most]
        return (chunk[: fitting[-1]], len(fitting) - 1) if fitting else (b"", 0)

    def _write_capture(self, capture: PcapngWriter, records: list[Record], data: int) -> None:
        if self._untold[0]:
            # Its comment goes with the next packet, which is the first one that is in the file again.
            lost, size = self._untold
            self._untold = [0, 0]
            capture.feed(Lost(time.time_ns(), lost, size, "the disk was full"))
        blocks: list[bytes] = []
        room = None if self._limit is None else self._limit - _CLOSING - self.size
        for record in records:
            block = capture.feed(record)
            if room is not None:
                room -= len(block)
                if room < 0:
                    self.full = True
                    break
            blocks.append(block)
        if self._appender.write(b"".join(blocks)):
            self._blocks += len(blocks)
        else:
            self._untold[0] += len(blocks)
            self._untold[1] += data
            self._missing += len(blocks)

    def close(self, reason: str | None) -> None:
        """End the file.

        With a `reason` where the record that closes it is still missing. May be called twice.
        """
        try:
            if self._capture is not None:
                self._appender.write(self._capture.finish())
                self._capture = None
            elif reason is not None and self._own is not None:
                self._own.end(reason, time.time_ns())
        finally:
            self._appender.close()
