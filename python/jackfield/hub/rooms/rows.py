"""Messages of rooms as JSON has them, for native clients and for operators. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

from ..protocol import encode_data
from .store import Message

ANSWER: Final = 60_000  # bytes of JSON that one answer has at most, about


def row(message: Message) -> list[Any]:
    """A message as answers carry it."""
    sequence, at, sender, name, number, body = message
    try:
        text: Any = body.decode()
        if len(json.dumps(text)) > len(body) * 4 // 3 + 20:
            text = {"base64": encode_data(body)}
    except UnicodeDecodeError:
        text = {"base64": encode_data(body)}
    return [sequence, round(at, 3), sender, name, number, text]


def fitting(items: Iterable[Any], most: int, *, size: int = ANSWER) -> Iterable[Any]:
    """The first items, as many as fit into one answer, and at least one of them."""
    used = 0
    for count, item in enumerate(items):
        used += len(json.dumps(item, separators=(",", ":"))) + 1
        if count >= most or (count and used > size):
            return
        yield item


def said_as(body: bytes) -> dict[str, str]:
    """A body as one message carries it: as `text` where it is that, as `data` in base64 where not."""
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"data": encode_data(body)}
