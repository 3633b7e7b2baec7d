"""Native clients that come where none are taken: a place for operators, a listener with `protocol=plain`.

What a client shows, its token, is in its first flight. Here it is neither read, told to anybody nor kept.
Operators' places answer in the client's protocol; a plain listener, whose framing may be any, ends it.
"""

from __future__ import annotations

import contextlib
from typing import Final

import jackfield
from jackfield import Channel
from jackfield.portable import CONTROL, MAGIC, encode, to_json

LAST_WORDS: Final = 1.0  # seconds that the client's hello and the refusal may take
_HINT: Final = (
    "join a listener for clients: 'jackfield status' has their addresses; operators come with --hub"
)
_WORDS: Final = {
    "type": "error",
    "code": "forbidden",
    "message": "this is a place for operators (protocol=control), and not for clients",
    "hint": _HINT,
}
_OPENINGS: Final = (b"\0\0\0\x08\x8fJACK", MAGIC[:7])
"""How a native client begins, whatever framing divides its first bytes."""


def is_client(first: bytes) -> bool:
    """Whether that message, the first one at a place for operators, is a native client's."""
    return first == MAGIC


def opens_as_client(first: bytes) -> bool:
    """Whether that message, the first one of a plain client, is a native client's."""
    return first.startswith(_OPENINGS)


async def refuse(channel: Channel) -> None:
    """Tell a native client that this is a place for operators, and let it go. Takes two seconds at most."""
    with contextlib.suppress(jackfield.JackfieldError, OSError, TimeoutError):
        await channel.receive(timeout=LAST_WORDS)  # unread, it would make a reset of the end
        channel.send_nowait(MAGIC)
        channel.send_nowait(encode(0, CONTROL, to_json(_WORDS)))
        await channel.flush(timeout=LAST_WORDS)
        await channel.close(LAST_WORDS)
    channel.abort()
