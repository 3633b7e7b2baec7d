"""Messages of rooms as JSON has them, for native clients and for operators. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from ..protocol import decode_data, encode_data
from .store import Message

ANSWER: Final = 60_000  # bytes of JSON that one answer has at most, about


def row(message: Message) -> list[Any]:
    """A message as answers carry it."""
    sequence, at, sender, name, number, body = message
    said: Any = text_of(body)
    if said is None:
        said = {"base64": encode_data(body)}
    return [sequence, round(at, 3), sender, name, number, said]


def text_of(body: bytes) -> str | None:
    """A body as text; None for one that is none, or that JSON makes longer than base64 does."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if len(json.dumps(text)) <= len(body) * 4 // 3 + 20 else None


def message_of(row: Sequence[Any]) -> Message:
    """A row as the message that it was."""
    sequence, at, sender, name, number, said = row
    body = decode_data(said["base64"]) if isinstance(said, dict) else said.encode("utf-8", "replace")
    return Message(sequence, at, sender, name, number, body)


def fitting(items: Iterable[Any], most: int, *, size: int = ANSWER) -> Iterable[Any]:
    """The first items, as many as fit into one answer, and at least one of them."""
    used = 0
    for count, item in enumerate(items):
        used += len(json.dumps(item, separators=(",", ":"))) + 1
        if count >= most or (count and used > size):
            return
        yield item


def pages(items: Iterable[Any], most: int, *, size: int = ANSWER) -> Iterator[list[Any]]:
    """All items, parted into as many as fit into one event each."""
    page: list[Any] = []
    used = 0
    for item in items:
        length = len(json.dumps(item, separators=(",", ":"))) + 1
        if page and (len(page) >= most or used + length > size):
            yield page
            page, used = [], 0
        page.append(item)
        used += length
    if page:
        yield page


def said_as(body: bytes) -> dict[str, str]:
    """A body as one message carries it: as `text` where it is that, as `data` in base64 where not."""
    text = text_of(body)
    return {"data": encode_data(body)} if text is None else {"text": text}
