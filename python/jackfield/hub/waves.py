"""Many clients, some at a time: who is next, and when it is enough.

Owns the order of a bulk send: the next wave starts when everyone in the one before has ended, well or not,
and no more start once too many have failed. Pure: results in, whom to send to next out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .text import TextError


class Waves:
    """`ids` in waves of `size` (None: all at once), until `halt_on` of them have failed (None: never)."""

    def __init__(self, ids: Sequence[int], *, size: int | None = None, halt_on: int | None = None) -> None:
        self._ids = ids
        self._size = size or max(1, len(ids))
        self._halt_on = halt_on
        self._begun = 0
        self._open: set[int] = set()
        self.started = 0
        self.failed = 0

    @property
    def count(self) -> int:
        """How many waves there are."""
        return -(-len(self._ids) // self._size)

    @property
    def over(self) -> bool:
        """Whether everyone in the wave that was started last has ended."""
        return not self._open

    @property
    def halted(self) -> bool:
        """Whether so many have failed that nobody else is sent to."""
        return self._halt_on is not None and self.failed >= self._halt_on

    @property
    def more(self) -> bool:
        """Whether another wave will start once this one is over, as things stand."""
        return self._begun < len(self._ids) and not self.halted

    @property
    def not_begun(self) -> Sequence[int]:
        """Who was in no wave yet."""
        return self._ids[self._begun :]

    def next(self) -> Sequence[int]:
        """Start the next wave; nobody when there is none, or while one is not over."""
        if self._open or not self.more:
            return ()
        wave = self._ids[self._begun : self._begun + self._size]
        self._begun += len(wave)
        self._open.update(wave)
        self.started += 1
        return wave

    def ended(self, client_id: int, *, well: bool) -> None:
        """One client of the wave is done with. Does nothing for one that is already."""
        if client_id in self._open:
            self._open.remove(client_id)
            self.failed += not well


def halt_count(text: str, total: int) -> int:
    """How many failures of `total` are meant by `2` or `10%`: at least one. Raises `TextError`."""
    match = re.fullmatch(r"(\d{1,9})(%?)", text.strip())
    if match is None or not int(match[1]) or (match[2] and int(match[1]) > 100):
        raise TextError(
            f"{text[:40]!r} is no number of failures; write how many, such as 2, or a part such as 10%"
        )
    if match[2]:
        return max(1, -(-int(match[1]) * total // 100))
    return int(match[1])
