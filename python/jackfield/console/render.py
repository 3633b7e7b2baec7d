"""From the state of a console to the lines of its screen.

Owns where everything stands: a title, the clients, the open conversation, the log, a line of help. The typed
line is below and not drawn here. Narrow screens have the conversation under the clients, wide ones beside.
Pure: `render` gives `height` lines of at most `width` columns, and all in them is safe for a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..hub.display import human_size, safe_text, width_of
from .conversation import Conversation
from .lines import Line, beside, fitted, line_width, rule, wrap
from .roster import Row
from .state import ConsoleState
from .table import table

WIDE: Final = 140  # columns from which the conversation stands beside the clients
SMALLEST: Final = (20, 6)  # columns and lines below which only a word is said
PREFIX: Final = "/"  # what begins a command


@dataclass(frozen=True, slots=True)
class Layout:
    """How many lines each area has, without its heading; 0 for one that is not shown."""

    rows: int
    conversation: int
    log: int
    wide: bool
    left: int  # columns of the clients' table


def usual_log(height: int) -> int:
    """Lines of the log pane while nothing asks for more."""
    return 3 if height < 30 else 6


def layout(state: ConsoleState, width: int, height: int) -> Layout:
    """Where everything stands. The height is that of everything above the typed line."""
    room = height - 2  # the title and the line of help
    usual = usual_log(height)
    log = min(max(usual, state.tall + 1), max(usual, room * 2 // 3)) if state.tall else usual
    log = max(0, min(log, room - 6))
    room -= log + (1 if log else 0)
    if state.open is None:
        return Layout(max(0, room - 1), 0, log, False, width)
    if width >= WIDE:
        return Layout(max(0, room - 1), max(0, room - 1), log, True, width * 11 // 20)
    rows = max(1, min(len(state.listed()), (room - 2) * 2 // 5))
    return Layout(rows, max(0, room - 2 - rows), log, False, width)


def render(state: ConsoleState, width: int, height: int, *, now: float) -> list[Line]:
    """The lines of the screen. `now` in Unix seconds says only whether a time is today's."""
    if width < SMALLEST[0] or height < SMALLEST[1]:
        return [fitted([("", "too small")], width)] + [[("", "")]] * (height - 1)
    if state.help:
        return _help(state, width, height)
    areas = layout(state, width, height)
    rows = state.settle(areas.rows)
    shown = table(rows, width=areas.left, now=now, selected=_marked(state))
    shown += _no_rows(state, areas) if not rows else []
    shown += [[("", "")]] * (areas.rows + 1 - len(shown))
    lines: list[Line] = [_title(state, width)]
    if not areas.conversation:
        lines += shown
    elif areas.wide:
        lines += beside(shown, _conversation(state, width - areas.left - 3, areas), at=areas.left)
    else:
        lines += [*shown, *_conversation(state, width, areas)]
    if areas.log:
        lines += _log(state, width, areas.log)
    lines.append(fitted([("hint", hint(state))], width))
    return [fitted(line, width) if line_width(line) > width else line for line in lines[:height]]


def _marked(state: ConsoleState) -> int | None:
    """The client that Enter would open."""
    if state.selected in state.rows:
        return state.selected
    rows = state.listed()
    return rows[0].id if rows else None


def _title(state: ConsoleState, width: int) -> Line:
    total = state.connected
    clients = f"{total} client" + ("" if total == 1 else "s")
    if total < len(state.rows):
        clients = f"{clients}, {len(state.rows) - total} absent"
    if state.filter.text:
        clients = f"{len(state.listed())} of {clients}, filter {safe_text(state.filter.text)}"
    parts = [clients]
    if state.unread:
        parts.append(f"{state.unread} unread")
    if state.order.key != "id" or state.order.reverse:
        parts.append(f"by {state.order.key}" + (", reversed" if state.order.reverse else ""))
    if state.lost:
        parts.append(f"{state.lost} messages not shown")
    if not state.ready:
        parts.append("loading")
    left = f" jackfield  {' · '.join(parts)} "
    where = " ".join(safe_text(str(one.get("address", ""))) for one in state.hub.get("listeners", ()))
    right = f"{where}  F1 help "
    if width_of(left) + width_of(right) > width:
        right = "F1 help "
    gap = width - width_of(left) - width_of(right)
    return fitted([("title", left + " " * gap + right if gap >= 0 else left)], width)


def _no_rows(state: ConsoleState, areas: Layout) -> list[Line]:
    if not state.ready:
        return []
    if state.rows:
        return [[("dim", "  no client fits the filter; /filter without words shows everyone")]]
    lines: list[Line] = [[("dim", "  No client is connected. Join from another terminal:")]]
    joins = [safe_text(str(one["join"])) for one in state.hub.get("listeners", ()) if one.get("join")]
    return (lines + [[("", f"    {join}")] for join in joins])[: areas.rows]


def _conversation(state: ConsoleState, width: int, areas: Layout) -> list[Line]:
    """The heading of the open conversation and its lines, the newest at the bottom."""
    assert state.open is not None
    row = state.rows.get(state.open)
    conversation = state.conversations.get(state.open)
    if conversation is None:
        return [[("", "")]] * (areas.conversation + 1)
    found = conversation.lines(
        view=state.view, width=width, count=areas.conversation, own=state.own, skip=state.scroll
    )
    title: Line = [("name", safe_text(row.name) if row else state.left or "gone")]
    title.append(("dim", _about(state, row, conversation)))
    return [rule(title, width), *found, *([[("", "")]] * (areas.conversation - len(found)))]


def _about(state: ConsoleState, row: Row | None, conversation: Conversation) -> str:
    words = [] if row is None else [f"({row.id})", safe_text(row.protocol), safe_text(row.peer)]
    if row is not None and row.state != "connected":
        words.append(safe_text(row.state))
    if row is not None and row.count("queued"):
        words.append(f"{human_size(row.count('queued'))} queued")
    shown = state.view if state.entry == state.view else f"{state.view}, typing {state.entry}"
    ending = state.eol or conversation.ending
    words += ["·", shown] + (["·", f"eol {ending}"] if ending not in ("", "none") else [])
    if state.scroll:
        words += ["·", f"{state.scroll} lines back"]
    return " " + " ".join(words)


def _log(state: ConsoleState, width: int, height: int) -> list[Line]:
    lines: list[Line] = []
    for entry in reversed(state.log):
        pieces = [fitted([(entry.style, entry.text)], width)] if entry.style == "log" else [
            [(entry.style, piece)] for piece in wrap(entry.text, width)
        ]  # fmt: skip
        lines += reversed(pieces)
        if len(lines) >= height + state.log_scroll:
            break
    shown = lines[state.log_scroll : state.log_scroll + height][::-1]
    title = "log" if not state.log_scroll else f"log, {state.log_scroll} lines back"
    if state.running:
        title = f"{title} · doing {safe_text(state.running)} (Ctrl-C ends it)"
    return [rule([("dim", title)], width), *shown, *([[("", "")]] * (height - len(shown)))]


def hint(state: ConsoleState) -> str:
    """What can be done now, in one line."""
    leave = "^C ends the hub" if state.serving else "^C leaves"
    if state.open is not None:
        return f" Enter sends · {PREFIX}command · Esc list · F4 view · F5 entry · Alt-N unread · F1 help"
    return f" Enter opens · {PREFIX}command, Tab · ^F filter · F6 sort · F1 help · {leave}"


def prompt(state: ConsoleState, width: int) -> Line:
    """What stands before the typed line."""
    if state.open is None:
        return [("prompt", "> ")]
    row = state.rows.get(state.open)
    name = safe_text(row.name) if row else "gone"
    mark = {"text": "", "hex": " hex", "escapes": " escapes"}[state.entry]
    whole = f"{name}{mark}> "
    return [("prompt", whole if width_of(whole) <= width // 2 else "> ")]


def _help(state: ConsoleState, width: int, height: int) -> list[Line]:
    room = height - 2
    top = max(0, min(state.log_scroll, len(state.help) - room))
    shown: list[Line] = [[("", line)] for line in state.help[top : top + room]]
    more = f"  lines {top + 1}-{top + len(shown)} of {len(state.help)}" if len(state.help) > room else ""
    lines = [fitted([("title", f" jackfield help{more}")], width), *shown]
    lines += [[("", "")]] * (height - 1 - len(lines))
    return [
        *(fitted(line, width) for line in lines),
        fitted([("hint", " Esc back · PgUp/PgDn scroll")], width),
    ]
