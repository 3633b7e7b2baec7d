"""Where in a TOML text each top-level key and its values stand: `tomllib` reads values, and no places.

Owns nothing but that: the text has been parsed before, so what stands in it is valid. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_TOKEN: Final = re.compile(
    r"""(?P<comment>\#[^\n]*)
    |(?P<long>\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5})
    |(?P<text>"(?:\\.|[^"\\\n])*"|'[^'\n]*')
    |(?P<newline>\n)
    |(?P<space>[ \t\r]+)
    |(?P<mark>[\[\]{},=])
    |(?P<bare>[^\s\[\]{},=#"']+)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(slots=True)
class Place:
    """Line and column, from 1, of a key; and of its value, or of each element of a list."""

    line: int
    column: int
    values: list[tuple[int, int]] = field(default_factory=list)


def places(text: str) -> dict[str, Place]:
    """The place of each top-level key, tables among them (`[name]`)."""
    found: dict[str, Place] = {}
    depth, place, key = 0, None, True  # whether a key may begin here
    table = False  # behind the first `[name]` nothing is at the top level
    for kind, word, line, column in _tokens(text):
        if kind in ("comment", "space"):
            continue
        if kind == "newline":
            if depth == 0:
                place, key = None, True
        elif key and word == "[":
            table, key, depth = True, False, 1
            place = None
        elif key:
            key = False
            if not table:
                place = found.setdefault(_unquoted(word), Place(line, column))
        elif table and place is None and depth and word not in "[]":
            place = found.setdefault(_unquoted(word), Place(line, column))
        elif word in ("[", "{"):
            depth += 1
        elif word in ("]", "}"):
            depth -= 1
        elif word not in (",", "=") and place is not None and kind != "mark" and not table:
            place.values.append((line, column))
    return found


def _unquoted(word: str) -> str:
    return word[1:-1] if word[:1] in ('"', "'") else word.partition(".")[0]


def _tokens(text: str) -> Iterator[tuple[str, str, int, int]]:
    line, start = 1, 0  # where the line begins
    for match in _TOKEN.finditer(text):
        yield match.lastgroup or "", match[0], line, match.start() - start + 1
        if "\n" in match[0]:
            line += match[0].count("\n")
            start = match.start() + match[0].rindex("\n") + 1
