"""Everything that a console shows, updated by what the hub tells and what the operator does.

Owns the state of one console, in bounded memory: whoever draws it only reads it. Pure: no terminal and no
socket, and times come in with what happened.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ..hub.display import safe_text
from ..hub.journal import line_of
from ..hub.plan import comes_in_pieces
from ..hub.protocol import decode_data
from .conversation import Conversation, Said, clock
from .roster import Filter, Order, Row

LOG: Final = 2000  # lines
EARLY: Final = 65_536  # clients of which something is known before they are told of
CONVERSATIONS: Final = 16  # that are kept; the one that was left longest ago is forgotten
ENTRIES: Final = ("text", "hex", "escapes")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the log pane; `style` is `log`, `command`, `output`, `error` or `notice`."""

    text: str
    style: str = "log"


class ConsoleState:
    """What one console shows. `version` grows with every change that may be seen."""

    def __init__(self, *, own: str = "", serving: bool = False) -> None:
        self.own = {own}  # how the hub names this operator's messages: `pid:N`, of its commands, too
        self.serving = serving  # the window of `jackfield serve`: leaving it ends the hub
        self.version = 0
        self.urgent = False  # something changed that the operator waits for
        self.hub: dict[str, Any] = {}  # the hub's status
        self.ready = False  # everyone who was there has been told
        self.rows: dict[int, Row] = {}
        self.filter = Filter()
        self.order = Order()
        self.selected: int | None = None
        self.top = 0  # the first row on the screen
        self.open: int | None = None  # the client whose conversation is typed to
        self.left: str = ""  # how the open client left, if it did
        self.conversations: dict[int, Conversation] = {}  # the last opened comes last
        self.view = "text"
        self.entry = "text"
        self.eol: str | None = None  # what ends typed text; None for what the client's listener says
        self.scroll = 0  # lines that the conversation is scrolled back
        self.log: deque[Entry] = deque(maxlen=LOG)
        self.log_scroll = 0
        self.tall = 0  # lines of output that the log pane is opened for; 0 for its usual height
        self.help: list[str] = []  # the lines of the help screen; empty while it is not shown
        self.running = ""  # the command that is being done
        self.lost = 0  # messages that were not told because this console did not keep up
        self._listed: list[Row] | None = []
        self._early: dict[int, Row] = {}  # what is known of clients whose view is about to be told
        self._left: dict[str, Row] = {}  # of those that left and may come back, by identity
        self._absent: dict[str, int] = {}  # the number of each absent one, by identity
        self._absences = 0  # numbers given so far
        self._open_identity = ""  # of the open client

    def changed(self, *, urgent: bool = True) -> None:
        """Something that may be seen is different; `urgent` if the operator did it or waits for it."""
        self.version += 1
        self.urgent |= urgent

    # ---------------------------------------------------------------- what the hub tells

    def apply(self, event: dict[str, Any]) -> None:
        """Take an event of the watch; what it does not know it ignores."""
        for name, value in event.items():
            take = _TAKERS.get(name)
            if take is not None:
                take(self, value)
        if "open" in event:
            self._begin(event)
        self.changed(urgent="open" in event or "ready" in event)

    def _take_clients(self, views: list[dict[str, Any]]) -> None:
        for view in views:
            row = self.rows.get(view["id"]) or self._early.pop(view["id"], None) or Row(view)
            row.view = view
            self.rows[row.id] = row
            if row.identity:
                self._recognise(row)
        self._listed = None

    def _recognise(self, row: Row) -> None:
        """A client that was here before is here again: what was not read of it stays so."""
        before = self._left.pop(row.identity, None)
        if before is not None:
            row.unread += before.unread
            row.last = max(row.last, before.last)
            row.said = row.said or before.said
        if row.identity == self._open_identity and self.open not in self.rows:
            self._go_on(row)

    def _go_on(self, row: Row) -> None:
        """The client of the open conversation is back, with another connection."""
        assert self.open is not None
        conversation = self.conversations.pop(self.open, None)
        if conversation is not None:
            self.conversations[row.id] = conversation
        self.open_conversation(row.id)
        self.add(f"{safe_text(row.name)} is back", "notice")

    def _take_gone(self, ids: list[int]) -> None:
        place = self.place() if self.selected in ids else 0
        for client_id in ids:
            row = self.rows.pop(client_id, None)
            if row is None:
                continue
            self._leave(row)
            if client_id == self.open:
                self.left = f"{safe_text(row.name)} left"
                self.add(f"{safe_text(row.name)} left; Esc goes back to the list", "notice")
        self._listed = None
        if self.selected in ids:
            rows = self.listed()
            self.selected = rows[min(place, len(rows) - 1)].id if rows else None

    def _leave(self, row: Row) -> None:
        """What was not read of a client that may come back is kept."""
        if row.identity and row.last:
            self._left[row.identity] = row
            if len(self._left) > EARLY:
                del self._left[next(iter(self._left))]

    def _take_absent(self, views: list[dict[str, Any]]) -> None:
        for view in views:
            identity = str(view["identity"])
            key = self._absent.setdefault(identity, -1 - self._absences)
            self._absences = max(self._absences, -key)
            row = self.rows.get(key) or self._left.pop(identity, None) or Row(view)
            row.view = {**view, "id": key}
            self.rows[key] = row
        self._listed = None

    def _take_returned(self, identities: list[str]) -> None:
        for identity in identities:
            row = self.rows.pop(self._absent.pop(identity, 0), None)
            if row is not None:
                self._leave(row)
                back = next((each for each in self.rows.values() if each.identity == identity), None)
                if back is not None:
                    self._recognise(back)
        self._listed = None

    def _take_activity(self, rows: list[list[Any]]) -> None:
        for client_id, heard, heard_bytes, told, told_bytes, last in rows:
            row = self._row(client_id)
            _count(row.view, bytes_in=heard_bytes, messages_in=heard, bytes_out=told_bytes, messages_out=told)
            if heard:
                row.last = last
                if client_id != self.open:
                    row.unread += heard
        if self.order.follows_traffic or self.filter.follows_traffic:
            self._listed = None

    def _take_previews(self, rows: list[list[Any]]) -> None:
        for client_id, last, said in rows:
            row = self._row(client_id)
            row.said, row.last = str(said), max(row.last, float(last))

    def _row(self, client_id: int) -> Row:
        """The row of a client; of one that is told of later, what is known of it until then."""
        row = self.rows.get(client_id) or self._early.get(client_id)
        if row is None:
            if len(self._early) >= EARLY:
                self._early.clear()
            row = self._early[client_id] = Row({"id": client_id})
        return row

    def _take_said(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            conversation = self.conversations.get(message["id"])
            if conversation is not None:
                conversation.add(_said(message))
                self.urgent |= message["id"] == self.open
                if self.scroll and message["id"] == self.open:
                    self.scroll += 1  # what is being read stays where it is, about

    def _take_log(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            self.add(_log_line(event))

    def _take_missed(self, counts: dict[str, int]) -> None:
        self.lost += counts.get("messages", 0)
        said = ", ".join(f"{count} {name}" for name, count in counts.items())
        self.add(f"this console did not keep up; not shown: {said}", "error")

    def _take_reset(self, _: object) -> None:
        self._early, self.rows = self.rows, {}
        self._absent = {}
        self._listed = None

    def _take_ready(self, status: dict[str, Any]) -> None:
        self.hub = status
        self.ready = True

    def _begin(self, event: dict[str, Any]) -> None:
        conversation = self.conversations.get(event["open"])
        if conversation is not None:
            conversation.ending = str(event.get("ending", ""))
            conversation.begin([_said(message) for message in event.get("earlier", ())])

    def begin_anew(self, why: str) -> None:
        """Another hub tells from now on; clients, conversations and numbers are those of before."""
        self._take_reset(True)
        self.ready = False
        self.add(why, "notice")

    # ---------------------------------------------------------------- the list

    def listed(self) -> list[Row]:
        """The clients that the filter lets through, in order."""
        if self._listed is None:
            rows: list[Row] = list(self.rows.values())
            if self.filter.text:
                rows = [row for row in rows if self.filter.fits(row)]
            self._listed = self.order.sort(rows)
        return self._listed

    @property
    def connected(self) -> int:
        """Clients that are there."""
        return len(self.rows) - len(self._absent)

    def place(self) -> int:
        """Where the selected client stands in the list; 0 if it is not there."""
        rows = self.listed()
        if self.selected is None:
            return 0
        return next((at for at, row in enumerate(rows) if row.id == self.selected), 0)

    def settle(self, height: int) -> list[Row]:
        """The rows on a screen that has room for `height`: the selected one is among them."""
        rows = self.listed()
        place = self.place()
        top = min(max(self.top, place - height + 1), place, max(0, len(rows) - height))
        self.top = max(0, top)
        return rows[self.top : self.top + height]

    def select(self, move: int) -> None:
        """Move the selection by so many rows."""
        rows = self.listed()
        if rows:
            known = self.selected in self.rows
            at = self.place() + (move if known or move < 0 else move - 1)
            self.selected = rows[min(max(at, 0), len(rows) - 1)].id
        self.changed()

    def set_filter(self, text: str) -> None:
        self.filter = Filter(text.strip())
        self._listed = None
        self.changed()

    def set_order(self, order: Order) -> None:
        self.order = order
        self._listed = None
        self.changed()

    def find(self, text: str) -> Row | None:
        """The client that an operator means by an id, a name, or the only beginning or part of one."""
        if text.isdigit() and int(text) in self.rows:
            return self.rows[int(text)]
        wanted = text.lower()
        rows = list(self.rows.values())
        for fits in (
            lambda row: row.name == text or row.peer == text,
            lambda row: row.name.lower() == wanted,
            lambda row: row.name.lower().startswith(wanted),
            lambda row: wanted in row.name.lower() or wanted in row.peer,
        ):
            found = [row for row in rows if fits(row)]
            if found:
                return found[0] if len(found) == 1 else None
        return None

    # ---------------------------------------------------------------- conversations

    def open_conversation(self, client_id: int) -> None:
        """Go to a client's conversation; what it says counts as read from now on."""
        row = self.rows.get(client_id)
        if row is None:
            return
        self.open = self.selected = client_id
        self.left = ""
        self.scroll = 0
        self._open_identity = row.identity
        in_pieces = comes_in_pieces(str(row.view.get("framing")), str(row.view.get("protocol")))
        conversation = self.conversations.pop(client_id, None) or Conversation(in_pieces=in_pieces)
        self.conversations[client_id] = conversation
        for forgotten in list(self.conversations)[:-CONVERSATIONS]:
            del self.conversations[forgotten]
        self.read()

    def close_conversation(self) -> None:
        """Back to the list; what the client says counts as unread again."""
        self.open = None
        self.left = ""
        self.scroll = 0
        self.changed()

    def read(self) -> None:
        """The open conversation is read."""
        row = self.rows.get(self.open) if self.open is not None else None
        if row is not None:
            row.unread = 0
            if self.filter.follows_traffic:
                self._listed = None
        self.changed()

    def next_unread(self) -> int | None:
        """The next client after the selected one that has something unread, in the order of the list."""
        rows = self.listed()
        start = self.place() + 1
        return next((row.id for row in (*rows[start:], *rows[:start]) if row.unread), None)

    @property
    def unread(self) -> int:
        """Clients that have something unread."""
        return sum(1 for row in self.rows.values() if row.unread)

    # ---------------------------------------------------------------- the log pane

    def add(self, text: str, style: str = "log") -> None:
        """A line of the log pane. It must be safe text."""
        self.log.append(Entry(text, style))
        if self.log_scroll:
            self.log_scroll += 1
        self.changed(urgent=style != "log")


_TAKERS: Final[dict[str, Callable[[ConsoleState, Any], None]]] = {
    "clients": ConsoleState._take_clients,
    "gone": ConsoleState._take_gone,
    "absent": ConsoleState._take_absent,
    "returned": ConsoleState._take_returned,
    "activity": ConsoleState._take_activity,
    "previews": ConsoleState._take_previews,
    "said": ConsoleState._take_said,
    "log": ConsoleState._take_log,
    "missed": ConsoleState._take_missed,
    "reset": ConsoleState._take_reset,
    "ready": ConsoleState._take_ready,
}


def _count(view: dict[str, Any], **counts: int) -> None:
    for name, count in counts.items():
        if isinstance(view.get(name), int):
            view[name] += count


def _said(message: dict[str, Any]) -> Said:
    data = decode_data(message["heard"] if "heard" in message else message["told"])
    by = "" if "heard" in message else str(message.get("by", "an operator"))
    return Said(float(message["at"]), data, by, int(message.get("bytes", 0)))


_NOT_SHOWN: Final = ("time", "protocol", "local", "control", "listening", "pid")


def _log_line(event: dict[str, Any]) -> str:
    """An event of the hub's log in one short line: local time, what, and the facts that matter here."""
    try:
        when = clock(datetime.fromisoformat(str(event.get("time", ""))).timestamp())
    except ValueError:
        when = ""
    shown = {name: value for name, value in event.items() if name not in _NOT_SHOWN}
    return safe_text(f"{when} {line_of(shown).strip()}")
