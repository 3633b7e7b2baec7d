"""What people type, as bytes: escapes, hex, line endings, durations and sizes.

Owns the notation of operators. Pure: text in, bytes or a number out; what cannot be read raises
`TextError`, whose message names the place and an example that works.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

LINE_ENDINGS: Final = {"lf": b"\n", "crlf": b"\r\n", "cr": b"\r", "nul": b"\0", "none": b""}

_SIMPLE_ESCAPES: Final = {
    "n": "\n", "r": "\r", "t": "\t", "0": "\0", "a": "\a", "b": "\b",
    "e": "\x1b", "f": "\f", "v": "\v", "\\": "\\", '"': '"', "'": "'",
}  # fmt: skip
_HEX_ESCAPES: Final = {"x": 2, "u": 4, "U": 8}
_DAY: Final = 86_400.0
_DURATION_UNITS: Final = {
    "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": _DAY, "w": 7 * _DAY, "y": 365 * _DAY,
}  # fmt: skip
_SIZE_UNITS: Final = {"B": 1, "K": 1024, "M": 1024**2, "G": 1024**3}


class TextError(ValueError):
    """What was typed cannot be read; the message says where and shows what can."""


Encode = Callable[[str], bytes]


def utf8(text: str) -> bytes:
    """The bytes of typed text; what a shell handed over as a byte that is no text stays that byte."""
    return text.encode("utf-8", "surrogateescape")


def unescape(text: str, *, encode: Encode = utf8) -> bytes:
    r"""The bytes of `text` with escapes: \n \r \t \0 \a \b \e \f \v \\ \" \' \xHH \uHHHH \UHHHHHHHH.

    \xHH is that byte; everything else is characters, which `encode` makes bytes of. Raises `TextError`.
    """
    out = bytearray()
    characters: list[str] = []
    position = 0
    while position < len(text):
        character = text[position]
        if character != "\\":
            characters.append(character)
            position += 1
            continue
        kind = text[position + 1 : position + 2]
        if kind in _HEX_ESCAPES:
            width = _HEX_ESCAPES[kind]
            value = _hex_escape(kind, text[position + 2 : position + 2 + width], width, position)
            if kind == "x":
                out += encode("".join(characters))
                out.append(value)
                characters.clear()
            else:
                characters.append(chr(value))
            position += 2 + width
        elif kind and kind in _SIMPLE_ESCAPES:
            characters.append(_SIMPLE_ESCAPES[kind])
            position += 2
        else:
            raise TextError(
                f"unknown escape {text[position : position + 2]!r} at position {position}; "
                r"known are \n \r \t \0 \e \\ \xHH \uHHHH, and \\ for a backslash"
            )
    return bytes(out + encode("".join(characters)))


def _hex_escape(kind: str, digits: str, width: int, position: int) -> int:
    if len(digits) < width or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
        raise TextError(
            f"\\{kind} at position {position} needs {width} hex digits, such as \\{kind}{'0' * (width - 2)}41"
        )
    value = int(digits, 16)
    if value > 0x10FFFF or 0xD800 <= value <= 0xDFFF:
        raise TextError(f"\\{kind}{digits} at position {position} is not a character")
    return value


def parse_hex(text: str) -> bytes:
    """The bytes of hex text: `de ad be ef`, `DEADBEEF`, `0xde,0xad`, `de:ad-be`."""
    digits = re.sub(r"0[xX](?=[0-9a-fA-F])|[\s,:;_-]", lambda match: " " * len(match.group()), text)
    out = bytearray()
    for match in re.finditer(r"\S+", digits):
        run = match.group()
        bad = re.search(r"[^0-9a-fA-F]", run)
        if bad is not None:
            raise TextError(
                f"{bad.group()!r} at position {match.start() + bad.start()} is not a hex digit; "
                "write 'de ad be ef' or 0xdeadbeef"
            )
        if len(run) % 2:
            raise TextError(f"{run!r} has an odd number of hex digits; write two per byte, such as 0{run}")
        out += bytes.fromhex(run)
    return bytes(out)


def there_are(names: Sequence[str]) -> str:
    """What there is, in words, for whom what was named is not."""
    if not names:
        return "there is none"
    return f"there {'is' if len(names) == 1 else 'are'} {', '.join(names)}"


def line_ending(name: str) -> bytes:
    """The bytes of a line ending by name."""
    try:
        return LINE_ENDINGS[name.lower()]
    except KeyError:
        raise TextError(f"unknown line ending {name!r}; known are {', '.join(LINE_ENDINGS)}") from None


def parse_duration(text: str) -> float:
    """Seconds of `250ms`, `5s`, `2m`, `1h`, `7d`, `2w`, `1y`; the unit is mandatory."""
    match = re.fullmatch(r"(\d{1,15}(?:\.\d+)?)(ms|s|m|h|d|w|y)", text.strip(), re.ASCII)
    if match is None:
        raise TextError(f"{text!r} is not a time; write a number with a unit, such as 250ms, 5s, 2m, 7d")
    return float(match[1]) * _DURATION_UNITS[match[2]]


def parse_size(text: str) -> int:
    """Bytes of `512B`, `64K`, `4M`, `1G` (binary multiples); the unit is mandatory."""
    match = re.fullmatch(r"(\d+)([BKMG])", text.strip())
    if match is None:
        raise TextError(f"{text!r} is not a size; write a number with a unit, such as 512B, 64K, 4M")
    return int(match[1]) * _SIZE_UNITS[match[2]]


def typed_bytes(text: str, *, ending: bytes) -> bytes:
    """A typed line as it goes out: its text, then the line ending."""
    return utf8(text) + ending
