"""The terminal of a conversation: what comes in above, the typed line below, neither harming the other.

Owns the terminal's mode, which `close` puts back whatever happened. Everything shown is safe text.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType
from typing import Any

from ..hub.display import width_of
from . import keys
from .editor import LineEditor


class Screen:
    """A terminal without echo whose last line is the editor's. Use as a context manager."""

    def __init__(self, prompt: str, editor: LineEditor, *, colour: bool) -> None:
        self._prompt = prompt
        self._editor = editor
        self._colour = colour
        self._fd = sys.stdin.fileno()
        self._mode = contextlib.ExitStack()
        self._continued: Any = None

    def __enter__(self) -> Screen:
        self._mode.enter_context(keys.one_by_one(self._fd))
        # Stopped and continued (Ctrl-Z, fg), the shell has put its own mode back.
        self._continued = signal.signal(signal.SIGCONT, self._resume)
        return self

    def __exit__(self, *_: object) -> None:
        self._write("\r\x1b[K")
        signal.signal(signal.SIGCONT, self._continued)
        self._mode.close()

    def _resume(self, _number: int, _frame: FrameType | None) -> None:
        keys.set_mode(self._fd)
        self.redraw()

    @property
    def width(self) -> int:
        try:
            return os.get_terminal_size(self._fd).columns or 80
        except OSError:
            return 80

    def show(self, lines: list[str], *, style: str = "") -> None:
        """Lines above the typed one. They must be safe text."""
        if not lines:
            return
        start, end = (f"\x1b[{style}m", "\x1b[0m") if style and self._colour else ("", "")
        self._write("\r\x1b[K" + "".join(f"{start}{line}{end}\n" for line in lines) + self._line())

    def redraw(self) -> None:
        """The typed line as it is now."""
        self._write("\r\x1b[K" + self._line())

    def _line(self) -> str:
        width = self.width
        prompt = self._prompt if width_of(self._prompt) <= width // 2 else "> "
        room = max(2, width - width_of(prompt))
        text, column = self._editor.visible(room)
        back = width_of(text) - column
        return prompt + text + (f"\x1b[{back}D" if back else "")

    @staticmethod
    def _write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
