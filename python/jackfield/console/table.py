"""The table of clients at any width: which columns there is room for, and how wide each one is.

Owns the columns. Counts and times have a fixed width, so that a screen changes where a value changes and
nowhere else; a time of day is shown instead of an age, which would change every second. Pure.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ..hub.display import fit, human_size, safe_text, width_of
from .lines import Line
from .roster import Row

GAP: Final = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """A column: what it says of a row, between `least` and `most` wide; `rank` 0 stays longest.

    `always` is False for one that is there only where some row has something to say.
    """

    heading: str
    cell: Callable[[Row, float], str]
    least: int
    most: int
    rank: int
    right: bool = False
    always: bool = True


def _size(name: str, *, blank: bool = False) -> Callable[[Row, float], str]:
    def cell(row: Row, now: float) -> str:
        count = row.count(name)
        return "" if row.id < 0 or (blank and not count) else human_size(count)

    return cell


def time_of(at: float, now: float) -> str:
    """The time of day, or the day if that is another one; both local. Empty for 0."""
    if not at:
        return ""
    then = time.localtime(at)
    same_day = then[:3] == time.localtime(now)[:3]
    return time.strftime("%H:%M:%S" if same_day else "%b %d", then)


def _last(row: Row, now: float) -> str:
    seen = row.view.get("last_seen")
    if not row.last and isinstance(seen, str):
        try:
            return time_of(datetime.fromisoformat(seen).timestamp(), now)
        except ValueError:
            return ""
    return time_of(row.last or (seen if isinstance(seen, float) else 0.0), now)


def _state(row: Row, now: float) -> str:
    return "" if row.state == "connected" else safe_text(row.state)


COLUMNS: Final = (
    Column("ID", lambda row, now: str(row.id) if row.id > 0 else "", 2, 8, 0, right=True),
    Column("NAME", lambda row, now: safe_text(row.name), 8, 24, 0),
    Column("STATE", _state, 8, 9, 1, always=False),
    Column("PROTO", lambda row, now: safe_text(row.protocol), 5, 9, 4),
    Column("PEER", lambda row, now: safe_text(row.peer), 12, 24, 3),
    Column("TAGS", lambda row, now: safe_text(",".join(row.tags)), 6, 16, 6, always=False),
    Column("LAST", _last, 8, 8, 5, right=True),
    Column("IN", _size("bytes_in"), 5, 5, 7, right=True),
    Column("OUT", _size("bytes_out"), 5, 5, 8, right=True),
    Column("QUEUED", _size("queued", blank=True), 6, 6, 9, right=True, always=False),
    Column("LOST", lambda row, now: str(row.count("dropped") or ""), 4, 7, 2, right=True, always=False),
    Column("NOTE", lambda row, now: safe_text(row.note), 8, 30, 10, always=False),
    Column("SAID LAST", lambda row, now: safe_text(row.said), 10, 200, 11, always=False),
)  # fmt: skip
UNREAD: Final = 4  # columns for the count of what is unread, behind the mark of the selected row


def table(
    rows: Sequence[Row], *, width: int, now: float, selected: int | None = None, marks: bool = True
) -> list[Line]:
    """The heading and a line for each row, `width` wide; `marks` are those of what is selected and unread."""
    indent = UNREAD + 2 if marks else 0
    room = width - indent
    cells = {column: [column.cell(row, now) for row in rows] for column in COLUMNS}
    chosen = [column for column in COLUMNS if column.always or any(cells[column])]
    widths = {
        column: max(
            column.least,
            width_of(column.heading),
            min(column.most, max(map(width_of, cells[column]), default=0)),
        )
        for column in chosen
    }
    least = {
        column: widths[column] if column.right else column.least for column in chosen
    }  # no number is cut
    while len(chosen) > 2 and _total([least[column] for column in chosen]) > room:
        chosen.remove(max(chosen, key=lambda column: column.rank))
    sizes = {column: widths[column] for column in chosen}
    for column in sorted(chosen, key=lambda column: -column.rank):
        over = _total(list(sizes.values())) - room
        sizes[column] -= min(max(0, over), sizes[column] - least[column])
    heading = GAP.join(_cell(column, column.heading, sizes[column]) for column in chosen)
    lines: list[Line] = [[("heading", fit(" " * indent + heading, width))]]
    for at, row in enumerate(rows):
        text = GAP.join(_cell(column, cells[column][at], sizes[column]) for column in chosen)
        text = fit(text, room)
        lines.append(_line(row, text, selected=row.id == selected) if marks else [(_style(row), text)])
    return lines


def _total(sizes: list[int]) -> int:
    return sum(sizes) + len(GAP) * (len(sizes) - 1)


def _cell(column: Column, text: str, size: int) -> str:
    taken = width_of(text)
    return " " * (size - taken) + text if column.right and taken <= size else fit(text, size)


def _style(row: Row) -> str:
    return {"connected": "", "conflict": "error"}.get(row.state, "dim")


def _line(row: Row, text: str, *, selected: bool) -> Line:
    unread = f"*{row.unread}" if 0 < row.unread < 1000 else "*99+" if row.unread else ""
    style = "selected" if selected else _style(row)
    mark = ">" if selected else " "
    return [(style, mark), ("unread" if unread else style, f"{unread:>{UNREAD}}"), (style, f" {text}")]
