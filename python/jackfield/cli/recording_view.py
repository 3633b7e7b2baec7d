"""What people see of a recording: lines for its records, and its contents in figures.

Pure: records in, lines out. Bytes, names and reasons are made safe for a terminal here.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from ..hub.display import Column, hexdump, human_age, human_size, safe_text, show_bytes, table
from ..hub.journal import line_of
from ..hub.target import Candidate, Matcher
from ..recording import Client, Closed, Damaged, Data, Happened, Left, Lost, Opened, Record
from .views import counted

SHOWN: Final = 500  # bytes of a message that are shown, unless all of it is wanted
SECOND: Final = 1_000_000_000


def clock(time: int) -> str:
    """A time as people read it: UTC, microseconds."""
    seconds, rest = divmod(time, SECOND)
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest // 1000:06}"
    except (OverflowError, ValueError, OSError):
        return f"at {time} ns"


class Only:
    """The records of the clients that a TARGET means, and those that are nobody's.

    `clients` are all of them.
    """

    def __init__(self, target: str | None) -> None:
        self._matcher = None if target is None else Matcher(target)
        self.clients: dict[int, Client] = {}
        self._meant: set[int] = set()

    def wants(self, record: Record) -> bool:
        """Whether to go on with a record. Clients are told of before their records."""
        if isinstance(record, Client):
            self.clients[record.ref] = record
            candidate = Candidate(record.id, record.name, record.remote)
            if self._matcher is None or self._matcher.matches(candidate):
                self._meant.add(record.ref)
        if isinstance(record, Client | Data | Left):
            return record.ref in self._meant or (self._matcher is None)
        return self._matcher is None or not isinstance(record, Happened)

    def name(self, ref: int) -> str:
        """The client's name at this place of the recording, safe."""
        client = self.clients.get(ref)
        return safe_text(client.name) if client is not None else f"client {ref}"


def lines(record: Record, only: Only, *, as_hex: bool, full: bool) -> Iterator[str]:
    """A record as lines."""
    match record:
        case Opened():
            when = clock(record.time) if record.time else "a capture"
            yield f"{when} -- recorded by {safe_text(record.program)}: {safe_text(record.target)}"
        case Client():
            place = f"{safe_text(record.protocol)} {safe_text(record.remote)} at {safe_text(record.local)}"
            framing = "" if record.framing == "none" else f", framing {safe_text(record.framing)}"
            since = "" if record.since is None else f", since {clock(record.since)}"
            yield f"{clock(record.time)} {only.name(record.ref)} -- {place}{framing}{since}"
        case Data():
            yield from _data_lines(record, only, as_hex=as_hex, full=full)
        case Left():
            yield f"{clock(record.time)} {only.name(record.ref)} -- left: {safe_text(record.reason)}"
        case Lost():
            lost = f"{counted(record.records, 'record')} ({record.bytes} bytes) missing here"
            yield f"{clock(record.time)} -- {lost}: {safe_text(record.reason)}"
        case Happened():
            yield f"{clock(record.time)} -- {line_of({'event': record.event, **record.facts}).strip()}"
        case Closed():
            yield f"{clock(record.time)} -- the end: {safe_text(record.reason)}"
        case Damaged(offset=offset, length=length, truncated=truncated):
            what = "not whole: the file ends here" if truncated else "damaged"
            yield f"-- {length} bytes from byte {offset} on are {what}"


def _data_lines(record: Data, only: Only, *, as_hex: bool, full: bool) -> Iterator[str]:
    sign = ">" if record.direction == "out" else "<"
    by = f" (by {safe_text(record.by)})" if record.by else ""
    more = " ..." if record.more else ""
    data = record.data if full else record.data[:SHOWN]
    cut = len(record.data) - len(data)
    rest = f" ... {counted(cut, 'byte')} more: see --full" if cut else ""
    head = f"{clock(record.time)} {only.name(record.ref)} {sign}"
    if as_hex:
        yield f"{head} {counted(len(record.data), 'byte')}{by}{more}"
        yield from (f"  {line}" for line in hexdump(data))
        if rest:
            yield f"  {rest.strip()}"
    else:
        yield f"{head} {show_bytes(data)}{rest}{more}{by}"


def as_json(record: Record) -> dict[str, Any]:
    """A record as `recording show --json` prints it: its kind, its fields, bytes in base64."""
    fields = asdict(record)
    if isinstance(record, Data):
        fields["data"] = base64.b64encode(record.data).decode("ascii")
    return {"record": type(record).__name__.lower(), **fields}


# -------------------------------------------------------------------- in figures


@dataclass(slots=True)
class _Spoken:
    client: Client
    last: int
    left: str = ""
    heard: list[int] = field(default_factory=lambda: [0, 0])  # messages, bytes
    told: list[int] = field(default_factory=lambda: [0, 0])


class Summary:
    """A recording in figures: `add` every record."""

    def __init__(self) -> None:
        self.opened: Opened | None = None
        self.closed: Closed | None = None
        self.first: int | None = None
        self.last = 0
        self.records = 0
        self.lost = 0
        self.lost_bytes = 0
        self.events = 0
        self.damaged = 0
        self.truncated = 0
        self._spoken: dict[int, _Spoken] = {}

    def add(self, record: Record) -> None:
        match record:
            case Damaged(length=length, truncated=truncated):
                self.truncated += length if truncated else 0
                self.damaged += 0 if truncated else length
                return
            case Opened():
                self.opened = record
            case Closed():
                self.closed = record
            case Client():
                known = self._spoken.setdefault(record.ref, _Spoken(record, record.time))
                known.client = record
            case Data():
                self._count(record)
            case Left() if record.ref in self._spoken:
                self._spoken[record.ref].left = record.reason
            case Lost():
                self.lost += record.records
                self.lost_bytes += record.bytes
            case Happened():
                self.events += 1
        self.records += 1
        if record.time:
            self.first = record.time if self.first is None else min(self.first, record.time)
            self.last = max(self.last, record.time)

    def _count(self, record: Data) -> None:
        known = self._spoken.get(record.ref)
        if known is None:
            return
        counts = known.told if record.direction == "out" else known.heard
        counts[0] += not record.more
        counts[1] += len(record.data)
        known.last = record.time

    @property
    def whole(self) -> bool:
        """Whether nothing is missing and nothing is damaged."""
        return not (self.lost or self.damaged or self.truncated)

    def to_json(self) -> dict[str, Any]:
        """What `recording info --json` prints; times are nanoseconds since 1970."""
        return {
            "program": self.opened.program if self.opened else None,
            "role": self.opened.role if self.opened else None,
            "target": self.opened.target if self.opened else None,
            "first": self.first,
            "last": self.last,
            "records": self.records,
            "events": self.events,
            "closed": self.closed.reason if self.closed else None,
            "lost": self.lost,
            "lost_bytes": self.lost_bytes,
            "damaged_bytes": self.damaged,
            "truncated_bytes": self.truncated,
            "clients": [
                {
                    **asdict(spoken.client),
                    "messages_in": spoken.heard[0],
                    "bytes_in": spoken.heard[1],
                    "messages_out": spoken.told[0],
                    "bytes_out": spoken.told[1],
                    "left": spoken.left or None,
                }
                for spoken in self._spoken.values()
            ],
        }

    def lines(self, name: str, width: int) -> list[str]:
        """The same for people."""
        opened, first = self.opened, self.first or 0
        by = f", by {safe_text(opened.program)}, {safe_text(opened.target)}" if opened else ""
        found = [
            f"{safe_text(name)}{by}",
            f"from {clock(first)} to {clock(self.last)} UTC ({human_age((self.last - first) / SECOND)})",
            f"{counted(self.records, 'record')}, {counted(self.events, 'event')} of the hub",
        ]
        if self.closed is not None:
            found.append(f"ended: {safe_text(self.closed.reason)}")
        elif opened is None or opened.time:  # captures do not say
            found.append("not ended in order: it is still being written, or its recorder was killed")
        if self.lost:
            found.append(f"MISSING: {counted(self.lost, 'record')} ({self.lost_bytes} bytes)")
        if self.damaged:
            found.append(f"DAMAGED: {self.damaged} bytes cannot be read")
        if self.truncated:
            found.append(f"the last {counted(self.truncated, 'byte')} are no whole record")
        return [*found, *self._table(width)] if self._spoken else found

    def _table(self, width: int) -> Sequence[str]:
        columns = [
            Column("REF", right=True),
            Column("NAME", least=8),
            Column("PROTO"),
            Column("PEER", least=12),
            Column("LOCAL", least=10),
            Column("SAID", right=True),
            Column("BYTES", right=True),
            Column("TOLD", right=True),
            Column("BYTES", right=True),
            Column("END", least=8),
        ]
        rows = [
            [
                str(spoken.client.ref),
                safe_text(spoken.client.name),
                safe_text(spoken.client.protocol),
                safe_text(spoken.client.remote),
                safe_text(spoken.client.local),
                str(spoken.heard[0]),
                human_size(spoken.heard[1]),
                str(spoken.told[0]),
                human_size(spoken.told[1]),
                safe_text(spoken.left) or "-",
            ]
            for spoken in self._spoken.values()
        ]
        return table(columns, rows, width)
