"""Messages with names that every operator of the hub may send: they last in the hub's state.

Owns what a snippet is and where it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .part import Part
from .state import State
from .state_file import StateError
from .text import LINE_ENDINGS

if TYPE_CHECKING:
    from .server import Hub

KIND: Final = "snippet"  # of documents in the state
MOST: Final = 1000
LONGEST: Final = 1024 * 1024  # bytes of one


@dataclass(frozen=True, slots=True)
class Snippet:
    """Bytes with a name. `ending` is a line ending's name, or "default" for that of the client's listener."""

    name: str
    data: bytes
    ending: str = "none"

    def to_json(self) -> dict[str, Any]:
        return {"data": self.data.hex(), "ending": self.ending}


class Snippets(Part):
    """The snippets of one hub."""

    def __init__(self) -> None:
        self._state = State.nowhere()
        self._all: dict[str, Snippet] = {}

    async def open(self, hub: Hub) -> None:
        self._state = state = hub.state
        for name, value in state.load(KIND).items():
            try:
                snippet = Snippet(name, bytes.fromhex(value["data"]), str(value["ending"]))
            except (KeyError, TypeError, ValueError) as problem:
                raise StateError(f"the state in {state.path} is damaged: snippet {name!r}") from problem
            if snippet.ending != "default" and snippet.ending not in LINE_ENDINGS:
                raise StateError(f"the state in {state.path} is damaged: snippet {name!r}")
            self._all[name] = snippet

    def __iter__(self) -> Iterator[Snippet]:
        """In order of their names."""
        return iter(sorted(self._all.values(), key=lambda snippet: snippet.name))

    def find(self, name: str) -> Snippet | None:
        return self._all.get(name)

    def add(self, snippet: Snippet) -> None:
        """Keep a snippet, in place of the one of that name. Raises ValueError beyond `MOST` and `LONGEST`."""
        if len(snippet.data) > LONGEST:
            raise ValueError(f"a snippet of {len(snippet.data)} bytes is too long: at most {LONGEST}")
        if snippet.name not in self._all and len(self._all) >= MOST:
            raise ValueError(f"there are {MOST} snippets already; remove one first")
        self._all[snippet.name] = snippet
        self._state.save(KIND, snippet.name, snippet.to_json())

    def remove(self, name: str) -> None:
        """Forget a snippet. Raises KeyError when there is none."""
        del self._all[name]
        self._state.delete(KIND, name)
