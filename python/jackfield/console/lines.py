"""Lines of a screen: pieces of safe text, each with a style, cut and joined by the columns that they take.

A style is a name that the terminal's shell gives a look to; "" is plain. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..hub.display import fit, width_of

Line = list[tuple[str, str]]


def text_of(line: Line) -> str:
    """The line without its styles."""
    return "".join(text for _, text in line)


def line_width(line: Line) -> int:
    return sum(width_of(text) for _, text in line)


def fitted(line: Line, width: int) -> Line:
    """The line in exactly `width` columns: padded, or cut with an ellipsis."""
    out: Line = []
    left = width
    for index, (style, text) in enumerate(line):
        size = width_of(text)
        more = any(text for _, text in line[index + 1 :])
        if size > left or (size == left and more):
            if left > 0:
                out.append((style, fit(text + ("…" if size == left else ""), left)))
            return out
        out.append((style, text))
        left -= size
    if left > 0:
        out.append((out[-1][0] if len(line) == 1 else "", " " * left))
    return out


def beside(left: Sequence[Line], right: Sequence[Line], *, at: int, divider: str = "│") -> list[Line]:
    """Two columns of lines: `left` in `at` columns, the divider, `right`."""
    rows = max(len(left), len(right))
    padded = [*left, *([[("", "")]] * (rows - len(left)))]
    other = [*right, *([[("", "")]] * (rows - len(right)))]
    return [
        [*fitted(one, at), ("rule", f" {divider} "), *two] for one, two in zip(padded, other, strict=True)
    ]


def rule(title: Line, width: int, *, fill: str = "─") -> Line:
    """A line across the screen with a title in it."""
    shown = [("rule", fill * 2 + " "), *title, ("rule", " ")] if title else []
    left = width - line_width(shown)
    if left < 0:
        return fitted(shown, width)
    return [*shown, ("rule", fill * left)]


def wrap(text: str, width: int) -> Iterator[str]:
    """Safe text in pieces of at most `width` columns; nothing gives one empty piece."""
    if width_of(text) <= width:
        yield text
        return
    piece: list[str] = []
    used = 0
    for character in text:
        size = width_of(character)
        if used + size > width and piece:
            yield "".join(piece)
            piece, used = [], 0
        piece.append(character)
        used += size
    yield "".join(piece)
