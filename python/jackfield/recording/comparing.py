"""Whether what is answered now is what was answered then: the first difference, and where.

Pure. On a stream without framing bytes are compared however they are cut; everywhere else message by message.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

BEFORE: Final = 16  # bytes that are shown before the difference
BEHIND: Final = 32

NONE_EXPECTED: Final = "more than was recorded"
NOTHING_CAME: Final = "less than was recorded"
OTHERWISE: Final = "other than was recorded"


class Difference(NamedTuple):
    """The first place at which an answer differs.

    `message` is its number from 1 on, or None on a stream; `offset` counts bytes from the beginning of the
    message or stream. `recorded` and `answered` begin at `shown`, some bytes before it.
    """

    kind: str
    message: int | None
    offset: int
    shown: int
    recorded: bytes
    answered: bytes

    def __str__(self) -> str:
        where = f"byte {self.offset}" + ("" if self.message is None else f" of answer {self.message}")
        return f"{self.kind} at {where}"


class Comparison:
    """Compares answers with the recorded ones, in their order, until the first `difference`."""

    def __init__(self, recorded: Iterator[bytes], *, stream: bool) -> None:
        self._recorded = recorded
        self._stream = stream
        self._rest = b""  # of the recorded stream, not answered yet
        self._before = b""  # the end of what was equal
        self._offset = 0
        self._number = 0
        self.difference: Difference | None = None

    def heard(self, data: bytes) -> None:
        """An answer, or a part of one on a stream."""
        if self.difference is not None:
            return
        if self._stream:
            self._heard_on_stream(data)
            return
        self._number += 1
        recorded = next(self._recorded, None)
        if recorded is None:
            self._differ(NONE_EXPECTED, b"", data, 0)
        elif recorded != data:
            self._differ(OTHERWISE, recorded, data, first_difference(recorded, data))

    def _heard_on_stream(self, data: bytes) -> None:
        while data:
            while not self._rest:
                recorded = next(self._recorded, None)
                if recorded is None:
                    self._differ(NONE_EXPECTED, b"", data, 0)
                    return
                self._rest = recorded
            length = min(len(data), len(self._rest))
            if data[:length] != self._rest[:length]:
                self._differ(
                    OTHERWISE, self._rest, data, first_difference(self._rest[:length], data[:length])
                )
                return
            self._before = (self._before + data[max(0, length - BEFORE) : length])[-BEFORE:]
            self._offset += length
            data, self._rest = data[length:], self._rest[length:]

    def end(self) -> None:
        """No more answers come."""
        if self.difference is not None:
            return
        rest = self._rest if self._stream else b""
        while not rest:
            recorded = next(self._recorded, None)
            if recorded is None:
                return
            rest = recorded
            if not self._stream:
                self._number += 1
                break
        self._differ(NOTHING_CAME, rest, b"", 0)

    def _differ(self, kind: str, recorded: bytes, answered: bytes, at: int) -> None:
        offset = self._offset + at if self._stream else at
        before = self._before if self._stream else b""
        start = max(0, len(before) + at - BEFORE)
        end = len(before) + at + BEHIND
        shown = offset - (len(before) + at - start)
        recorded, answered = (before + recorded)[start:end], (before + answered)[start:end]
        number = None if self._stream else self._number
        self.difference = Difference(kind, number, offset, shown, recorded, answered)


def first_difference(one: bytes, other: bytes) -> int:
    """The first place at which two texts differ; the length of the shorter one if that is all."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
