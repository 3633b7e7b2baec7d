"""Whose letters wait: each sender has a share of the room that there is for all. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .handshake import Refused

MOST_LETTERS: Final = 200_000  # that wait in all
MOST_BYTES: Final = 256 * 1024 * 1024  # of all that waits
LETTERS_OF_ONE: Final = MOST_LETTERS // 20
BYTES_OF_ONE: Final = MOST_BYTES // 20


@dataclass(slots=True)
class Count:
    """So much waits."""

    letters: int = 0
    bytes: int = 0


@dataclass(slots=True)
class _Sender:
    origin: str
    letters: int = 0


class Shares:
    """What waits of whom. A *sender* is the store's; its origin has the share, kept while any waits.

    After a restart the origin is what the sender says of it: the identity that stands before its instance.
    """

    def __init__(self) -> None:
        self.counts: dict[str, Count] = {}  # by origin
        self._senders: dict[str, _Sender] = {}

    def clear(self) -> None:
        """Nothing waits, as far as is known."""
        self.counts.clear()
        self._senders.clear()

    def check(self, sender: str, size: int, origin: str) -> None:
        """Raise `Refused` unless one more letter of so many bytes is within the share."""
        known = self._senders.get(sender)
        count = self.counts.get(origin if known is None else known.origin)
        if count is not None and (count.letters >= LETTERS_OF_ONE or count.bytes + size > BYTES_OF_ONE):
            raise Refused(
                "overloaded",
                f"{count.letters} messages of yours ({count.bytes} bytes) wait for absent clients already",
                "they wait until they are taken, or expire",
            )

    def add(self, sender: str, letters: int, size: int, *, origin: str = "") -> None:
        """So many more letters of a sender wait."""
        known = self._senders.get(sender)
        if known is None:
            known = self._senders[sender] = _Sender(origin or sender.rpartition("/")[0])
        known.letters += letters
        count = self.counts.setdefault(known.origin, Count())
        count.letters += letters
        count.bytes += size

    def remove(self, sender: str, size: int) -> None:
        """A letter waits no more. Does nothing for one that is not known of."""
        known = self._senders.get(sender)
        if known is None:
            return
        known.letters -= 1
        if not known.letters:
            del self._senders[sender]
        count = self.counts[known.origin]
        count.letters -= 1
        count.bytes -= size
        if not count.letters:
            del self.counts[known.origin]
