"""One line on a terminal's standard error that says how far a long work is."""

from __future__ import annotations

import os
import sys
import time
from typing import Final

from ..hub.display import fit

OFTEN: Final = 0.1  # seconds between two lines, at least


class Progress:
    """The line, if anybody sees it: `show` replaces it, `clear` takes it away."""

    def __init__(self) -> None:
        self._seen = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._next = 0.0
        self._shown = False

    def show(self, text: str, *, at_once: bool = False) -> None:
        """Show `text` (safe for a terminal), unless one was shown just now."""
        now = time.monotonic()
        if not self._seen or (now < self._next and not at_once):
            return
        self._next = now + OFTEN
        try:
            width = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        except OSError:
            width = 80
        self._shown = True
        sys.stderr.write("\r" + fit(text, width - 1))
        sys.stderr.flush()

    def clear(self) -> None:
        """Leave an empty line for what comes."""
        if self._shown:
            self._shown = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
