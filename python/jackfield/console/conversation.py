"""What one client and its operators said, and how it is shown: as text, as hex, or mixed.

Owns the memory of a conversation, bounded in messages and bytes, and its lines. Everything that comes out is
safe text. Pure.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from ..hub.display import fit, safe_text, show_bytes, width_of
from .lines import Line, wrap

MESSAGES: Final = 2000  # of one conversation
BYTES: Final = 512 * 1024
TOGETHER: Final = 0.2  # seconds within which an unframed client's pieces are one line
WHO: Final = 20  # columns for who sent a message
VIEWS: Final = ("text", "hex", "mixed")


@dataclass(frozen=True, slots=True)
class Said:
    """One message: by the client where `by` is empty, else by an operator or a part of the hub.

    `at` is in Unix seconds; `length` is its whole length where `data` is only its beginning, else 0.
    """

    at: float
    data: bytes
    by: str = ""
    length: int = 0


class Conversation:
    """The messages of one client as far as they are remembered, oldest first."""

    def __init__(self, *, in_pieces: bool = False) -> None:
        self.in_pieces = in_pieces  # a stream without framing: what comes has no ends of its own
        self.ending = ""  # of the client's listener: what ends typed text
        self.messages: deque[Said] = deque()
        self.version = 0  # grows with every change
        self._bytes = 0

    def add(self, said: Said) -> None:
        """The newest message; the oldest make room."""
        last = self.messages[-1] if self.messages else None
        if last is not None and self.in_pieces and _continues(last, said):
            self.messages[-1] = Said(last.at, last.data + said.data)
        else:
            self.messages.append(said)
        self._bytes += len(said.data)
        self.version += 1
        while len(self.messages) > MESSAGES or self._bytes > BYTES:
            self._bytes -= len(self.messages.popleft().data)

    def begin(self, earlier: list[Said]) -> None:
        """What was said while nobody looked, in its place; what is there already stays as it is."""
        first, last = (self.messages[0].at, self.messages[-1].at) if self.messages else (0.0, 0.0)
        new = [said for said in earlier if not self.messages or said.at < first or said.at > last]
        self.messages = deque(sorted((*new, *self.messages), key=lambda said: said.at))
        self._bytes = sum(len(said.data) for said in self.messages)
        self.version += 1

    def clear(self) -> None:
        self.messages.clear()
        self._bytes = 0
        self.version += 1

    def lines(
        self, *, view: str, width: int, count: int, own: Collection[str] = (), skip: int = 0
    ) -> list[Line]:
        """The last `count` lines but `skip`, oldest first; `own` names this operator."""
        found: list[Line] = []
        for said in reversed(self.messages):
            found += reversed(list(_shown(said, view, width, own)))
            if len(found) >= count + skip:
                break
        return found[skip : skip + count][::-1]


def _continues(last: Said, said: Said) -> bool:
    unfinished = not last.data.endswith(b"\n") and not last.length and len(last.data) < 4096
    return unfinished and not last.by and not said.by and said.at - last.at < TOGETHER


def clock(at: float) -> str:
    """A time of day as the console shows it: local."""
    return time.strftime("%H:%M:%S", time.localtime(at))


def _shown(said: Said, view: str, width: int, own: Collection[str]) -> Iterator[Line]:
    """The lines of one message: time, direction (and who, if it was somebody else), and what was said."""
    style = "in" if not said.by else "out" if said.by in own else "other"
    mark = "< " if not said.by else "> " if said.by in own else f"{_short(said.by)}> "
    lead = f"{clock(said.at)} {mark}"
    indent = width_of(lead)
    room = max(8, width - indent)
    bodies: Iterator[str]
    match view:
        case "hex":
            bodies = _hex(said.data, room)
        case "mixed":
            bodies = wrap(mixed(said.data), room)
        case _:
            bodies = _text(said.data, room)
    first = True
    for body in bodies:
        yield [("time", lead if first else " " * indent), (style, body)]
        first = False
    if first:
        yield [("time", lead), ("dim", "(empty)")]
    if said.length:
        yield [
            ("time", " " * indent),
            ("dim", f"({said.length} bytes; the first {len(said.data)} are shown)"),
        ]


def _short(by: str) -> str:
    """Who sent it, in few columns."""
    shown = safe_text(by)
    return shown if width_of(shown) <= WHO else fit(shown, WHO)


def _text(data: bytes, room: int) -> Iterator[str]:
    """Lines as lines; the end of the last one is not one more line."""
    for line in data.removesuffix(b"\n").removesuffix(b"\r").split(b"\n"):
        yield from wrap(show_bytes(line.removesuffix(b"\r")), room)


def _hex(data: bytes, room: int) -> Iterator[str]:
    """Rows of hex and ASCII, as many bytes in each as fit: sixteen, eight or four."""
    size = next((size for size in (16, 8) if 4 * size + size // 8 + 9 <= room), 4)
    for start in range(0, len(data), size):
        row = data[start : start + size]
        halves = "  ".join(row[at : at + 8].hex(" ") for at in range(0, len(row), 8))
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        yield f"{start:04x}  {halves:<{3 * size + (size > 8) - 1}}  {text}"


def mixed(data: bytes) -> str:
    """Text where it is text, `<0d 0a>` where it is not; a `<` that was sent is `<3c>`."""
    out: list[str] = []
    pending = bytearray()
    for character in data.decode("utf-8", "surrogateescape"):
        if character == "\\" or (character != "<" and safe_text(character) == character):
            if pending:
                out.append(f"<{pending.hex(' ')}>")
                pending.clear()
            out.append(character)
        else:
            pending += _bytes(character)
    if pending:
        out.append(f"<{pending.hex(' ')}>")
    return "".join(out)


def _bytes(character: str) -> bytes:
    return character.encode("utf-8", "surrogateescape")
