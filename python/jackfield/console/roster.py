"""The clients that a console shows: one row each, which of them, and in which order.

Owns what a console knows of a client, the words of a filter, and the keys of sorting. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ..hub.roster import short_protocol


class Row:
    """One client: the hub's newest view of it, and what this operator has not read of it.

    `last` is when it spoke, in Unix seconds, 0.0 while it is unknown; `said` is the safe beginning of that.
    One that is absent has a negative `id`, which means nothing outside of this console.
    """

    __slots__ = ("last", "said", "unread", "view")

    def __init__(self, view: dict[str, Any]) -> None:
        self.view = view
        self.unread = 0
        self.last = 0.0
        self.said = ""

    @property
    def id(self) -> int:
        return int(self.view["id"] or -1)

    @property
    def name(self) -> str:
        return str(self.view.get("name", ""))

    @property
    def protocol(self) -> str:
        return short_protocol(str(self.view.get("protocol", "")))

    @property
    def peer(self) -> str:
        return str(self.view.get("peer", ""))

    @property
    def state(self) -> str:
        """`connected`, or `absent` for one that the hub remembers; `conflict` where another has its name."""
        if self.view.get("conflict"):
            return "conflict"
        return str(self.view.get("state", "connected"))

    @property
    def identity(self) -> str:
        """What the client is known by over its connections; empty for one that is not."""
        return str(self.view.get("identity") or "")

    @property
    def tags(self) -> list[str]:
        tags = self.view.get("tags") or ()
        return [str(tag) for tag in tags] if isinstance(tags, (list, tuple)) else [str(tags)]

    @property
    def note(self) -> str:
        return str(self.view.get("note") or "")

    def count(self, name: str) -> int:
        """A counter of the view; 0 where it has none."""
        value = self.view.get(name)
        return value if isinstance(value, int) else 0


# -------------------------------------------------------------------- filter

FILTERS: Final = ("tag:", "state:", "proto:", "name:", "peer:", "unread")


@dataclass(frozen=True, slots=True)
class Filter:
    """Words that must all fit: `tag:door`, `state:absent`, `proto:udp`, `unread`, any text; `-` negates."""

    text: str = ""

    def fits(self, row: Row) -> bool:
        return all(_fits(word, row) for word in self.text.lower().split())

    @property
    def follows_traffic(self) -> bool:
        """Whether what a client says can change the answer."""
        return "unread" in self.text


def _fits(word: str, row: Row) -> bool:
    if word.startswith("-") and len(word) > 1:
        return not _fits(word[1:], row)
    kind, colon, wanted = word.partition(":")
    if colon and wanted:
        match kind:
            case "tag":
                return any(wanted in tag.lower() for tag in row.tags)
            case "state":
                return row.state.startswith(wanted)
            case "proto":
                return row.protocol.startswith(wanted) or str(row.view.get("protocol", "")).startswith(wanted)
            case "name":
                return wanted in row.name.lower()
            case "peer":
                return wanted in row.peer.lower()
    if word == "unread":
        return row.unread > 0
    if word.isdigit():  # a number within an address means nothing
        return word == str(row.id) or word in row.name
    texts = (row.name, row.peer, row.note, *row.tags)
    return any(word in text.lower() for text in texts)


# -------------------------------------------------------------------- order

_Key = Callable[[Row], Any]
_KEYS: Final[dict[str, _Key]] = {
    "id": lambda row: (row.id < 0, abs(row.id)),
    "name": lambda row: row.name.lower(),
    "peer": lambda row: row.peer,
    "proto": lambda row: row.protocol,
    "state": lambda row: row.state,
    "last": lambda row: -row.last,
    "unread": lambda row: -row.unread,
    "in": lambda row: -row.count("bytes_in"),
    "out": lambda row: -row.count("bytes_out"),
    "queued": lambda row: -row.count("queued"),
    "since": lambda row: str(row.view.get("since", "")),
}
SORT_KEYS: Final = tuple(_KEYS)
_BY_TRAFFIC: Final = frozenset({"last", "unread", "in", "out", "queued"})
_CYCLE: Final = ("id", "name", "last", "unread", "in", "out")


@dataclass(frozen=True, slots=True)
class Order:
    """How clients stand: by `key`, counts and times with the greatest first; `reverse` turns it round."""

    key: str = "id"
    reverse: bool = False

    def sort(self, rows: list[Row]) -> list[Row]:
        key = _KEYS[self.key]
        return sorted(rows, key=lambda row: (key(row), row.id), reverse=self.reverse)

    @property
    def follows_traffic(self) -> bool:
        """Whether what a client says can change the order."""
        return self.key in _BY_TRAFFIC

    def next(self) -> Order:
        """The next one of those that a key press goes through."""
        at = _CYCLE.index(self.key) + 1 if self.key in _CYCLE else 0
        return Order(_CYCLE[at % len(_CYCLE)])
