"""What people see of bytes that others sent: safe text, hex dumps, sizes, ages and tables.

Owns the promise that nothing a client sends reaches an operator's terminal raw: control
sequences, bidirectional overrides and invisible characters come out as escapes. Pure.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

_NAMED: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0", "\x1b": "\\e", "\\": "\\\\"}
# Categories that draw nothing of their own or reorder what others drew: control, format,
# surrogate, private use, unassigned, line and paragraph separators.
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_ZERO_WIDTH: Final = frozenset({"Mn", "Me"})


def safe_text(text: str, *, keep: str = "") -> str:
    """`text` with everything that could steer a terminal as an escape; characters in `keep` stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in keep or unicodedata.category(character) not in _UNSAFE
        else _escape(character)
        for character in text
    )


def _escape(character: str) -> str:
    named = _NAMED.get(character)
    if named is not None:
        return named
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not text, as "surrogateescape" hands it over
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def show_bytes(data: bytes, *, keep: str = "") -> str:
    """`data` as safe text: UTF-8 where it is, `\\xHH` where it is not."""
    return safe_text(data.decode("utf-8", "surrogateescape"), keep=keep)


def preview(data: bytes, limit: int = 120) -> str:
    """The beginning of `data` as one safe line of at most about `limit` characters."""
    shown = show_bytes(data[:limit])
    if len(shown) > limit:
        shown = shown[:limit]
    return shown if len(data) <= limit and len(shown) < limit else f"{shown}... ({len(data)} bytes)"


def hexdump(data: bytes, offset: int = 0) -> Iterator[str]:
    """Lines of offset, sixteen bytes in hex, and the same as ASCII."""
    for start in range(0, len(data), 16):
        row = data[start : start + 16]
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        yield f"{offset + start:08x}  {left:<23}  {right:<23}  |{text}|"


def human_size(count: int) -> str:
    """A byte count in at most six characters: `512`, `4.0K`, `17M`."""
    if count < 1024:
        return str(count)
    size = float(count)
    for unit in "KMGTPE":
        size /= 1024
        if size < 999.5 or unit == "E":
            return f"{size:.1f}{unit}" if size < 9.95 else f"{size:.0f}{unit}"
    raise AssertionError("unreachable")


def bytes_text(count: int) -> str:
    """A byte count within a sentence: `1 byte`, `206 bytes`, `4.0K`."""
    if count >= 1024:
        return human_size(count)
    return "1 byte" if count == 1 else f"{count} bytes"


def human_age(seconds: float) -> str:
    """A length of time in at most six characters: `4s`, `3m12s`, `5h04m`, `12d`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d"


def width_of(text: str) -> int:
    """Columns that safe text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.category(character) in _ZERO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` columns: padded, or cut with an ellipsis."""
    taken = width_of(text)
    if taken <= width:
        return text + " " * (width - taken)
    out, used = [], 0
    for character in text:
        step = _width(character)
        if used + step > width - 1:
            break
        out.append(character)
        used += step
    return "".join(out) + "…" + " " * (width - used - 1) if width > 0 else ""


class Column:
    """One column of a table: its heading, whether it stands right, and how far it may shrink."""

    __slots__ = ("heading", "least", "right")

    def __init__(self, heading: str, *, right: bool = False, least: int | None = None) -> None:
        self.heading = heading
        self.right = right
        self.least = least  # None: never cut


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """A heading and one line per row, two spaces between columns, in at most `width` columns.

    Columns that may shrink give way, the widest first; a table whose fixed columns alone exceed
    `width` is cut at the right edge.
    """
    widths = [width_of(column.heading) for column in columns]
    for row in rows:
        widths = [max(have, width_of(cell)) for have, cell in zip(widths, row, strict=True)]
    over = sum(widths) + 2 * (len(columns) - 1) - width
    while over > 0:
        shrinkable = [
            i for i, column in enumerate(columns) if column.least is not None and widths[i] > column.least
        ]
        if not shrinkable:
            break
        widest = max(shrinkable, key=widths.__getitem__)
        widths[widest] -= 1
        over -= 1
    lines = []
    for row in ([column.heading for column in columns], *rows):
        cells = []
        for column, cell, size in zip(columns, row, widths, strict=True):
            fitted = fit(cell, size)
            cells.append(
                " " * (size - width_of(cell)) + cell if column.right and width_of(cell) <= size else fitted
            )
        line = "  ".join(cells).rstrip()
        lines.append(line if width_of(line) <= width else fit(line, width))
    return lines
