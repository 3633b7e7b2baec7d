"""Numbers with units, as options carry them: ``5s``, ``250ms``, ``4M``, ``512B``.

Units are mandatory in text, so that nobody has to guess what ``5`` means. Bytes are in binary multiples.
Every ``read_*`` raises ``UnitError`` with a message and a hint.
"""

from __future__ import annotations

import re

_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([^0-9.\s]*)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_YES = frozenset({"yes", "true", "1", "on"})
_NO = frozenset({"no", "false", "0", "off"})


class UnitError(ValueError):
    """Text that is no such number; ``hint`` says what to write."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def _split(text: str, hint: str) -> tuple[str, str]:
    match = _NUMBER.fullmatch(text) if text.isascii() else None
    if match is None:
        raise UnitError(f"{text!r} is not a number with a unit", hint)
    return match[1], match[2]


def read_seconds(text: str) -> float:
    """``5s``, ``250ms``, ``100us``, ``2m``, ``1h`` in seconds."""
    number, unit = _split(text, "write for example 5s, 250ms or 2m")
    if not unit:
        hint = f"write {text}s for seconds, {text}ms for milliseconds, {text}m for minutes"
        raise UnitError(f"{text} has no unit", hint)
    if unit not in _SECONDS:
        near = unit.lower() if unit.lower() in _SECONDS else "s"
        hint = f"write {number}{near}; the units are us, ms, s, m, h"
        raise UnitError(f"{unit!r} is not a unit of time", hint)
    return float(number) * _SECONDS[unit]


def read_bytes(text: str) -> int:
    """``512B``, ``64K``, ``4M``, ``1G`` in bytes; K is 1024."""
    number, unit = _split(text, "write for example 512B, 64K or 4M")
    if not unit:
        hint = f"write {text}B for bytes, {text}K or {text}M (K is 1024 bytes)"
        raise UnitError(f"{text} has no unit", hint)
    if unit not in _BYTES:
        near = unit[0].upper() if unit[0].upper() in _BYTES else "B"
        hint = f"write {number}{near}; the units are B, K, M, G, T"
        raise UnitError(f"{unit!r} is not a unit of size", hint)
    size = float(number) * _BYTES[unit] if "." in number else int(number) * _BYTES[unit]
    if size != int(size):
        raise UnitError(f"{text} is no whole number of bytes", "write for example 512B, 64K or 4M")
    return int(size)


def read_switch(text: str) -> bool:
    """``yes no true false on off 1 0``; the bare name (no text) is yes."""
    lower = text.lower()
    if not text or lower in _YES:
        return True
    if lower in _NO:
        return False
    raise UnitError(f"{text!r} is neither yes nor no", "write yes or no")


def read_integer(text: str) -> int:
    """A whole number without a unit, decimal or ``0x`` hexadecimal."""
    if re.fullmatch(r"[0-9]{1,18}", text):
        return int(text)
    if re.fullmatch(r"0[xX][0-9A-Fa-f]{1,15}", text):
        return int(text, 16)
    raise UnitError(f"{text!r} is not a whole number", "write a number without a unit, such as 5")


def format_seconds(seconds: float) -> str:
    """The shortest text that ``read_seconds`` reads as the same number."""
    for unit in ("h", "m", "s", "ms", "us"):
        count = round(seconds / _SECONDS[unit])
        if count >= 1 and count * _SECONDS[unit] == seconds:
            return f"{count}{unit}"
    plain = f"{seconds:.17f}".rstrip("0").rstrip(".") if seconds < 1e-4 or seconds >= 1e16 else repr(seconds)
    return f"{plain}s" if plain else "0s"


def format_bytes(size: int) -> str:
    """The shortest text that ``read_bytes`` reads as the same number."""
    for unit in ("T", "G", "M", "K"):
        if size >= _BYTES[unit] and size % _BYTES[unit] == 0:
            return f"{size // _BYTES[unit]}{unit}"
    return f"{size}B"
