"""When a screen is drawn again: at once for what an operator waits for, seldom for counters, never in vain.

Pure: times come in. Over a slow line some drawings take long, once the buffers before it are full: the next
ones then wait twenty times as long, so that the line is free when a key is pressed. That is forgotten slowly,
because a drawing that finds room in those buffers takes no time and says nothing.
"""

from __future__ import annotations

from typing import Final

SOON: Final = 0.1  # seconds between drawings of what an operator waits for
CALM: Final = 1.0  # seconds between drawings of everything else
SHARE: Final = 20
SLOWEST: Final = 3.0  # seconds between two drawings at most
SLOWEST_SOON: Final = 0.5  # of what an operator waits for
FORGET: Final = 0.8  # of what the last drawing but one took


class Pace:
    """The times of drawings, in seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._drawn = float("-inf")
        self._took = 0.0

    def drawn(self, now: float, took: float) -> None:
        """A drawing ended that took so many seconds."""
        self._drawn = now
        self._took = max(took, FORGET * self._took)

    def wait(self, now: float, *, urgent: bool) -> float:
        """Seconds until the next drawing."""
        slow = SHARE * self._took
        least = max(SOON, min(SLOWEST_SOON, slow)) if urgent else max(CALM, min(SLOWEST, slow))
        return max(0.0, self._drawn + least - now)
