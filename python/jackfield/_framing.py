"""Framing: how messages are told apart in a stream of bytes, as a value.

The grammar is the engine's: ``none line line:crlf delimiter:0x0d0a delimiter:END fixed:16 u8 u16 u16le u32
u32le u64 u64le varint netstring length:offset=2,size=2,order=be,adjust=4 cobs slip gap:20ms``.

``cobs`` (Cheshire and Baker, 1999) and ``slip`` (RFC 1055) skip and count what noise has broken, as a serial
line needs it; ``cobs:strict`` and ``slip:strict`` end the channel with an error then, as the others do. With
``gap:20ms`` a message ends when nothing has come for that time (Modbus RTU), and twice that time is left
between those sent.
"""

from __future__ import annotations

from dataclasses import dataclass

from jackfield import _engine
from jackfield._errors import InvalidFraming


@dataclass(frozen=True, slots=True)
class Framing:
    """A framing, checked and in canonical form: equal framings have equal texts.

    Raises ``InvalidFraming`` for text outside the grammar; ``position`` is the character that is wrong.
    """

    text: str
    """The canonical text."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", _canonical(self.text))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Framing({self.text!r})"


def _canonical(text: str) -> str:
    try:
        return _engine.check_framing(text)
    except UnicodeEncodeError as error:
        raise InvalidFraming(text, error.start, "not text: a lone surrogate", _HINT) from None
    except ValueError as error:
        message, position = error.args
        # The engine names all of them; the hint does that better, or names the one that is meant.
        raise InvalidFraming(text, position, message.partition("; there are ")[0], _advice(text)) from None


def _advice(text: str) -> str:
    from difflib import get_close_matches  # only who mistypes needs it

    meant = get_close_matches(text.partition(":")[0].strip().lower(), _NAMES, n=1)
    return f"did you mean {meant[0]}? {_HINT}" if meant and meant[0] != text.partition(":")[0] else _HINT


_NAMES = (
    "none", "line", "delimiter", "fixed", "u8", "u16", "u16le", "u32", "u32le", "u64", "u64le", "varint",
    "netstring", "length", "cobs", "slip", "gap",
)  # fmt: skip

_HINT = (
    "the framings are none, line, line:crlf, delimiter:END, delimiter:0x0d0a, fixed:16, u8, u16, u32, u64 "
    "(u16le ... for little-endian), varint, netstring, length:offset=2,size=2,order=be,adjust=4, "
    "cobs, slip (cobs:strict, slip:strict), gap:20ms"
)
