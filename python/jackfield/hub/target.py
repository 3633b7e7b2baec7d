"""Which clients a TARGET means.

    3          the client with that id                 dev1              the client of that name
    3,7,dev1   each of these                           127.0.0.1:40122   the client at that address
    'dev*'     names or addresses that match           127.0.0.1         every client of that host
    all        every client                            tag:floor1        those with that tag; also 'tag:fl*'

Exact meanings win over patterns, ids over names, names over addresses. Pure: a `Directory` in,
ids in ascending order out; nothing found, or several where one is wanted, raises. However long a
TARGET may be made, its matching is one pass over the clients that pauses, so that nobody waits for it.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Generator, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from typing import Final, NamedTuple, Protocol

LONGEST: Final = 4096  # characters of a TARGET
MOST_PARTS: Final = 256
_SHOWN = 10
_COMPARED = 200  # names that the closest is looked for among
_LONGEST_NAME = 64
_SLICE = 2000  # comparisons between two pauses


class Candidate(NamedTuple):
    """What a TARGET can name a client by."""

    id: int
    name: str
    peer: str  # host:port, or a Unix path, or pid:N
    tags: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} ({self.id}, {self.peer})"


class Absent(NamedTuple):
    """A client that is known and not there: what it is called, where it was last, and when it left."""

    name: str
    peer: str
    since: str

    def __str__(self) -> str:
        return f"{self.name} (since {self.since}, last at {self.peer})"


class Directory(Protocol):
    """Where clients are looked up: by id and by name at once, by anything else one after the other."""

    def absent(self, part: str) -> Sequence[Absent]:
        """Who of those that are known and not there is meant by a part of a TARGET."""

    def by_id(self, client_id: int) -> Candidate | None: ...
    def by_name(self, name: str) -> Candidate | None: ...
    def __iter__(self) -> Iterator[Candidate]: ...
    def __len__(self) -> int: ...


class TargetTooLong(ValueError):
    """A TARGET is longer, or has more parts, than the hub compares."""


class NoSuchClient(LookupError):
    """A TARGET, or a part of it, means no client; says who of it is absent, else who is there and closest."""

    def __init__(self, target: str, directory: Directory) -> None:
        present = list(islice(directory, _COMPARED))
        self.target = target
        self.candidates = present[:_SHOWN]
        absent = directory.absent(target)
        shown = target if len(target) <= 2 * _LONGEST_NAME else f"{target[: 2 * _LONGEST_NAME]}..."
        self.closest = "" if absent else _closest(target, present)
        if absent:
            more = f" and {len(absent) - _SHOWN} more" if len(absent) > _SHOWN else ""
            text = f"absent: {', '.join(map(str, absent[:_SHOWN]))}{more}"
        elif not present:
            text = f"no client {shown!r}: no client is connected"
        else:
            more = f" and {len(directory) - _SHOWN} more" if len(directory) > _SHOWN else ""
            text = f"no client {shown!r}; connected: {', '.join(c.name for c in self.candidates)}{more}"
        self.hint = f"did you mean {self.closest}?" if self.closest else ""
        if absent:
            self.hint = "only clients that are connected can be reached; see 'jackfield clients --absent'"
            if all(
                each.name != target for each in absent
            ):  # a pattern or a list, where a name would have done for some
                self.hint += "; rename, tag, note and forget take the name of one that is absent"
        super().__init__(text)


class AmbiguousTarget(LookupError):
    """A TARGET means several clients where one is wanted; lists them."""

    def __init__(self, target: str, candidates: list[Candidate], count: int) -> None:
        """`candidates` are the first of `count`."""
        self.target = target
        self.candidates = candidates
        more = f" and {count - _SHOWN} more" if count > _SHOWN else ""
        super().__init__(f"{target!r} means {count} clients: {', '.join(map(str, candidates))}{more}")
        self.hint = "name one of them by its id"


def select(target: str, directory: Directory) -> list[int]:
    """The ids that `target` means, ascending; every part of it must mean at least one client.

    `all` is the exception: it may mean nobody.
    """
    selecting = _selecting(target, directory)
    while True:
        try:
            next(selecting)
        except StopIteration as end:
            found: list[int] = end.value
            return found


async def select_in_turns(target: str, directory: Directory) -> list[int]:
    """As `select`, letting the event loop run in between."""
    selecting = _selecting(target, directory)
    while True:
        try:
            next(selecting)
        except StopIteration as end:
            found: list[int] = end.value
            return found
        await asyncio.sleep(0)


def select_one(target: str, directory: Directory) -> int:
    """The id of the one client that `target` means."""
    return _only(target, select(target, directory), directory)


async def select_one_in_turns(target: str, directory: Directory) -> int:
    """As `select_one`, letting the event loop run in between."""
    return _only(target, await select_in_turns(target, directory), directory)


def _only(target: str, ids: list[int], directory: Directory) -> int:
    if not ids:
        raise NoSuchClient(target, directory)
    if len(ids) > 1:
        shown = filter(None, map(directory.by_id, ids[:_SHOWN]))
        raise AmbiguousTarget(target, list(shown), len(ids))
    return ids[0]


def _selecting(target: str, directory: Directory) -> Generator[None, None, list[int]]:
    parts = _parts(target)
    found: set[int] = set()
    searches: list[_Search] = []
    for part in parts:
        exact = None if part == "all" else _exact(part, directory)
        if exact is not None:
            found.add(exact.id)
        elif part != "all":
            searches.append(_Search(part))
    done = 0
    if searches or "all" in parts:
        for candidate in directory:
            host = host_of(candidate.peer)
            for search in searches:
                search.compare(candidate, host)
            if "all" in parts:
                found.add(candidate.id)
            done += 1 + len(searches)
            if done >= _SLICE:
                done = 0
                yield
    for search in searches:
        ids = search.result()
        if not ids:
            raise NoSuchClient(search.part, directory)
        found.update(ids)
    if not found and parts != ["all"]:
        raise NoSuchClient(target, directory)
    return sorted(found)


def _parts(target: str) -> list[str]:
    if len(target) > LONGEST:
        raise TargetTooLong(
            f"a TARGET of {len(target)} characters is too long: at most {LONGEST}; "
            "use a pattern such as 'dev*'"
        )
    parts = list(dict.fromkeys(part.strip() for part in target.split(",") if part.strip()))
    if len(parts) > MOST_PARTS:
        raise TargetTooLong(
            f"a TARGET of {len(parts)} parts is too long: at most {MOST_PARTS}; use a pattern such as 'dev*'"
        )
    return parts


def _exact(part: str, directory: Directory) -> Candidate | None:
    by_id = directory.by_id(int(part)) if part.isascii() and part.isdigit() and len(part) < 20 else None
    return by_id or directory.by_name(part)


class _Search:
    """One part of a TARGET that is no id and no name, compared with every client in turn."""

    def __init__(self, part: str) -> None:
        self.part = part
        local = part.startswith("localhost:") or part == "localhost"
        hosts = ("127.0.0.1", "[::1]")
        self._wanted = {part.replace("localhost", host, 1) for host in hosts} if local else {part}
        self._tag = part[4:] if part.startswith("tag:") else None
        self._found: tuple[list[int], list[int], list[int]] = ([], [], [])  # peers, hosts, patterns

    def kind_of(self, candidate: Candidate, host: str) -> int | None:
        """Whether it means that client: 0 as its address, 1 as its host, 2 as a pattern or tag."""
        if self._tag is not None:
            return 2 if any(fnmatchcase(tag, self._tag) for tag in candidate.tags) else None
        if candidate.peer in self._wanted:
            return 0
        if host in self._wanted:
            return 1
        matches = fnmatchcase(candidate.name, self.part) or fnmatchcase(candidate.peer, self.part)
        return 2 if matches else None

    def compare(self, candidate: Candidate, host: str) -> None:
        kind = self.kind_of(candidate, host)
        if kind is not None:
            self._found[kind].append(candidate.id)

    def result(self) -> list[int]:
        """Whom it means: peers win over hosts, hosts over patterns."""
        return next(filter(None, self._found), [])


class Matcher:
    """A TARGET for clients that are yet to come: asked of each one, at any time, whether it is meant.

    Raises `TargetTooLong`, and ValueError for a TARGET without any part.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self._parts = [(part, _Search(part)) for part in _parts(target)]
        if not self._parts:
            raise ValueError("a TARGET needs at least one part, such as 'dev*' or all")

    def matches(self, candidate: Candidate) -> bool:
        """Whether any part means this client: by id, name, address, host, or as a pattern."""
        return any(self._means(part, search, candidate) for part, search in self._parts)

    @staticmethod
    def _means(part: str, search: _Search, candidate: Candidate) -> bool:
        if part == "all" or part in (candidate.name, candidate.peer) or part == str(candidate.id):
            return True
        return search.kind_of(candidate, host_of(candidate.peer)) is not None


def host_of(peer: str) -> str:
    """The host of `host:port`; empty for what has none."""
    host, colon, port = peer.rpartition(":")
    return host if colon and port.isdigit() and host != "pid" else ""


def _closest(target: str, present: list[Candidate]) -> str:
    if len(target) > _LONGEST_NAME:
        return ""
    names = [candidate.name for candidate in present]
    for name in names:
        if name.startswith(target):
            return name
    return next(iter(difflib.get_close_matches(target, names, n=1, cutoff=0.5)), "")
