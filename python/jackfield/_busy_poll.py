"""Polling before sleeping: how long, and what it did. The decisions are the engine's (``busy_poll.rs``)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jackfield._units import UnitError, read_seconds

LONGEST = 1.0
"""Seconds; who polls for longer than that has no use for sleeping."""


@dataclass(frozen=True)
class BusyPollStatistics:
    """What ``busy_poll=`` did so far on one event loop."""

    limit: float
    """Seconds of polling before each sleep, as asked for."""
    spins: int
    """Waits that began with polling."""
    hits: int
    """Those in which news came, so that nobody had to be woken."""
    spent: float
    """Seconds spent polling."""
    pauses: int
    """How often polling was given up for a while (1 ms to 1 s), because fewer than one spin in three hit."""
    is_paused: bool
    """Whether it is given up now."""


def read_busy_poll(value: float | str | None) -> float | None:
    """The option in seconds; None is off, and so is 0. Raises ValueError."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = read_seconds(value)
        except UnitError as error:
            raise ValueError(f"busy_poll: {error.message}; write for example 50us") from error
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"busy_poll is seconds or a text such as '50us', not {value!r}")
    if not math.isfinite(value) or not 0 <= value <= LONGEST:
        raise ValueError(f"busy_poll={value!r} is not between 0 and 1 second; usual are 20us to 200us")
    return float(value) or None
