"""What happened in the hub, and what clients said lately, in bounded memory.

Owns the log: events as values, their one-line form, the last of them for `jackfield logs`, and a
short memory of messages so that an operator who attaches sees what was just said. Pure: `now`
comes in with each event; who follows is a callable.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final

from .display import safe_text
from .roster import timestamp

_PLAIN: Final = re.compile(r"[^\s\"=\\]+")

_BY_CLIENTS: Final = frozenset(
    {"joined", "left", "refused", "message", "accept_failed", "handshake_failed", "not_logged"}
    | {"identified", "not_identified", "conflict", "dial_failed", "fault"}
    | {"autoreply_dropped", "autoreply_limited", "autoreply_withheld"}
    | {"script_dropped", "script_failed", "script_says", "script_slow", "script_withheld"}
)

Field = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: `time` in Unix seconds, `kind` such as `joined`, and its facts in order."""

    time: float
    kind: str
    facts: tuple[tuple[str, Field], ...] = ()

    def line(self) -> str:
        """`2026-11-20T14:00:00.000Z joined id=1 name=tcp-1 peer=127.0.0.1:40122`, safe on a terminal."""
        words = [timestamp(self.time), self.kind, *(f"{name}={_value(value)}" for name, value in self.facts)]
        return " ".join(words)

    def to_json(self) -> dict[str, Any]:
        """The event as the control protocol and `logs --json` carry it."""
        return {"time": timestamp(self.time), "event": self.kind, **dict(self.facts)}


def line_of(event: dict[str, Any]) -> str:
    """The one-line form of an event that came as JSON."""
    facts = (f"{name}={_value(value)}" for name, value in event.items() if name not in ("time", "event"))
    return " ".join([safe_text(str(event.get("time", ""))), safe_text(str(event.get("event", ""))), *facts])


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = safe_text(str(value))
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class Journal:
    """The last events, and everyone who follows them.

    What clients cause and what else happened are kept apart, `keep` of each: no flood of clients
    pushes out what operators did.
    """

    def __init__(self, *, keep: int = 500) -> None:
        self._of_clients: deque[tuple[int, Event]] = deque(maxlen=keep)
        self._others: deque[tuple[int, Event]] = deque(maxlen=keep)
        self._written = 0
        self._followers: list[Callable[[Event], None]] = []

    def write(self, event: Event) -> None:
        """Keep an event and hand it to every follower."""
        self._keep(event)
        for follower in tuple(self._followers):
            follower(event)

    def _keep(self, event: Event) -> None:
        self._written += 1
        kept = self._of_clients if event.kind in _BY_CLIENTS else self._others
        kept.append((self._written, event))

    def remember(self, events: Iterable[Event]) -> None:
        """Keep what a predecessor had written; nobody is told."""
        for event in events:
            self._keep(event)

    def last(self, count: int) -> list[Event]:
        """The last `count` events, oldest first."""
        kept = sorted((*self._of_clients, *self._others), key=itemgetter(0))
        return [event for _, event in kept[-count:]] if count > 0 else []

    def follow(self, follower: Callable[[Event], None]) -> Callable[[], None]:
        """Hand each event from now on to `follower`; the result ends that, and may be called twice."""
        self._followers.append(follower)

        def end() -> None:
            if follower in self._followers:
                self._followers.remove(follower)

        return end


class Memory:
    """What clients said lately: bounded in messages, in bytes, and in bytes of one message."""

    def __init__(self, *, messages: int = 500, total_bytes: int = 256 * 1024, of_one: int = 4096) -> None:
        self._said: deque[tuple[float, int, bytes]] = deque()
        self._bytes = 0
        self._messages = messages
        self._total = total_bytes
        self._of_one = of_one

    def add(self, now: float, client_id: int, data: bytes) -> None:
        """A client said `data`; the oldest words make room."""
        if len(data) > self._of_one:
            data = data[: self._of_one]
        self._said.append((now, client_id, data))
        self._bytes += len(data)
        while self._bytes > self._total or len(self._said) > self._messages:
            self._bytes -= len(self._said.popleft()[2])

    def all(self) -> list[tuple[float, int, bytes]]:
        """Everything that is remembered: when, who, what; oldest first."""
        return list(self._said)

    def of(self, client_id: int, count: int) -> list[tuple[float, bytes]]:
        """The last `count` messages of one client that are still remembered, oldest first."""
        said = [(when, data) for when, who, data in self._said if who == client_id]
        return said[-count:] if count > 0 else []

    def newest(self) -> dict[int, tuple[float, bytes]]:
        """The last message that is still remembered of each client."""
        return {who: (when, data) for when, who, data in self._said}


class Throttle:
    """Writes the first `burst` of a kind in each `period` seconds, and counts the rest.

    A flood of refusals must not become a flood of log lines. `allow` is told the time; it says
    whether to write, and how many were left out before this one.
    """

    def __init__(self, *, burst: int = 10, period: float = 1.0) -> None:
        self._burst = burst
        self._period = period
        self._since = float("-inf")
        self._written = 0
        self._left_out = 0

    @classmethod
    def of_clients(cls) -> Throttle:
        """For what clients cause by being there, such as joins: a crowd is logged, a flood counted."""
        return cls(burst=2000, period=60.0)

    def allow(self, now: float) -> tuple[bool, int]:
        if now - self._since >= self._period:
            self._since = now
            self._written = 0
        if self._written >= self._burst:
            self._left_out += 1
            return False, 0
        self._written += 1
        left_out, self._left_out = self._left_out, 0
        return True, left_out

    def take_left_out(self, now: float) -> int:
        """How many were left out, once their period is over; 0 before, and when it was told."""
        if now - self._since < self._period:
            return 0
        left_out, self._left_out = self._left_out, 0
        return left_out
