"""Automatic replies as rules: what is answered with what, how often, and when an answer would feed a loop.

Owns the decisions. Pure: bytes and `now` come in, the rules that answer come out. Where a client has no
framing, patterns are looked for across chunks, in the last `WINDOW` bytes of what it said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from .patterns import Pattern
from .text import LINE_ENDINGS, TextError

WINDOW: Final = 1024  # bytes of a stream that a match may span
MOST_AT_ONCE: Final = 100  # replies of one rule to what came at once
PROMPT: Final = 1.0  # seconds: what comes so soon after our reply may be an answer to it
FIRST_PAUSE: Final = 25  # prompt messages in a row before the first reply is withheld
ECHOES: Final = 3  # times that our own reply may come back
_RATE: Final = re.compile(r"([1-9]\d{0,5})/(s|m|h)")
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` replies in `seconds`, to each client; as many at once."""

    count: int
    seconds: float

    @classmethod
    def parse(cls, text: str) -> Rate:
        """The rate of `10/s`, `5/m`, `1/h`. Raises `TextError`."""
        match = _RATE.fullmatch(text.strip())
        if match is None:
            raise TextError(f"{text!r} is not a rate; write how often in which time, such as 10/s, 5/m, 1/h")
        return cls(int(match[1]), _SECONDS[match[2]])

    def __str__(self) -> str:
        unit = next(unit for unit, seconds in _SECONDS.items() if seconds == self.seconds)
        return f"{self.count}/{unit}"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is answered: `reply` to whoever `to` means and says something that matches.

    `pattern` is a regular expression, where `^` and `$` are ends of lines, or with `exact` the hex of bytes
    that must be in it. `ending` is a line ending's name, or "default" for that of the client's listener.
    """

    name: str
    pattern: str
    reply: bytes
    to: str = "all"
    exact: bool = False
    ending: str = "none"
    rate: Rate = field(default=Rate(10, 1.0))

    def compile(self) -> Pattern:
        """The pattern, ready to search. Raises `TextError`."""
        if self.exact:
            return Pattern("".join(f"\\x{byte:02x}" for byte in bytes.fromhex(self.pattern)))
        return Pattern(self.pattern, lines=True)

    def to_json(self) -> dict[str, Any]:
        """The rule as the state keeps it."""
        return {
            "pattern": self.pattern,
            "reply": self.reply.hex(),
            "to": self.to,
            "exact": self.exact,
            "ending": self.ending,
            "rate": str(self.rate),
        }

    @classmethod
    def from_json(cls, name: str, value: dict[str, Any]) -> Rule:
        """The rule that `to_json` made. Raises ValueError (`TextError`, too) for anything else."""
        try:
            rule = cls(
                name,
                pattern=str(value["pattern"]),
                reply=bytes.fromhex(value["reply"]),
                to=str(value["to"]),
                exact=bool(value["exact"]),
                ending=str(value["ending"]),
                rate=Rate.parse(str(value["rate"])),
            )
        except (KeyError, TypeError) as problem:
            raise ValueError(f"autoreply {name!r} is damaged: {problem}") from problem
        if rule.ending != "default" and rule.ending not in LINE_ENDINGS:
            raise ValueError(f"autoreply {name!r} is damaged: unknown line ending {rule.ending!r}")
        rule.compile()
        return rule


class Bucket:
    """How many replies are left of a rate; what was not used within its time is not saved up."""

    __slots__ = ("_left", "_rate", "_when")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._left = float(rate.count)
        self._when = float("-inf")

    def take(self, now: float) -> bool:
        """Whether one more is allowed now."""
        if now > self._when:
            gained = (now - self._when) * self._rate.count / self._rate.seconds
            self._left = min(float(self._rate.count), self._left + gained)
            self._when = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class LoopGuard:
    """Whether answering a sender of datagrams would feed a loop of two that answer each other.

    Nothing tells a loop from a client that asks often, but silence: every so often a reply is withheld. A
    loop ends with that; a client that asks by itself is heard again, and is then trusted twice as long. Who
    sends our own reply back is answered no more until it says something else.
    """

    __slots__ = ("_echoes", "_in_a_row", "_last", "_pause_at", "_replied")

    def __init__(self) -> None:
        self._last: bytes | None = None  # what we replied
        self._replied = float("-inf")
        self._in_a_row = 0  # messages that came promptly after a reply
        self._pause_at = FIRST_PAUSE
        self._echoes = 0

    def withhold(self, now: float, data: bytes) -> str:
        """Why there should be no reply to `data`; empty when there should."""
        self._echoes = self._echoes + 1 if data == self._last else 0
        if self._echoes >= ECHOES:
            return "it sends our own replies back"
        if now - self._replied > PROMPT:
            self._in_a_row = 0
            return ""
        self._in_a_row += 1
        if self._in_a_row < self._pause_at:
            return ""
        self._in_a_row = 0
        self._pause_at = min(self._pause_at * 2, 1 << 20)
        return "each message came at once after our reply; if it asks by itself, it will ask again"

    def replied(self, now: float, data: bytes) -> None:
        """It was answered with `data`."""
        self._last = data
        self._replied = now


class Stream:
    """The end of what one client said, for patterns that span chunks."""

    __slots__ = ("_base", "_tail")

    def __init__(self) -> None:
        self._tail = b""
        self._base = 0  # bytes before the tail

    @property
    def end(self) -> int:
        """How many bytes were said."""
        return self._base + len(self._tail)

    def add(self, data: bytes) -> None:
        """More was said. What is searched next is what was kept, and all of `data`."""
        kept = self._tail[-WINDOW - 1 :]
        self._base = self.end - len(kept)
        self._tail = kept + data

    def matches(self, pattern: Pattern, after: int) -> tuple[int, int]:
        """How often it matches behind position `after`, and where the next search begins."""
        text, count = self._tail, 0
        # The byte before the window is only looked at by ^: whether a line begins behind it.
        start = max(1 if self._base else 0, after - self._base)
        while count < MOST_AT_ONCE and (found := pattern.search(text, start)) is not None:
            if found.end == found.start:  # a match of nothing answers what came at once, and once
                count, start = max(count, 1), len(text)
                break
            count, start = count + 1, found.end
        if count == MOST_AT_ONCE:
            start = len(text)
        return count, self._base + start
