"""The table of clients that keeps itself current on a terminal.

Owns what a screenful shows; rich draws it. Reading the hub and drawing are the caller's to time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from .views import clients_table, nobody


class Screenful:
    """A live table, its heading above and the last events below, as far as the terminal is high."""

    def __init__(self) -> None:
        self._console = Console(highlight=False, soft_wrap=False)
        self._live = Live(
            console=self._console, auto_refresh=False, transient=False, vertical_overflow="crop"
        )
        self._live.start()

    @property
    def rows(self) -> int:
        """Clients that fit."""
        return max(3, self._console.height - 10)

    def show(
        self,
        clients: Sequence[dict[str, Any]],
        *,
        heading: str,
        more: int = 0,
        events: Sequence[str] = (),
        how: str = "",
    ) -> None:
        """Draw the clients; `more` is how many there are beside them, `how` a way to join."""
        width = self._console.width
        clients = clients[: self.rows]
        parts = [Text(heading, style="bold", no_wrap=True, overflow="ellipsis")]
        if clients:
            first, *rest = clients_table(clients, now=time.time(), width=width)
            parts.append(Text(first, style="cyan", no_wrap=True))
            parts += [Text(line, no_wrap=True) for line in rest]
        else:
            parts.append(Text(nobody(how)))
        if more:
            parts.append(Text(f"... and {more} more: jackfield clients", style="dim"))
        parts += [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in events]
        self._live.update(Group(*parts), refresh=True)

    def close(self) -> None:
        """Leave the last screenful standing and give the terminal back."""
        self._live.stop()
