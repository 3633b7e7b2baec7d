"""The lines that an operator typed, kept in a file from one console to the next.

Owns the file: this user's alone (0600), bounded. Several consoles add to it at a time. What cannot be read or
written is no failure: the history then lasts as long as the console.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from prompt_toolkit.history import History

KEPT: Final = 1000  # lines; the file is cut when it has twice as many
LONGEST: Final = 4096  # characters of a line that is kept


def history_path(environment: Mapping[str, str]) -> Path:
    """Where the history is: with the user's state."""
    home = environment.get("XDG_STATE_HOME", "")
    base = Path(home) if home.startswith("/") else Path("~/.local/state").expanduser()
    return base / "jackfield" / "console_history"


class LineHistory(History):
    """The history of typed lines in a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def load_history_strings(self) -> Iterable[str]:
        """The newest first, each once."""
        try:
            lines = self._path.read_text(errors="surrogateescape").splitlines()
        except OSError:
            return []
        if len(lines) > 2 * KEPT:
            self._cut(lines[-KEPT:])
        return list(dict.fromkeys(reversed(lines)))[:KEPT]

    def store_string(self, string: str) -> None:
        """Add a line; one that begins with a space is not kept."""
        if string.startswith(" ") or not string or len(string) > LONGEST or "\n" in string:
            return
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(self._path, os.O_APPEND, [string])

    def _cut(self, lines: list[str]) -> None:
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._write(beside, os.O_TRUNC, lines)
            beside.replace(self._path)

    @staticmethod
    def _write(path: Path, flags: int, lines: list[str]) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
        try:
            os.fchmod(fd, 0o600)
            os.write(fd, "".join(f"{line}\n" for line in lines).encode(errors="surrogateescape"))
        finally:
            os.close(fd)
