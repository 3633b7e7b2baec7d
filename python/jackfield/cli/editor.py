"""The line that an operator types: keys in, finished lines out.

Owns editing, history and what is visible of a long line. Pure: bytes as a terminal sends them
come in at any split; it never reads a terminal. Keys: the arrows, Home, End, Delete, Backspace,
Ctrl-A, -E, -B, -F, -P, -N, -U, -K, -W, -L, and Ctrl-D at an empty line for the end.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import Final

from ..hub.display import safe_text, width_of

_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[@-~]|[^\[O])", re.DOTALL)
_LONGEST_SEQUENCE: Final = 32
_KEYS: Final = {
    "\x1b[D": "left", "\x1bOD": "left", "\x02": "left",
    "\x1b[C": "right", "\x1bOC": "right", "\x06": "right",
    "\x1b[A": "up", "\x1bOA": "up", "\x10": "up",
    "\x1b[B": "down", "\x1bOB": "down", "\x0e": "down",
    "\x1b[H": "home", "\x1bOH": "home", "\x1b[1~": "home", "\x01": "home",
    "\x1b[F": "end", "\x1bOF": "end", "\x1b[4~": "end", "\x05": "end",
    "\x1b[3~": "delete", "\x7f": "backspace", "\x08": "backspace",
    "\x15": "clear_left", "\x0b": "clear_right", "\x17": "clear_word",
    "\x0c": "redraw", "\x04": "leave", "\r": "enter", "\n": "enter",
}  # fmt: skip

LEAVE: Final = None  # what `feed` returns among the lines when the operator wants to leave


class LineEditor:
    """One line being typed, and the lines before it."""

    def __init__(self, *, history: int = 200) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self._text: list[str] = []
        self._cursor = 0  # 0 <= _cursor <= len(_text)
        self._history: list[str] = []
        self._keep = history
        self._place = 0  # 0 <= _place <= len(_history); the latter is the new line
        self._draft = ""

    @property
    def text(self) -> str:
        return "".join(self._text)

    def feed(self, data: bytes) -> list[str | None]:
        """Take what the terminal sent; the lines it finished, and LEAVE where the operator leaves."""
        self._pending += self._decoder.decode(data)
        lines: list[str | None] = []
        while self._pending:
            key = self._next_key()
            if key is None:
                break
            name = _KEYS.get(key)
            if name == "enter":
                lines.append(self._enter())
            elif name == "leave" and not self._text:
                lines.append(LEAVE)
            elif name is not None:
                self._edit(name)
            elif len(key) == 1 and key != "\x1b" and (key == "\t" or unicodedata.category(key) != "Cc"):
                self._text.insert(self._cursor, key)
                self._cursor += 1
        return lines

    def _next_key(self) -> str | None:
        """Take one key off what is pending; None while its sequence is incomplete."""
        if self._pending[0] != "\x1b":
            key, self._pending = self._pending[0], self._pending[1:]
            return key
        match = _SEQUENCE.match(self._pending)
        if match is None:
            if len(self._pending) > _LONGEST_SEQUENCE:  # no terminal sends this: drop the escape
                self._pending = self._pending[1:]
                return "\x1b"
            return None
        self._pending = self._pending[match.end() :]
        return match.group()

    def _enter(self) -> str:
        line = self.text
        if line and (not self._history or self._history[-1] != line):
            self._history = [*self._history, line][-self._keep :]
        self._set("")
        self._place = len(self._history)
        return line

    def _set(self, text: str) -> None:
        self._text = list(text)
        self._cursor = len(self._text)

    def _edit(self, name: str) -> None:
        cursor, text = self._cursor, self._text
        match name:
            case "left":
                self._cursor = max(0, cursor - 1)
            case "right":
                self._cursor = min(len(text), cursor + 1)
            case "home":
                self._cursor = 0
            case "end":
                self._cursor = len(text)
            case "backspace" if cursor:
                del text[cursor - 1]
                self._cursor -= 1
            case "delete" | "leave" if cursor < len(text):
                del text[cursor]
            case "clear_left":
                del text[:cursor]
                self._cursor = 0
            case "clear_right":
                del text[cursor:]
            case "clear_word":
                start = len("".join(text[:cursor]).rstrip().rpartition(" ")[0])
                start += 1 if start else 0
                del text[min(start, cursor) : cursor]
                self._cursor = min(start, cursor)
            case "up":
                self._recall(self._place - 1)
            case "down":
                self._recall(self._place + 1)

    def _recall(self, place: int) -> None:
        if not 0 <= place <= len(self._history):
            return
        if self._place == len(self._history):
            self._draft = self.text
        self._place = place
        self._set(self._draft if place == len(self._history) else self._history[place])

    def visible(self, width: int) -> tuple[str, int]:
        """What fits of the line in `width` columns around the cursor, and the cursor's column in it."""
        cells = [safe_text(character) for character in self._text]
        sizes = [width_of(cell) for cell in cells]
        room = max(1, width - 1)
        start = 0
        while sum(sizes[start : self._cursor]) > room:
            start += 1
        end, used = start, 0
        while end < len(cells) and used + sizes[end] <= room:
            used += sizes[end]
            end += 1
        return "".join(cells[start:end]), sum(sizes[start : self._cursor])


class Lines:
    """Chunks in, whole lines out; what has no end yet waits for `rest`.

    A client without framing sends pieces: lines are shown as lines, and an unfinished one when it
    has been waited for. At most `limit` bytes wait.
    """

    def __init__(self, *, limit: int = 65536) -> None:
        self._waiting = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` finished, without their ends."""
        self._waiting += data
        *lines, rest = self._waiting.split(b"\n")
        self._waiting = rest
        found = [bytes(line.removesuffix(b"\r")) for line in lines]
        if len(self._waiting) > self._limit:
            found += self.rest()
        return found

    def rest(self) -> list[bytes]:
        """What waits, as a line of its own; nothing when nothing waits."""
        found = [bytes(self._waiting.removesuffix(b"\r"))] if self._waiting else []
        self._waiting.clear()
        return found

    def __bool__(self) -> bool:
        return bool(self._waiting)
