"""What one operator who watches is told next: the roster's changes, and what is said both ways.

Owns the summing up. Each thing that happens costs a few entries here, and is told with the next look: clients
that changed with their newest view, counts of what the others said, the messages of conversations that the
operator has open, the log. Everything is bounded: clients are told once however often they changed, and of
messages and log lines beyond the limits the oldest are lost, counted, and the count is told; whoever misses
more changes than there can be clients is given everyone anew. So an operator who does not keep up gets less,
is told how much less, and is never cut off. Pure: `now` comes in.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

from .display import preview
from .protocol import encode_data

MAX_SEEN: Final = 500  # clients on one screen
MAX_OPEN: Final = 16  # conversations that one operator has open
MAX_SAID: Final = 1000  # messages that wait, and
MAX_SAID_BYTES: Final = 256 * 1024  # their bytes
LONGEST_SAID: Final = 4096  # bytes that are shown of one message
MAX_LOG: Final = 200
MAX_ABSENT: Final = 20_000
PREVIEW: Final = 60  # characters of what a client said last
MAX_CHANGES: Final = 65_536  # clients whose changes wait; more come and go only where an operator is stopped
PAGE: Final = 250  # clients in one event


class Roster(Protocol):
    """Where clients are looked up."""

    def ids(self) -> Sequence[int]: ...
    def view(self, client_id: int, /) -> dict[str, Any] | None: ...
    def absent(self) -> Iterable[dict[str, Any]]:
        """The views of everyone who is known and not there; each has its `identity`."""


class Activity:
    """What one client said and was told since the last telling; `last` is when it spoke, in Unix seconds."""

    __slots__ = ("heard", "heard_bytes", "last", "said", "told", "told_bytes")

    def __init__(self) -> None:
        self.heard = 0
        self.heard_bytes = 0
        self.told = 0
        self.told_bytes = 0
        self.last = 0.0
        self.said = b""


class Watcher:
    """What one operator is to be told. `wake` is called when there is something, once until `take`."""

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self.open: frozenset[int] = frozenset()  # conversations whose messages are told
        self._seen: tuple[int, ...] = ()  # clients on the screen: their views are told when they change
        self._shown: dict[int, dict[str, Any]] = {}  # the view that was last told of each of those
        self._wake = wake
        self._waiting = False
        self._changed: set[int] = set()
        self._active: dict[int, Activity] = {}
        self._said: deque[dict[str, Any]] = deque()
        self._said_bytes = 0
        self._log: deque[dict[str, Any]] = deque()
        self._missed: dict[str, int] = {}
        self._everyone = False  # changes were lost: everyone is to be told anew
        self._absent: dict[str, dict[str, Any]] = {}  # views of the absent as they were told, by identity
        self._absent_may_differ = True

    # ---------------------------------------------------------------- what happens

    def changed(self, client_id: int) -> None:
        """A client came, left, or is known otherwise than before."""
        self._absent_may_differ = True
        self._changed.add(client_id)
        if len(self._changed) > MAX_CHANGES:
            self._changed.clear()
            self._everyone = True
        self._has_news()

    def heard(self, now: float, client_id: int, data: bytes) -> None:
        """A client said `data`."""
        active = self._activity(client_id)
        active.heard += 1
        active.heard_bytes += len(data)
        active.last = now
        active.said = data[: 2 * PREVIEW]
        if client_id in self.open:
            self._say(client_id, now, "heard", data)
        self._has_news()

    def told(self, now: float, client_id: int, data: bytes, by: str) -> None:
        """`data` was queued for a client."""
        active = self._activity(client_id)
        active.told += 1
        active.told_bytes += len(data)
        if client_id in self.open:
            self._say(client_id, now, "told", data, by=by)
        self._has_news()

    def logged(self, event: dict[str, Any]) -> None:
        """Something went to the log; what names a client by `id` has changed it."""
        self._log.append(event)
        if len(self._log) > MAX_LOG:
            self._log.popleft()
            self._lose(log=1)
        client_id = event.get("id")
        if event.get("event") not in ("message", "sent"):
            self._absent_may_differ = True
            if isinstance(client_id, int):
                self.changed(client_id)
        self._has_news()

    def _activity(self, client_id: int) -> Activity:
        active = self._active.get(client_id)
        if active is None:
            if len(self._active) >= MAX_CHANGES:
                self._lose(activity=len(self._active))
                self._active.clear()
            active = self._active[client_id] = Activity()
        return active

    def _say(self, client_id: int, now: float, way: str, data: bytes, **more: Any) -> None:
        said = {"id": client_id, "at": round(now, 3), way: data[:LONGEST_SAID], **more}
        if len(data) > LONGEST_SAID:
            said["bytes"] = len(data)
        self._said.append(said)
        self._said_bytes += len(said[way])
        while len(self._said) > MAX_SAID or self._said_bytes > MAX_SAID_BYTES:
            lost = _bytes_of(self._said.popleft())
            self._said_bytes -= lost
            self._lose(messages=1, bytes=lost)

    def _lose(self, **counts: int) -> None:
        for name, count in counts.items():
            self._missed[name] = self._missed.get(name, 0) + count

    def _has_news(self) -> None:
        if not self._waiting:
            self._waiting = True
            self._wake()

    # ---------------------------------------------------------------- what is told

    def look(self, seen: Iterable[int], opened: Iterable[int]) -> frozenset[int]:
        """What the operator looks at from now on; which conversations are newly open."""
        self._seen = tuple(dict.fromkeys(seen))[:MAX_SEEN]
        self._shown = {each: self._shown[each] for each in self._seen if each in self._shown}
        before, self.open = self.open, frozenset(list(opened)[:MAX_OPEN])
        self._has_news()
        return self.open - before

    def take(self, roster: Roster) -> Iterator[dict[str, Any]]:
        """The bodies of the events that tell what is new, a page at a time; each thing is told once.

        Between two bodies others may run: what happens meanwhile is told by the next `take`.
        """
        self._waiting = False
        changed, self._changed = self._changed, set()
        active, self._active = self._active, {}
        said, self._said, self._said_bytes = self._said, deque(), 0
        log, self._log = self._log, deque()
        missed, self._missed = self._missed, {}
        everyone, self._everyone = self._everyone, False
        yield from pages("said", map(_as_text, said))
        yield from pages("log", log)
        if everyone:
            yield {"reset": True}
            changed.update(roster.ids())
            self._absent, self._absent_may_differ = {}, True
        if self._absent_may_differ:
            self._absent_may_differ = False
            yield from self._absences(roster)
        # Before the views: what is counted here is added, what stands in a view replaces it.
        yield from pages("activity", itertools.starmap(_row, active.items()))
        seen = [(each, active[each]) for each in self._seen if each in active and active[each].heard]
        yield from pages("previews", (preview_row(each, last.last, last.said) for each, last in seen))
        yield from self._views(roster, changed)
        if missed:
            yield {"missed": missed}

    def _absences(self, roster: Roster) -> Iterator[dict[str, Any]]:
        """Who is absent, as far as that was not told, and who is so no more."""
        before, now = self._absent, {}
        for view in itertools.islice(roster.absent(), MAX_ABSENT):
            now[str(view["identity"])] = view
        self._absent = now
        yield from pages("absent", [view for each, view in now.items() if before.get(each) != view])
        yield from pages("returned", [identity for identity in before if identity not in now])

    def _views(self, roster: Roster, changed: set[int]) -> Iterator[dict[str, Any]]:
        gone: list[int] = []
        for ids in (self._seen, sorted(changed.difference(self._seen))):
            views = (self._view(each, roster, each in changed, gone) for each in ids)
            yield from pages("clients", filter(None, views))
        if gone:
            yield {"gone": gone}

    def _view(self, client_id: int, roster: Roster, changed: bool, gone: list[int]) -> dict[str, Any] | None:
        """The view of a client; None for one that is gone, or that is on the screen as it was last told."""
        found = roster.view(client_id)
        if found is None:
            self._shown.pop(client_id, None)
            if changed:
                gone.append(client_id)
        elif client_id in self._seen:
            if self._shown.get(client_id) == found and not changed:
                return None
            self._shown[client_id] = found
        return found


def _row(client_id: int, active: Activity) -> list[Any]:
    """Messages and bytes heard, messages and bytes told, and when it spoke last."""
    counts = (client_id, active.heard, active.heard_bytes, active.told, active.told_bytes)
    return [*counts, round(active.last, 3)]


def preview_row(client_id: int, last: float, said: bytes) -> list[Any]:
    """What a client said last, short and safe, and when."""
    return [client_id, round(last, 3), preview(said.rstrip(b"\r\n"), PREVIEW)]


def _as_text(said: dict[str, Any]) -> dict[str, Any]:
    for way in ("heard", "told"):
        if isinstance(said.get(way), bytes):
            return {**said, way: encode_data(said[way])}
    return said


def _bytes_of(said: dict[str, Any]) -> int:
    return len(said["heard"] if "heard" in said else said["told"])


def pages(name: str, items: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Events of at most `PAGE` items each."""
    page: list[Any] = []
    for item in items:
        page.append(item)
        if len(page) == PAGE:
            yield {name: page}
            page = []
    if page:
        yield {name: page}
