"""What Tab offers: commands, their options, clients, tags, and words of the console's own commands. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from ..hub.display import safe_text
from ..hub.text import LINE_ENDINGS
from .commands import ELSEWHERE, OWN
from .conversation import VIEWS
from .render import PREFIX
from .roster import FILTERS, SORT_KEYS
from .state import ENTRIES, ConsoleState

MOST: Final = 50  # that are offered at a time


class Offer(NamedTuple):
    """A word for the place of what was begun, and what it is."""

    word: str
    about: str


Offers = Callable[[Sequence[str], str], Iterable[Offer]]
"""What the command line offers behind the words before, for the word that is begun."""

_WORDS: Final[dict[str, Sequence[str]]] = {
    "sort": SORT_KEYS,
    "show": VIEWS,
    "type": ENTRIES,
    "eol": (*LINE_ENDINGS, "default"),
}


def offers(text: str, state: ConsoleState, of_command_line: Offers) -> tuple[int, list[Offer]]:
    """How many characters before the cursor are begun, and what may stand in their place."""
    if not text.startswith(PREFIX) or text.startswith(PREFIX * 2):
        if state.open is not None or not text:
            return 0, []
        return len(text), _first(_clients(text, state))
    before, begun = _split(text[len(PREFIX) :])
    return len(begun), _first(_found(before, begun, state, of_command_line))


def _found(before: list[str], begun: str, state: ConsoleState, of_command_line: Offers) -> Iterator[Offer]:
    if not before:
        own = [Offer(name, what) for name, (_, what) in OWN.items() if name.startswith(begun)]
        others = [offer for offer in of_command_line([], begun) if offer.word not in ELSEWHERE | OWN.keys()]
        yield from sorted((*own, *others))
        return
    name = before[0]
    if name in _WORDS:
        yield from (Offer(word, "") for word in _WORDS[name] if word.startswith(begun))
    elif name == "filter":
        yield from (Offer(word, "") for word in (*FILTERS, *_tags(state)) if word.startswith(begun))
    elif name == "help":
        yield from of_command_line([], begun)
    elif begun.startswith("-"):
        yield from of_command_line(before, begun)
    else:
        yield from of_command_line(before, begun)  # commands within a command
        yield from (Offer(word, "tag") for word in _tags(state) if begun and word.startswith(begun))
        yield from _clients(begun, state)


def _clients(begun: str, state: ConsoleState) -> Iterator[Offer]:
    """The open and the selected client first: they are meant most often."""
    wanted = begun.lower()
    near = [state.rows[each] for each in (state.open, state.selected) if each in state.rows]
    said = set()
    for row in (*near, *state.listed()):
        if row.id not in said and row.name.lower().startswith(wanted):
            said.add(row.id)
            yield Offer(row.name, safe_text(f"{row.id} {row.peer}" if row.id > 0 else "absent"))


def _tags(state: ConsoleState) -> list[str]:
    return sorted({f"tag:{tag}" for row in state.rows.values() for tag in row.tags})


def _first(found: Iterable[Offer]) -> list[Offer]:
    shown: list[Offer] = []
    for offer in found:
        shown.append(offer)
        if len(shown) == MOST:
            break
    return shown


def _split(text: str) -> tuple[list[str], str]:
    """The words before the one at the cursor, and that one. Names have no spaces, so quotes stay."""
    *before, begun = text.split(" ")
    return [word for word in before if word], begun
