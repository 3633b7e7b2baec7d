"""What a typed line means: bytes for the open client, a client to open, or a command.

Owns the grammar of the typed line and the commands that are the console's own; every other command is one of
the command line, with its grammar. Pure: a line and the state in, what is to be done out.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from ..hub.display import safe_text
from ..hub.text import LINE_ENDINGS, TextError, parse_hex, typed_bytes, unescape
from .conversation import VIEWS
from .render import PREFIX
from .roster import SORT_KEYS, Order, Row
from .state import ENTRIES, ConsoleState

OWN: Final = {
    "open": ("CLIENT", "Open the conversation with a client (also: talk)."),
    "close": ("", "Back to the list of clients (Esc)."),
    "filter": ("[WORD...]", "Only who fits: text, tag:T, state:S, proto:P, unread, -NOT."),
    "sort": (f"{'|'.join(SORT_KEYS)} [reverse]", "Sort the clients (F6)."),
    "show": ("|".join(VIEWS), "How conversations are shown (F4)."),
    "type": ("|".join(ENTRIES), "How what you type becomes bytes (F5)."),
    "eol": (f"{'|'.join(LINE_ENDINGS)}|default", "What ends a typed line."),
    "read": ("", "Mark every client as read."),
    "clear": ("", "Empty the conversation and the log on this screen."),
    "help": ("[COMMAND]", "This screen, or the help of a command."),
    "quit": ("", "Leave the console; in `jackfield serve` end the hub."),
}  # fmt: skip
"""The console's own commands: what they take, and what they do."""

TALKS: Final = frozenset({"talk", "attach", "open"})
ELSEWHERE: Final = frozenset({"serve", "console", "connect", "listen", "join", "shell"})
"""Commands that need a terminal of their own."""


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes for one client, and the name of what ends them."""

    client_id: int
    data: bytes
    ending: str


@dataclass(frozen=True, slots=True)
class Run:
    """A command of the command line."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left to do; `text` is worth saying, as a `style` of the log pane."""

    text: str = ""
    style: str = "notice"


@dataclass(frozen=True, slots=True)
class Quit:
    """Leave."""


Action = Send | Run | Done | Quit


def interpret(line: str, state: ConsoleState, *, known: Collection[str]) -> Action:
    """Do what a line means to the state; what else is to be done. `known` are the command line's commands."""
    if line.startswith(PREFIX) and not line.startswith(PREFIX * 2):
        return _command(line[len(PREFIX) :], state, known)
    if line.startswith(PREFIX * 2):
        line = line[len(PREFIX) :]
    if state.open is None:
        return _open(line.strip(), state)
    return _typed(line, state)


def _typed(line: str, state: ConsoleState) -> Action:
    """A line for the open client."""
    client_id = state.open
    assert client_id is not None
    if client_id not in state.rows:
        return Done("not sent: the client left; Esc goes back to the list", "error")
    try:
        match state.entry:
            case "hex":
                data, ending = parse_hex(line), state.eol or "none"
            case "escapes":
                data, ending = unescape(line), state.eol or "default"
            case _:
                data, ending = typed_bytes(line, ending=b""), state.eol or "default"
    except TextError as problem:
        return Done(f"not sent: {safe_text(str(problem))}", "error")
    if state.entry == "hex" and not data:
        return Done()
    return Send(client_id, data, ending)


def _open(text: str, state: ConsoleState) -> Action:
    """The client that was named, or the selected one."""
    if not text:
        if state.selected not in state.rows:
            state.select(1)
        row = None if state.selected is None else state.rows.get(state.selected)
        return Done("no client to open: none is there", "error") if row is None else _talk(row, state)
    row = state.find(text)
    if row is None:
        return Done(
            f"{safe_text(text)!r} is not one client; commands begin with {PREFIX}, and Tab completes", "error"
        )
    return _talk(row, state)


def _talk(row: Row, state: ConsoleState) -> Action:
    if row.state == "absent":
        return Done(f"{safe_text(row.name)} is absent: it can be talked to once it is back", "error")
    state.open_conversation(row.id)
    return Done()


def _command(text: str, state: ConsoleState, known: Collection[str]) -> Action:
    try:
        words = shlex.split(text)
    except ValueError as problem:
        return Done(f"{PREFIX}{safe_text(text)}: {str(problem).lower()}", "error")
    if not words:
        return Done(f"behind {PREFIX} stands a command, such as {PREFIX}help, which lists them", "error")
    name, *rest = words
    if name == "exit":
        name = "quit"
    if name in TALKS:
        return _open(" ".join(rest), state)
    if name in ELSEWHERE:
        return Done(f"{name} needs a terminal of its own: run it in another one", "error")
    if name in OWN:
        return _own(name, rest, state)
    if name not in known and not name.startswith("-"):
        return Done(f"there is no command {safe_text(name)!r}; {PREFIX}help lists them", "error")
    return Run(tuple(words))


def _own(name: str, rest: list[str], state: ConsoleState) -> Action:
    word = rest[0] if rest else ""
    match name:
        case "quit":
            return Quit()
        case "help" if word and word not in OWN:
            return Run((word, "--help"))
        case "help":
            state.help = ["..."]
        case "close":
            state.close_conversation()
        case "filter":
            state.set_filter(" ".join(rest))
        case "sort" if word in SORT_KEYS:
            state.set_order(Order(word, reverse="reverse" in rest[1:]))
        case "show" if word in VIEWS:
            state.view = word
        case "type" if word in ENTRIES:
            state.entry = word
        case "eol" if word.lower() in LINE_ENDINGS:
            state.eol = word.lower()
        case "eol" if word == "default":
            state.eol = None
        case "read":
            for row in state.rows.values():
                row.unread = 0
        case "clear":
            state.log.clear()
            if state.open in state.conversations:
                state.conversations[state.open].clear()
        case _:
            return Done(f"{name} takes {OWN[name][0]}", "error")
    state.changed()
    return Done()


KEYS: Final = (
    ("Enter", "opens the selected or named client; then, sends the line"),
    ("Up, Down", "move in the list; else go through the history"),
    ("Ctrl-P, Ctrl-N", "go through the history from anywhere"),
    ("PgUp, PgDn", "scroll the list, the conversation, or what is open"),
    ("Esc", "back: from help, output, filter, conversation"),
    ("Tab", "completes commands, options, names, tags"),
    ("Ctrl-F, F3", "filters the list while you type; Esc drops the filter"),
    ("Alt-Up, Alt-Down", "the client before or after, from anywhere"),
    ("Alt-N", "the next client with something unread"),
    ("F4", "shows conversations as text, hex or mixed"),
    ("F5", "takes what you type as text, hex or escapes"),
    ("F6", "sorts by id, name, last, unread, in, out"),
    ("F7", "makes the log tall, and back; PgUp and PgDn scroll it"),
    ("Ctrl-R", "searches the history, where no line with a space first is"),
    ("Ctrl-Z", "stops the program; `fg` brings it back"),
    ("Ctrl-C", "ends the command that is being done, else leaves"),
)


def help_lines(about: Collection[tuple[str, str]]) -> list[str]:
    """The help screen; `about` are the command line's commands, each with what it does."""
    lines = [
        f"What you type goes to the open client; what begins with {PREFIX} is a command.",
        f"{PREFIX}{PREFIX} at the beginning of a line sends one {PREFIX} to the client.",
        "",
        "KEYS",
        *(f"  {key:<17} {what}" for key, what in KEYS),
        "",
        "COMMANDS OF THE CONSOLE",
    ]
    for name, (takes, what) in OWN.items():
        usage = f"{PREFIX}{name} {takes}".rstrip()
        lines += [f"  {usage:<17} {what}"] if len(usage) <= 17 else [f"  {usage}", f"  {'':<17} {what}"]
    lines += ["", f"COMMANDS, AS ON THE COMMAND LINE ({PREFIX}help COMMAND says more)"]
    shown = [(name, what) for name, what in about if what and name not in TALKS | ELSEWHERE | OWN.keys()]
    return lines + [f"  {PREFIX + name:<17} {what}" for name, what in shown]
