"""How a lesson looks: its title, its steps, and what to try next. Pure.

With a width it is for a terminal: wrapped and styled text. Without one each text is one line. Chinese is
written without spaces, so a line may break between any two of its characters, except before a closing mark
and behind an opening one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ..demos import LessonText, StepText
from ..hub.display import fit, safe_text, width_of

_LEAST = 30
_CLOSING = "\uff0c\u3002\uff1b\uff1a\uff1f\uff01\uff09\u201d\u3001\u300b"  # comma, full stop ... brackets
_OPENING = "\uff08\u201c\u300a"
_WIDE = "\u2e80-\ua4cf\uf900-\ufaff\uff00-\uff60"
_PIECES = re.compile(rf"[{_OPENING}]*(?:[^\s{_WIDE}{_OPENING}{_CLOSING}]+|[{_WIDE}]|)[{_CLOSING}]*|\s+")


def list_lines(
    lessons: Iterable[tuple[str, LessonText]], words: dict[str, str], *, width: int | None
) -> list[str]:
    """The lessons with number, name and title, and how to take one."""
    rows = [f"  {number}  {fit(name, 18)}  {text.title}" for number, (name, text) in enumerate(lessons, 1)]
    return [*wrapped(words["lessons"], 0, width), "", *rows, "", *wrapped(words["start"], 0, width)]


def heading(text: LessonText, *, width: int | None) -> list[str]:
    """What stands above the steps."""
    return [_style(text.title, "1", width), *wrapped(text.about, 0, width)]


def step_lines(
    count: str, step: StepText, seen: Iterable[str], words: dict[str, str], *, width: int | None
) -> list[str]:
    """One step: its number and title, what it does, what was seen and why."""
    column = max(width_of(words[name]) for name in ("does", "seen", "why"))
    lines = ["", f"{count}  {_style(step.title, '1', width)}"]
    for name, text in (("does", step.does), ("seen", step.seen), ("why", step.why)):
        label = f"  {fit(words[name], column)}  "
        first, *rest = wrapped(text, width_of(label), width)
        lines += [label.replace(words[name], _style(words[name], "36", width)) + first, *rest]
        if name == "seen":
            indent = width_of(label) + 4
            for line in seen:
                begin, *more = wrapped(line, indent, width)
                lines += [" " * indent + begin, *more]
    return lines


def next_lines(text: LessonText, words: dict[str, str], *, width: int | None) -> list[str]:
    """What to try after a lesson."""
    lines = ["", _style(words["next"], "1", width)]
    for hint in text.next:
        first, *rest = wrapped(hint, 4, width)
        lines += [f"  - {first}", *rest]
    return lines


def wrapped(text: str, indent: int, width: int | None) -> list[str]:
    """Lines that fit behind an indent; the first one comes without it. Nothing is wrapped without a width."""
    text = safe_text(text)
    if width is None or indent + width_of(text) <= width:
        return [text]
    room = max(_LEAST, width - indent)
    lines, line = [], ""
    for piece in _pieces(text, room):
        if width_of(line) + width_of(piece.rstrip()) > room:
            lines.append(line.rstrip())
            line = piece.lstrip()
        else:
            line += piece
    return [
        found if number == 0 else " " * indent + found for number, found in enumerate([*lines, line.rstrip()])
    ]


def _pieces(text: str, room: int) -> Iterator[str]:
    """What a line may be broken between; a word that is longer than a line is cut."""
    for piece in _PIECES.findall(text):
        for start in range(0, len(piece), room):
            yield piece[start : start + room]


def _style(text: str, style: str, width: int | None) -> str:
    return text if width is None else f"\x1b[{style}m{text}\x1b[0m"
