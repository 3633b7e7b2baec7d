"""The content of messages between clients: `text`, or `data` in base64, and how long one may be. Pure."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import TYPE_CHECKING, Any, Final

from jackfield.portable import ProtocolError, to_json

from ..protocol import BAD_REQUEST, REFUSED, RequestError
from ..roster import timestamp

if TYPE_CHECKING:
    from ..protocol import Request
    from ..rooms.store import Waiting

LONGEST: Final = 32 * 1024  # bytes of one message
LONGEST_BODY: Final = 64_000  # the same with its sender as JSON, which a hub adds number and time to
EXPIRES: Final = 7 * 86_400.0  # seconds that a message waits
LONGEST_WAIT: Final = 90 * 86_400.0


def name_of(identity: str) -> str:
    """What an identity is called where nothing else is known."""
    return identity.partition(":")[2] or identity


def data_of(body: dict[str, Any]) -> bytes:
    """The bytes of a message."""
    text = body.get("text")
    return text.encode("utf-8", "replace") if isinstance(text, str) else base64.b64decode(body["data"])


def content_of(request: Request) -> dict[str, Any]:
    """`text` or `data` as they came. Raises `RequestError`."""
    if ("text" in request.arguments) == ("data" in request.arguments):
        raise RequestError(BAD_REQUEST, f"{request.op} needs either 'text' or 'data'")
    if "text" in request.arguments:
        text = request.text("text")
        data = text.encode("utf-8", "surrogatepass")
        size, body = len(data), {"text": text}
        if size <= LONGEST and _is_long(text):
            body = content(data)
    else:
        data = request.data("data")
        size, body = len(data), {"data": base64.b64encode(data).decode()}
    if size > LONGEST:
        raise RequestError(REFUSED, f"a message of {size} bytes is too long: at most {LONGEST}")
    return body


def encoded(body: dict[str, Any]) -> bytes:
    """A message as JSON. Raises `RequestError` where it fits into no event with what the hub adds."""
    with contextlib.suppress(ProtocolError):
        found = to_json(body)
        if len(found) <= LONGEST_BODY:
            return found
    hint = "send it as 'data'" if "text" in body else ""
    raise RequestError(REFUSED, f"a message of more than {LONGEST_BODY} bytes as JSON is too long", hint=hint)


def content(data: bytes) -> dict[str, Any]:
    """Bytes as a message has them: as text where they are some, and JSON does not make it much longer."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = None
    return {"data": base64.b64encode(data).decode()} if text is None or _is_long(text) else {"text": text}


def _is_long(text: str) -> bool:
    """Whether a text, of control characters for the most part, fits into no frame as JSON has it."""
    return len(text) > LONGEST // 4 and len(json.dumps(text, ensure_ascii=False)) > len(text) + LONGEST // 4


def letter_view(each: Waiting) -> dict[str, Any]:
    """A letter as operators see it."""
    letter = each.letter
    data = data_of(json.loads(letter.body))
    return {
        "number": each.id,
        "to": name_of(letter.to),
        "from": letter.name,
        "at": timestamp(letter.at),
        "expires": timestamp(letter.expires),
        "bytes": len(data),
        "data": base64.b64encode(data).decode(),
    }
