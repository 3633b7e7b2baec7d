"""The contract of a store: what durable rooms and absent clients' messages need of a disk, in few calls.

Two stores keep it: `MemoryStore` for tests and hubs without a state, `SqliteStore` for all others.
Another one passes `store_battery` before a hub is given it. The rules:

- **Acknowledged means on disk.** A call that changes something returns when no crash of the hub or its
  machine undoes that (in a store that is `lasting`; in another one when it is done).
- **Order is the store's own.** A room counts its messages 1, 2, 3 ... without a gap, in the order in
  which they were appended. Times are only shown: a clock that is set back changes no order and no number.
- **Exactly once.** A message is known by room, sender and the sender's own number, which counts 1, 2, 3
  ... in that room. What is appended again is acknowledged again and not stored again; what comes after a
  gap is not stored. So a sender that goes on behind its last acknowledged number loses and doubles
  nothing.
- **Trouble waits.** While the disk is full or the file is locked, calls wait, `problem` says why, and it
  is tried again. What still cannot be written after the store's patience raises `StoreError`, and nothing
  of it is stored.
- **Cancelled** calls leave the store whole: what a cancelled call was to change has been changed or not.

All calls are of one event loop. Text is anything that UTF-8 can say; names in here have been checked
elsewhere.
"""

from __future__ import annotations

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from ..state_file import StateError

LONGEST_BODY: Final = 1024 * 1024  # bytes of one message
LONGEST_NAME: Final = 1024  # bytes of the name of a room, a sender, a reader, a recipient
MOST_READ: Final = 1000  # messages that one call gives at most
MOST_READ_BYTES: Final = 1024 * 1024  # bytes of bodies behind which a page ends
MOST_WAITING: Final = 1000  # messages that wait for one recipient
MOST_WAITING_BYTES: Final = 4 * 1024 * 1024  # bytes of the bodies that wait for one recipient


class StoreError(StateError):
    """The store cannot do that now, and nothing of it was done; the message says why, `hint` what to do."""


class StoreUnavailable(StoreError):
    """There can be no store at that place. Nothing was lost."""


class StoreClosed(StoreError):
    """The store was closed, before or during the call."""


class NoSuchRoom(StoreError, LookupError):
    """The store has no room of that name."""


class BadQuery(StoreError, ValueError):
    """There is nothing to search for in what was asked."""


class Became(enum.IntEnum):
    """What became of one message that was appended. Only `STORED` is true."""

    STORED = 0
    AGAIN = 1  # its number is not above the last stored one of its sender: acknowledged, not stored again
    GAP = 2  # a number before it is missing, so it was not stored; `published` says which one is next
    NO_ROOM = 3  # there is no such room

    def __bool__(self) -> bool:
        return self is Became.STORED


class Publication(NamedTuple):
    """A message for a room."""

    room: str
    sender: str  # who says it, so that no two senders share one: identity "/" instance
    number: int  # the sender's own count in this room, from 1
    at: float  # Unix seconds
    name: str  # the sender's name as others see it
    body: bytes


class Appended(NamedTuple):
    """What became of a `Publication`."""

    sequence: int  # its number in the room; 0 when it has none, or is not kept any more
    became: Became

    @property
    def fresh(self) -> bool:
        """Whether it was stored by this call: then it is to be told to the room."""
        return self.became is Became.STORED


class Run(NamedTuple):
    """Messages of one sender for one room, said at once: their numbers follow each other."""

    room: str
    sender: str
    number: int  # of the first
    at: float
    name: str
    bodies: Sequence[bytes]

    def publications(self) -> list[Publication]:
        """The same, message by message."""
        return [
            Publication(self.room, self.sender, number, self.at, self.name, body)
            for number, body in enumerate(self.bodies, self.number)
        ]


class RunAppended(NamedTuple):
    """What became of a `Run`."""

    sequence: int  # of the first, if all were stored by this call: then their sequences follow each other
    each: list[Appended] | None  # message by message, if not


class Message(NamedTuple):
    """A message of a room, as it is kept."""

    sequence: int
    at: float
    sender: str
    name: str
    number: int
    body: bytes


class Page(NamedTuple):
    """What `read` found."""

    messages: list[Message]  # in the order of their sequences, without a gap
    first: int  # sequence of the oldest message that the room keeps; `last` + 1 when it keeps none
    last: int  # sequence of the newest message that the room has had

    @property
    def behind(self) -> int:
        """How many messages follow the last one of this page."""
        return self.last - self.messages[-1].sequence if self.messages else 0


class Found(NamedTuple):
    """A message that `search` found."""

    room: str
    message: Message
    snippet: str  # a piece of the text around the first words that were searched for, on one line
    marks: list[tuple[int, int]]  # where in the snippet such words are: [from, to)


class Results(NamedTuple):
    """What `search` found: in one room the newest sequence first, in all of them the newest time."""

    found: list[Found]
    unindexed: int  # messages that were not looked at: not in the index yet, nor of the newest


class RoomFacts(NamedTuple):
    """A room, as it is kept."""

    name: str
    topic: str
    made: float  # Unix seconds
    first: int  # sequence of the oldest message kept; `last` + 1 when there is none
    last: int  # sequence of the newest message that it has had; 0 before the first
    bytes: int  # of the bodies that it keeps


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How much of a room is kept: the newest messages that fit all of it. None: no limit of that kind."""

    age: float | None = None  # seconds
    count: int | None = None
    bytes: int | None = None  # of bodies


class Cursor(NamedTuple):
    """How far somebody has read a room."""

    room: str
    reader: str
    sequence: int


class Letter(NamedTuple):
    """A message for a client that is not there."""

    to: str
    sender: str  # as in `Publication`
    number: int  # the sender's own, from 1; no two of its letters have the same
    at: float
    expires: float  # Unix seconds at which it is given up
    name: str
    body: bytes


class Posted(NamedTuple):
    """What became of a `Letter`."""

    id: int  # what the store calls it; 0 when it was not taken
    fresh: bool  # whether it waits since this call; else it was taken before, delivered since or not
    full: bool  # as much as there is room for waits for that recipient: it was not taken


class Waiting(NamedTuple):
    """A letter that waits."""

    id: int  # grows with the order in which they were enqueued
    letter: Letter


class Queue(NamedTuple):
    """What waits for one recipient."""

    to: str
    letters: int
    bytes: int
    since: float  # `at` of the first of them


class Sending(NamedTuple):
    """What waits of one sender."""

    sender: str
    letters: int
    bytes: int


class Store(ABC):
    """Rooms, their messages, who has read how far, and letters. See the module for what all calls promise.

    Every call raises `StoreClosed` after `close`, and `ValueError` for what no store takes: longer than the
    limits above, a number below 1, text that UTF-8 cannot say.
    """

    lasting: bool
    """Whether what was acknowledged outlives the process."""

    path: Path | None = None
    """The file, where there is one."""

    problem: str = ""
    """Why nothing can be written at the moment; empty while all is well."""

    # ------------------------------------------------------------------------------------------ rooms

    @abstractmethod
    async def open_room(self, name: str, *, at: float, topic: str | None = None) -> RoomFacts:
        """The room of that name, made at that time if there is none; a topic given replaces its topic."""

    @abstractmethod
    async def rooms(self) -> list[RoomFacts]:
        """All rooms, by name."""

    @abstractmethod
    async def remove_room(self, name: str) -> None:
        """Forget a room with all that it has. Raises `NoSuchRoom`."""

    # --------------------------------------------------------------------------------------- messages

    @abstractmethod
    async def append(self, batch: Sequence[Publication]) -> list[Appended]:
        """Store messages, which may be of several rooms, in this order; what became of each.

        Returns when all of it is on disk. Batches of calls made one after the other are stored in the order
        of the calls, several of them at once when they come faster than the disk takes them. Cancelled, the
        batch is stored all the same, unless the store fails.
        """

    async def append_runs(self, runs: Sequence[Run]) -> list[RunAppended]:
        """`append`, of what many say at once: it costs less than message by message."""
        results = iter(await self.append([each for run in runs for each in run.publications()]))
        return [run_appended([next(results) for _ in run.bodies]) for run in runs]

    @abstractmethod
    async def read(self, room: str, after: int = 0, *, limit: int = 100) -> Page:
        """The messages behind a sequence, at most so many and not much more than `MOST_READ_BYTES`.

        What retention took away is left out: then the first message is `Page.first`. Raises `NoSuchRoom`.
        """

    @abstractmethod
    async def search(self, text: str, *, room: str | None = None, limit: int = 50) -> Results:
        """Messages that have the words of `text` (`search_words` has the language), of one room or of all.

        A message is found from its acknowledgement on. While more come than an index takes, those in between,
        which are neither in it yet nor of the newest, are found later: `Results.unindexed` says how many
        they are. Raises `BadQuery`, `NoSuchRoom`.
        """

    @abstractmethod
    async def last(self, room: str) -> int:
        """The sequence of the newest message that a room has had, 0 before the first. Raises `NoSuchRoom`."""

    @abstractmethod
    async def published(self, room: str, sender: str) -> int:
        """The sender's number of its last message stored in a room; 0 when there is none, or no room."""

    @abstractmethod
    async def retain(self, room: str, policy: Retention, *, now: float) -> int:
        """Delete what the policy does not keep, the oldest first; how many that were. Raises `NoSuchRoom`.

        A message is too old when it and all before it are: one with a time in the future, left by a clock
        that was wrong, keeps those behind it.
        """

    # ---------------------------------------------------------------------------------------- cursors

    @abstractmethod
    async def cursor(self, room: str, reader: str) -> int | None:
        """How far a reader has read a room; None when that was never said, or there is no such room."""

    @abstractmethod
    async def set_cursors(self, batch: Sequence[Cursor]) -> None:
        """Readers have read so far. A cursor never goes back, nor beyond the room; no room, no cursor."""

    # ---------------------------------------------------------------------------------------- letters

    @abstractmethod
    async def enqueue(self, batch: Sequence[Letter]) -> list[Posted]:
        """Keep letters until they are delivered or expire; each of a sender's numbers is taken once."""

    @abstractmethod
    async def waiting(self, to: str, after: int = 0, *, limit: int = 100) -> list[Waiting]:
        """The letters that wait for somebody, behind an id, at most so many, as `read` bounds them."""

    @abstractmethod
    async def delivered(self, ids: Sequence[int]) -> None:
        """Forget these letters; those that are gone already are no error."""

    @abstractmethod
    async def expire(self, now: float) -> list[Waiting]:
        """Take out letters whose time has come, at most `MOST_READ` at once; none when none is left."""

    @abstractmethod
    async def queues(self) -> list[Queue]:
        """For whom letters wait."""

    @abstractmethod
    async def senders(self) -> list[Sending]:
        """Of whom letters wait."""

    # -------------------------------------------------------------------------------------------- end

    @abstractmethod
    async def close(self) -> None:
        """Finish what was begun and end. May be called twice; raises nothing.

        Calls that wait for a disk in trouble are tried once more, then end with `StoreError`.
        """

    async def __aenter__(self) -> Store:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def runs_of(batch: Sequence[Publication]) -> list[Run]:
    """Messages as runs."""
    runs: list[Run] = []
    bodies: list[bytes] = []
    following: tuple[object, ...] = ()
    for room, sender, number, at, name, body in batch:
        if following != (room, sender, number, at, name):
            bodies = []
            runs.append(Run(room, sender, number, at, name, bodies))
        bodies.append(body)
        following = (room, sender, number + 1, at, name)
    return runs


def each_appended(run: Run, became: RunAppended) -> list[Appended]:
    """What became of each message of a run."""
    if became.each is not None:
        return became.each
    return [
        Appended(sequence, Became.STORED)
        for sequence in range(became.sequence, became.sequence + len(run.bodies))
    ]


def run_appended(results: list[Appended]) -> RunAppended:
    """The same, the other way round."""
    first = results[0].sequence
    if all(each.fresh for each in results) and results[-1].sequence - first == len(results) - 1:
        return RunAppended(first, None)
    return RunAppended(0, results)


def check_runs(runs: Sequence[Run]) -> None:
    """Raise `ValueError` for messages that no store takes."""
    for name in {name for run in runs for name in (run.room, run.sender, run.name)}:
        check_name(name)
    for run in runs:
        _check_time(run.at)
        _check_number(run.number)
        _check_number(run.number + len(run.bodies) - 1)
        _check_length(max(map(len, run.bodies)))


def check_publications(batch: Sequence[Publication]) -> None:
    """Raise `ValueError` for messages that no store takes."""
    if not batch:
        return
    rooms, senders, numbers, times, names, bodies = zip(*batch, strict=True)
    for name in {*rooms, *senders, *names}:
        check_name(name)
    for number in (min(numbers), max(numbers)):
        _check_number(number)
    _check_length(max(map(len, bodies)))
    for at in set(times):
        _check_time(at)


def check_letters(batch: Sequence[Letter]) -> None:
    """Raise `ValueError` for letters that no store takes."""
    for each in batch:
        for name in (each.to, each.sender, each.name):
            check_name(name)
        _check_number(each.number)
        _check_length(len(each.body))
        _check_time(each.at)
        _check_time(each.expires)


def _check_number(number: int) -> None:
    if not 1 <= number < 2**63:
        raise ValueError(f"a message's number is counted from 1: {number}")


def _check_length(length: int) -> None:
    if length > LONGEST_BODY:
        raise ValueError(f"a message of {length} bytes is too long: at most {LONGEST_BODY}")


def _check_time(at: float) -> None:
    if not math.isfinite(at):
        raise ValueError(f"a message's time is no number of seconds: {at}")


def check_name(name: str) -> None:
    """Raise `ValueError` for a name that no store takes."""
    if len(name) > LONGEST_NAME or (not name.isascii() and len(name.encode()) > LONGEST_NAME):
        raise ValueError(f"{name[:40]!r}... is too long for a name: at most {LONGEST_NAME} bytes")
