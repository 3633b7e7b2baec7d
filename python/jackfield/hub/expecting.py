"""Whether what a client says is the answer that is waited for.

Owns the rules, for one client and one question; `asking` owns clocks and sockets. A client with message
bounds (framing, packets) answers with one message that matches. A stream is looked at as it comes, across
chunks: when something matches, the rest of that line belongs to the answer, or, where no line ends, what
comes until the client is quiet for a moment; then the pattern is looked for once more, so that how a stream
was cut into chunks never changes the answer. Memory is bounded: a match lies within `WINDOW` bytes, what
was said before is forgotten. Pure.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Final

from .encodings import Encoding
from .patterns import Found, Pattern
from .text import TextError

WINDOW: Final = 16 * 1024  # bytes within which a match lies
QUIET: Final = 0.05  # seconds of silence that end an answer without a line end
LONGEST_END: Final = 0.5  # seconds after the match at which it ends in any case
UNSEEN: Final = 8 * WINDOW  # bytes that may wait to be looked at
SAID: Final = 1024  # bytes that are told of a client that said something else

_SEPARATORS: Final = re.compile(r"[\s,:;_-]+|0[xX](?=[0-9a-fA-F])")
_HEX_PARTS: Final = re.compile(r"(?P<byte>[0-9a-fA-F]{2})|(?P<any>\.\.|\?\?)|(?P<run>\*)")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client said, up to the end of what matched, and what the pattern's groups matched."""

    data: bytes
    groups: tuple[bytes | None, ...] = ()


class Expecting:
    """What one client has said since it was asked. Times are seconds of any one clock.

    `in_messages`: it has message bounds. `binary`: its answers have no lines.
    """

    __slots__ = (
        "_binary", "_end", "_heard_at", "_in_messages", "_pattern", "_pending", "_said", "_text", "_unseen",
        "answer", "found_at", "overrun",
    )  # fmt: skip

    def __init__(self, pattern: Pattern, *, in_messages: bool, binary: bool) -> None:
        self._pattern = pattern
        self._in_messages = in_messages
        self._binary = binary
        self._pending: deque[bytes] = deque()  # came, and not looked at yet
        self._unseen = 0  # bytes of it, at most UNSEEN
        self._text = b""  # of a stream: at most two windows
        self._end = 0  # of the match in `_text`
        self._said = b""  # the beginning of all that it said
        self._heard_at = 0.0
        self.found_at: float | None = None
        self.answer: Answer | None = None
        self.overrun = False
        """Whether more came than was looked at in time: the oldest of it was passed over."""

    @property
    def said(self) -> bytes:
        """The beginning of what it said since it was asked."""
        return self._said

    @property
    def behind(self) -> bool:
        """Whether something that came was not looked at yet."""
        return bool(self._pending)

    def feed(self, now: float, data: bytes) -> None:
        """The client said `data`: a message, or a chunk of a stream. It is looked at by `look`."""
        if len(self._said) < SAID:
            self._said += data[: SAID - len(self._said)]
        self._heard_at = now
        pieces = [data[:WINDOW]] if self._in_messages else _pieces(data)
        for piece in pieces:
            self._pending.append(piece)
            self._unseen += len(piece)
        while self._unseen > UNSEEN:
            self._unseen -= len(self._pending.popleft())
            self._text, self.overrun = b"", True

    def look(self, now: float) -> Answer | None:
        """Look at what came; the answer, once it is complete."""
        while self._pending and self.answer is None:
            piece = self._pending.popleft()
            self._unseen -= len(piece)
            if self._in_messages:
                self._look_at_message(now, piece)
            else:
                self._look_at_stream(now, piece)
        if self.answer is None and self.found_at is not None and now >= self.ends_at:
            self.answer = self._settled()
        return self.answer

    @property
    def ends_at(self) -> float:
        """When the answer of a stream that has matched is complete without a line end."""
        return min(self._heard_at + QUIET, (self.found_at or 0.0) + LONGEST_END)

    def give_up(self) -> Answer | None:
        """The time is over, or the client left: the answer, if what it said so far has one."""
        if self.answer is None and self.found_at is not None:
            self.answer = self._settled()
        return self.answer

    def _look_at_message(self, now: float, message: bytes) -> None:
        found = self._pattern.search(message)
        if found is not None:
            self.found_at = now
            self.answer = Answer(message, _groups(self._pattern, found))

    def _look_at_stream(self, now: float, piece: bytes) -> None:
        if self.found_at is not None:
            self._text += piece
        else:
            self._text = self._text[-WINDOW:] + piece
            found = self._pattern.search(self._text)
            if found is None:
                return
            self.found_at, self._end = now, found.end
        if len(self._text) >= 3 * WINDOW or (
            not self._binary and b"\n" in self._text[max(self._end - 1, 0) :]
        ):
            self.answer = self._settled()

    def _settled(self) -> Answer | None:
        """The answer in what has come; None when it matched only as long as more was to come."""
        line_end = -1 if self._binary else self._text.find(b"\n", max(self._end - 1, 0))
        data = self._text if line_end < 0 else self._text[: line_end + 1]
        found = self._pattern.search(data)
        if found is None:
            self.found_at = None
            return None
        return Answer(data, _groups(self._pattern, found))


def _groups(pattern: Pattern, found: Found) -> tuple[bytes | None, ...]:
    return tuple(found.group(number) for number in range(1, pattern.groups + 1))


def _pieces(data: bytes) -> list[bytes]:
    if len(data) <= WINDOW:
        return [data]
    return [data[start : start + WINDOW] for start in range(0, len(data), WINDOW)]


def text_pattern(text: str, encoding: Encoding) -> str:
    """A pattern for text in some encoding, as `Pattern` takes it: `^` and `$` are the ends of lines.

    Raises `TextError` for an encoding in which ASCII is not ASCII, and for characters that it does not have.
    """
    if not encoding.extends_ascii:
        raise TextError(
            f"a pattern cannot be looked for in {encoding.name}; give --hex, and bytes as PATTERN"
        )
    if encoding.name != "utf-8":
        text = "".join(
            character if character.isascii() else _bytes_pattern(encoding.encode(character))
            for character in text
        )
    return f"(?m){text}"


def hex_pattern(text: str) -> str:
    """A pattern of bytes, such as `01 03 .. ff *`, as `Pattern` takes it. Raises `TextError`.

    `..` or `??` is any byte, `*` any number of bytes, as few as will do.
    """
    out = ["(?s)"]
    position = 0
    while position < len(text):
        skipped = _SEPARATORS.match(text, position)
        if skipped is not None:
            position = skipped.end()
            continue
        part = _HEX_PARTS.match(text, position)
        if part is None:
            raise TextError(
                f"{text[position : position + 2]!r} at position {position} is no byte of a pattern; "
                "write two hex digits, .. for any byte, * for any number of them"
            )
        out.append(
            _bytes_pattern(bytes.fromhex(part["byte"])) if part["byte"] else "." if part["any"] else ".*?"
        )
        position = part.end()
    if len(out) == 1:
        raise TextError("the pattern has no byte; write it as '01 03 .. ff'")
    return "".join(out)


def _bytes_pattern(data: bytes) -> str:
    inner = "".join(f"\\x{byte:02x}" for byte in data)
    return inner if len(data) == 1 else f"(?:{inner})"
