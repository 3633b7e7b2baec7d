"""When a screen is drawn again: at once for what an operator waits for, seldom for counters, never in vain.

Pure: times come in. Over a slow line a drawing takes long, because the terminal takes its bytes slowly: the
next one then waits twenty times as long, so that keys have their turn.
"""

from __future__ import annotations

from typing import Final

SOON: Final = 0.1  # seconds between drawings of what an operator waits for
CALM: Final = 1.0  # seconds between drawings of everything else
SHARE: Final = 20
SLOWEST: Final = 3.0


class Pace:
    """The times of drawings, in seconds of a clock that never goes back."""

    def __init__(self) -> None:
        self._drawn = float("-inf")
        self._took = 0.0

    def drawn(self, now: float, took: float) -> None:
        """A drawing ended that took so many seconds."""
        self._drawn = now
        self._took = took

    def wait(self, now: float, *, urgent: bool) -> float:
        """Seconds until the next drawing."""
        least = max(SOON if urgent else CALM, min(SLOWEST, SHARE * self._took))
        return max(0.0, self._drawn + least - now)
