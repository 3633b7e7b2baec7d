"""Which files of a log directory go: what is kept by age and by size. Pure.

File names say when a file began, so that sorting them sorts by time:
`jackfield-20261121T130000.123456Z-4711.jfrec`. Only files that are named so are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

NAME: Final = re.compile(r"jackfield-\d{8}T\d{6}\.\d{6}Z-\d+\.jfrec")
LONGEST_FILE: Final = 64 * 1024 * 1024
SHARE: Final = 8  # a file is at most this part of what is kept
DAY: Final = 86_400


class Kept(NamedTuple):
    """A file that is there: its size in bytes, and when it was last written, in Unix seconds."""

    name: str
    size: int
    written: float


@dataclass(frozen=True, slots=True)
class Keep:
    """What is kept: files written within `age` seconds, of at most `size` bytes in all; None is no limit."""

    age: float | None = None
    size: int | None = None

    @property
    def longest_file(self) -> int:
        """Bytes after which a new file begins."""
        return LONGEST_FILE if self.size is None else min(LONGEST_FILE, max(1, self.size // SHARE))

    def outdated(self, files: Iterable[Kept], now: float, *, current: str = "") -> list[str]:
        """The files that go, oldest first; never the `current` one."""
        ours = sorted((file for file in files if NAME.fullmatch(file.name)), key=lambda file: file.name)
        total = sum(file.size for file in ours)
        gone = []
        for file in ours:
            if file.name == current:
                continue
            too_old = self.age is not None and now - file.written > self.age
            if not too_old and (self.size is None or total <= self.size):
                continue
            gone.append(file.name)
            total -= file.size
        return gone


def file_name(seconds: float, pid: int) -> str:
    """The name of a file that begins at a time."""
    return f"jackfield-{datetime.fromtimestamp(seconds, UTC):%Y%m%dT%H%M%S.%f}Z-{pid}.jfrec"


class Rolling:
    """When a new file begins: behind `longest` bytes, and with each day (UTC)."""

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._day: int | None = None

    def __call__(self, written: int, now: int) -> bool:
        """Whether to begin a new one, with so many bytes in the current one, `now` in nanoseconds."""
        day = now // (DAY * 1_000_000_000)
        first, self._day = self._day is None, day if self._day is None else self._day
        if written >= self._longest or (not first and day != self._day):
            self._day = day
            return True
        return False
