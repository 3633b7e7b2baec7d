"""The states of a channel, and how long a lasting one waits between two attempts to connect."""

from __future__ import annotations

import random as random_source
from collections.abc import Callable
from dataclasses import dataclass, field

from jackfield._error_classes import InvalidOption, JackfieldError
from jackfield._life_errors import duration
from jackfield._units import UnitError, format_seconds, read_seconds


@dataclass(frozen=True, slots=True)
class Connecting:
    """The first connection has not come about yet."""

    attempt: int = 1
    """Which attempt is next, from 1."""
    delay: float = 0.0
    """Seconds until then."""
    error: JackfieldError | None = None
    """Why the last attempt failed; None before the first."""

    def __str__(self) -> str:
        return f"connecting, {_next(self.attempt, self.delay, self.error)}"


@dataclass(frozen=True, slots=True)
class Connected:
    """There is a connection; for channels that reconnect: their so many-th."""

    connection: int = 1

    def __str__(self) -> str:
        return "connected"


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """The connection was lost, or an attempt at the next one has failed."""

    error: JackfieldError
    """Before the first attempt the ``ChannelLost``, with its ``certainly_unsent`` messages, which are still
    queued here, and its ``unknown`` ones, which are not sent again; then why the last attempt failed."""
    attempt: int
    """Which attempt is next, from 1."""
    delay: float
    """Seconds until then."""

    def __str__(self) -> str:
        return f"reconnecting, {_next(self.attempt, self.delay, self.error)}"


@dataclass(frozen=True, slots=True)
class Closed:
    """The end: closed by this side (None), or given up for good."""

    error: JackfieldError | None = None

    def __str__(self) -> str:
        return "closed" if self.error is None else f"given up: {self.error}"


State = Connecting | Connected | Reconnecting | Closed


def _next(attempt: int, delay: float, error: JackfieldError | None) -> str:
    after = f" in {duration(delay)}" if delay else " now"
    why = f" ({error})" if error is not None else ""
    return f"attempt {attempt}{after}{why}"


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before an attempt: ``first`` seconds, then ``factor`` times as long each time.

    Never longer than ``maximum`` seconds. The ``jitter`` part of each wait is random, so that thousands of
    clients of one server do not come back at the same moment: 0.2 is between 80 and 100 % of it, 1 anything
    down to none. After ``attempts`` of them in a row it is given up; None is never. Raises ``InvalidOption``.
    """

    first: float = 0.1
    factor: float = 2.0
    maximum: float = 30.0
    jitter: float = 0.2
    attempts: int | None = None
    random: Callable[[], float] = field(default=random_source.random, repr=False, compare=False)
    """Gives numbers from 0 up to 1; a test injects its own."""

    def __post_init__(self) -> None:
        wrong = {
            "first": not 0 < self.first <= 86400,
            "factor": not 1 <= self.factor <= 1000,
            "maximum": not self.first <= self.maximum <= 86400,
            "jitter": not 0 <= self.jitter <= 1,
            "attempts": self.attempts is not None and self.attempts < 1,
        }
        for name, is_wrong in wrong.items():
            if is_wrong:
                hint = "write for example Backoff(first=0.1, factor=2, maximum=30, jitter=0.2)"
                message = f"{name}={getattr(self, name)} is outside its limits"
                raise InvalidOption("reconnect", getattr(self, name), message, hint)

    def delay(self, attempt: int) -> float:
        """Seconds before this attempt, counted from 1."""
        whole = self.first
        for _ in range(attempt - 1):
            whole *= self.factor
            if whole >= self.maximum or self.factor == 1:
                break
        whole = min(whole, self.maximum)
        return whole * (1 - self.jitter * self.random())

    @classmethod
    def of(cls, reconnect: object) -> Backoff | None:
        """What ``reconnect=`` says: one of these, text for ``parse``, or None. Raises ``TypeError``."""
        if isinstance(reconnect, str):
            return cls.parse(reconnect)
        if reconnect is None or isinstance(reconnect, Backoff):
            return reconnect
        choices = "a Backoff, text such as '100ms..30s', or None for never"
        raise TypeError(f"reconnect takes {choices}, and not {reconnect!r}")

    @classmethod
    def parse(cls, text: str) -> Backoff:
        """Read ``100ms..30s``, the first wait and the longest, or ``yes`` for the default."""
        if text.lower() in ("yes", "on", "true"):
            return cls()
        first, dots, maximum = text.partition("..")
        try:
            if not dots:
                raise UnitError(f"{text!r} is not first..maximum", "write for example 100ms..30s")
            return cls(first=read_seconds(first), maximum=read_seconds(maximum))
        except UnitError as error:
            raise InvalidOption("reconnect", text, error.message, error.hint) from None

    def __str__(self) -> str:
        return f"{format_seconds(self.first)}..{format_seconds(self.maximum)}"
