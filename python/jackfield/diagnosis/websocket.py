"""Asking for a WebSocket, and over it whether a Jackfield hub answers: a HELLO that offers no version.

A hub refuses it and says what it speaks (P-011 of docs/protocol.md), before it looks at names and tokens: no
session begins. Nothing a peer sends raises anything here: it becomes an observation.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Literal

from jackfield import EndOfStream, JackfieldError, portable

from .conversation import Stream
from .observations import Upgrade

KEPT = 8192
"""Bytes of an answer that are kept, as a whole HTTP answer may take."""
LONGEST_CODE, LONGEST_WORDS = 64, 256
"""Characters of a hub's answer that are kept; it may be of 64 KiB."""
_QUESTION = {"type": "hello", "versions": [], "instance": "check", "agent": "jackfield check", "services": []}


async def open_websocket(stream: Stream, host: str, path: str, *, wait: float) -> Upgrade:
    """Ask for a WebSocket at a path, and then a hub for its versions; all of it takes ``wait`` seconds."""
    begun = time.monotonic()
    wire = portable.WebSocket(host, path)
    raw, said = b"", list[bytes]()
    asked = False
    refused = broken = ""
    ended: Literal["closed", "reset", "silence"] | None = None
    try:
        async with asyncio.timeout(wait):
            await stream.send(wire.take(), wait)
            while wire.code is None and len(said) < 2:
                rest = begun + wait - time.monotonic()
                if rest <= 0:  # a flood is received without a wait, in which the timeout would be noticed
                    raise TimeoutError
                data = await stream.receive(rest)
                raw = (raw + data)[:KEPT]
                said += wire.feed(data)
                if wire.is_open and not asked:
                    asked = True
                    for message in (portable.MAGIC, _question()):
                        await stream.send(wire.framed(message), wait)
                wire.take()
            await stream.send(wire.closing(), wait)
    except portable.Refused as error:
        refused = error.code
    except portable.ProtocolError as error:
        broken = error.message
    except TimeoutError:
        ended = "silence"
    except EndOfStream:
        ended = "closed"
    except (ssl.SSLError, JackfieldError, OSError):
        ended = "reset"
    code, words, versions = _read(said)
    elapsed, opened, close = time.monotonic() - begun, wire.is_open, wire.code
    return Upgrade(elapsed, path, raw, opened, refused, broken, close, code, words, versions, ended)


def _question() -> bytes:
    return portable.encode(0, portable.CONTROL, portable.to_json(_QUESTION))


def _read(said: list[bytes]) -> tuple[str, str, tuple[int, ...]]:
    """The code of a hub's answer, its words, and the versions that it speaks; empty for what is none."""
    if len(said) < 2 or said[0] != portable.MAGIC:
        return "", "", ()
    try:
        answer = portable.from_json(portable.decode(said[1]).payload)
    except portable.ProtocolError:
        return "", "", ()
    code, words, versions = (answer.get(name) for name in ("code", "message", "versions"))
    numbers = versions if isinstance(versions, list) else []
    return (
        _short(code, LONGEST_CODE),
        _short(words, LONGEST_WORDS),
        tuple(each for each in numbers[:8] if type(each) is int),
    )


def _short(text: object, longest: int) -> str:
    """What a terminal may show of a text; empty for what is none."""
    return portable.harmless(text[:longest])[:longest] if isinstance(text, str) else ""
