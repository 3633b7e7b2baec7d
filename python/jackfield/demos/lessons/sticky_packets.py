"""Sticky packets: the same bytes with and without a framing."""

from __future__ import annotations

from ..examples.sticky_packets import LONG, WORDS, received
from ..lesson import Show, claim

FRAMINGS = ("line", "u32", "varint", "netstring", "delimiter:END", "cobs")


def side_by_side(left: list[bytes], right: list[bytes]) -> list[str]:
    """Two columns: what was received without a framing, and with one."""
    rows = max(len(left), len(right))
    columns = [
        ["framing=none", *map(repr, left), *[""] * (rows - len(left))],
        ["framing=line", *map(repr, right), *[""] * (rows - len(right))],
    ]
    width = max(map(len, columns[0])) + 4
    return [f"{a:<{width}}{b}".rstrip() for a, b in zip(*columns, strict=True)]


async def lesson(show: Show) -> None:
    chunks = await received("none", WORDS, "none")
    claim(chunks == [b"onetwothree"], chunks)
    await show("together", *map(repr, chunks), sent=len(WORDS), came=len(chunks))

    chunks = await received("none", [LONG], "none")
    claim(len(chunks) > 1 and b"".join(chunks) == LONG, len(chunks))
    sizes = [str(len(chunk)) for chunk in chunks]
    shown = " + ".join(sizes if len(sizes) < 8 else [*sizes[:6], "...", sizes[-1]])
    await show("split", f"{len(LONG)} = {shown}", size=len(LONG), came=len(chunks))

    raw = await received("line", WORDS, "none")
    words = await received("line", WORDS, "line")
    claim(b"".join(raw) == b"one\ntwo\nthree\n" and len(raw) < len(WORDS), raw)
    claim(words == WORDS, words)
    await show("same-bytes", *side_by_side(raw, words), raw=len(raw), came=len(words))

    lines = []
    for framing in FRAMINGS:
        wire = b"".join(await received(framing, WORDS, "none"))
        words = await received(framing, WORDS, framing)
        claim(words == WORDS, framing, words)
        lines.append(f"{framing:<14}{wire!r}")
    long = await received("u32", [LONG], "u32")
    claim(long == [LONG], len(long))
    await show("framings", *lines, count=len(FRAMINGS), size=len(LONG))
