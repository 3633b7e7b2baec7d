"""The table of clients that keeps itself current on a terminal: `jackfield clients --watch`.

Owns the screen for that long: an alternate one, of which only the lines that changed are written. What
stands in the table is the console's to say.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any

from ..console.lines import text_of
from ..console.roster import Row
from ..console.table import table
from ..hub.display import fit


class Screenful:
    """The table with a heading above it, as far as the terminal is high."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._size = (0, 0)
        self._write("\x1b[?1049h\x1b[?25l")

    def show(self, clients: Sequence[dict[str, Any]], *, heading: str, nothing: str) -> None:
        """Draw the clients, and how many more there are than fit; `nothing` where there are none."""
        width, height = size = shutil.get_terminal_size()
        rows = [Row(view) for view in clients[: max(1, height - 3)]]
        shown = [text_of(line) for line in table(rows, width=width, now=time.time(), marks=False)]
        lines = [fit(heading, width), *(shown if rows else [nothing])]
        if len(clients) > len(rows):
            lines.append(f"... and {len(clients) - len(rows)} more: jackfield clients")
        if size != self._size:
            self._size, self._lines = size, []
            self._write("\x1b[2J")
        before = [*self._lines, *([""] * (len(lines) - len(self._lines)))]
        after = [*lines, *([""] * (len(before) - len(lines)))][:height]
        changed = ((at, new) for at, (old, new) in enumerate(zip(before, after, strict=False)) if old != new)
        self._write("".join(f"\x1b[{at + 1};1H{new[:width]}\x1b[K" for at, new in changed))
        self._lines = lines

    def close(self) -> None:
        """Give the terminal back."""
        self._write("\x1b[?25h\x1b[?1049l")

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
