"""Regular expressions that operators write and clients feed.

Owns their dialect and their cost. They are RE2's: its time grows with the length of the text and with nothing
else, so that no pattern, however odd, and no client, however hostile, can hold up the hub. Syntax as in
https://github.com/google/re2/wiki/Syntax, over bytes; without look-around and back references, which is the
price. A pattern is typed as text: its characters stand for their UTF-8, `\\xff` for one byte.
"""

from __future__ import annotations

from typing import Final

import re2

from .text import TextError

LONGEST: Final = 1024  # characters of a pattern
_LINES: Final = b"(?m)"
MEMORY: Final = 1024 * 1024  # bytes that one compiled pattern may take


class Pattern:
    """A regular expression. Raises `TextError` for one that cannot be used, saying why.

    With `lines` its `^` and `$` are the ends of lines, too.
    """

    __slots__ = ("_compiled", "text")

    def __init__(self, text: str, *, lines: bool = False) -> None:
        if len(text) > LONGEST:
            raise TextError(f"a pattern of {len(text)} characters is too long: at most {LONGEST}")
        options = re2.Options()
        options.encoding = re2.Options.Encoding.LATIN1
        options.log_errors = False
        options.max_mem = MEMORY
        self.text = text
        try:
            encoded = text.encode("utf-8", "surrogateescape")
            self._compiled = re2.compile(_LINES + encoded if lines else encoded, options)
        except re2.error as problem:
            reason = problem.args[0].decode("utf-8", "replace") if problem.args else "it cannot be read"
            reason = reason.replace(_LINES.decode(), "", 1) if lines else reason
            raise TextError(f"the pattern {text!r} cannot be used: {reason}; see RE2's syntax") from None

    @property
    def groups(self) -> int:
        """How many groups it has."""
        return int(self._compiled.groups)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its named groups."""
        return tuple(name.decode("ascii", "replace") for name in self._compiled.groupindex)

    def search(self, data: bytes, start: int = 0) -> Found | None:
        """The first place from `start` on that matches."""
        match = self._compiled.search(data, start)
        return None if match is None else Found(match)

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"


class Found:
    """Where a pattern matched: `data[start:end]`, and its groups."""

    __slots__ = ("_match", "end", "start")

    def __init__(self, match: re2._Match) -> None:
        self._match = match
        self.start: int = match.start()
        self.end: int = match.end()

    def group(self, group: int | str = 0) -> bytes | None:
        """What a group, by number or name, matched; None if it took no part. Raises IndexError."""
        key = group.encode() if isinstance(group, str) else group
        try:
            matched: bytes | None = self._match.group(key)
        except (IndexError, KeyError):
            raise IndexError(f"the pattern has no group {group!r}") from None
        return matched
