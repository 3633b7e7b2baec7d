"""How a listener's clients are recognised: by their host, or by a pattern on what they say first.

Owns the rules (`identify=`) and the reading of first messages. Of a client only the beginning is looked at:
its first message, or, on a stream without framing, what comes until the pattern matches, at most `LONGEST`
bytes, `MOST_CHUNKS` pieces and `PATIENCE` seconds. A match that reaches to the end of what came may be half
a name: it counts once nothing more came for `QUIET` seconds. Patterns are RE2's, whose time grows with
those bytes and nothing else. Pure: times come in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .patterns import Pattern

LONGEST: Final = 4096  # bytes of a client's beginning
MOST_CHUNKS: Final = 16
PATIENCE: Final = 10.0  # seconds from the first bytes on
QUIET: Final = 0.3  # seconds
MOST_GATHERED: Final = 8 * 1024 * 1024  # bytes of all beginnings together
LONGEST_NAME: Final = 200  # bytes that may identify a client
_ENDINGS: Final = (b"\n", b"\r", b"\0")


@dataclass(frozen=True, slots=True)
class Rule:
    """An `identify=`: `host`, `none`, or a pattern; its group `name`, else 1, else all of it is the name."""

    text: str = "none"
    pattern: Pattern | None = None

    @property
    def by_host(self) -> bool:
        return self.text == "host"

    def find(self, data: bytes) -> tuple[bytes, int] | None:
        """What identifies the client in `data`, and where the match ends. Without the group there is none."""
        found = None if self.pattern is None else self.pattern.search(data[:LONGEST])
        if self.pattern is None or found is None:
            return None
        group: int | str = "name" if "name" in self.pattern.names else min(1, self.pattern.groups)
        name = found.group(group)
        return None if not name else (name, found.end)


NO_RULE: Final = Rule()


def parse_rule(text: str) -> Rule:
    """The rule that `identify=` says. Raises `TextError` for a pattern that cannot be used."""
    if text in ("host", "none"):
        return Rule(text)
    from .patterns import Pattern  # RE2 is loaded by who needs it

    return Rule(text, Pattern(text))


@dataclass(slots=True)
class Gathered:
    """The beginning of one client so far: `found` is the match that may yet grow."""

    rule: Rule
    since: float
    data: bytes = b""
    chunks: int = 0
    found: bytes = b""


class Beginnings:
    """What clients say first, of all connections that are not recognised yet."""

    def __init__(self) -> None:
        self._gathering: dict[int, Gathered] = {}  # oldest first
        self._quiet: dict[int, float] = {}  # when nothing more came for long enough; soonest first
        self._passed: set[int] = set()  # whose beginning says nothing
        self._bytes = 0

    def heard(self, now: float, client_id: int, rule: Rule, data: bytes, *, whole: bool) -> bytes | None:
        """A client not recognised yet said `data`, a `whole` message or a piece; what identifies it now."""
        if client_id in self._passed:
            return None
        if whole:
            found = rule.find(data)
            if found is None:
                self._passed.add(client_id)
            return None if found is None else found[0]
        beginning = self._gathering.get(client_id) or Gathered(rule, now)
        self.forget(client_id)
        beginning.data = (beginning.data + data[:LONGEST])[:LONGEST]
        beginning.chunks += 1
        match = rule.find(beginning.data)
        full = len(beginning.data) >= LONGEST or beginning.chunks >= MOST_CHUNKS
        full = full or self._bytes + len(beginning.data) > MOST_GATHERED
        if match is not None and (full or not self._may_grow(beginning.data, match[1])):
            return match[0]
        if full or now - beginning.since > PATIENCE:
            self._passed.add(client_id)
            return None
        beginning.found = b"" if match is None else match[0]
        self._gathering[client_id] = beginning
        self._bytes += len(beginning.data)
        if match is not None:
            self._quiet[client_id] = now + QUIET
        return None

    @staticmethod
    def _may_grow(data: bytes, end: int) -> bool:
        return end == len(data) and not data.endswith(_ENDINGS)

    def due(self, now: float) -> list[tuple[int, bytes]]:
        """Clients that have been quiet long enough, with what identifies them."""
        found = []
        while self._quiet:
            client_id, when = next(iter(self._quiet.items()))
            if when > now:
                break
            found.append((client_id, self._gathering[client_id].found))
            self.forget(client_id)
        return found

    @property
    def next_due(self) -> float | None:
        """When `due` has something next."""
        return next(iter(self._quiet.values()), None)

    def is_passed(self, client_id: int) -> bool:
        """Whether that client's beginning was read, and says nothing."""
        return client_id in self._passed

    def pass_over(self, client_id: int) -> None:
        """Look at nothing more of what that client says."""
        self.forget(client_id)
        self._passed.add(client_id)

    def forget(self, client_id: int) -> None:
        """The client left, or is recognised."""
        self._passed.discard(client_id)
        self._quiet.pop(client_id, None)
        beginning = self._gathering.pop(client_id, None)
        if beginning is not None:
            self._bytes -= len(beginning.data)


def identity_of(said: bytes) -> str:
    """The identity that a client's own words give. Raises ValueError, with the reason, where none can be."""
    if len(said) > LONGEST_NAME:
        raise ValueError(f"its {len(said)} bytes are too long for a name")
    try:
        text = said.decode()
    except UnicodeDecodeError:
        raise ValueError("what it said is no text") from None
    if not text.strip():
        raise ValueError("what it said is blank")
    return f"said:{text.strip()}"
