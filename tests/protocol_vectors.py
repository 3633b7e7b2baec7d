"""The vectors of the protocol: their notation as bytes, without the code that they are held with."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parent / "vectors" / "protocol"
MAGIC = bytes.fromhex("8f4a41434b0d0a1a")
KINDS = ["CONTROL", "OPEN", "DATA", "END", "RESET", "CREDIT", "ACK", "PING", "PONG"]
FLAGS = {"MORE": 1, "SHARED": 2}


def from_hex(text: str) -> bytes:
    """``6869 00*3`` is 68 69 00 00 00."""
    parts = [part.partition("*") for part in text.split()]
    return b"".join(bytes.fromhex(digits) * int(times or 1) for digits, _, times in parts)


def to_bytes(text: str) -> bytes:
    """A message of a conversation, as it is written, as bytes."""
    stream, rest = 0, text
    if text[0].isdigit():
        number, _, rest = text.partition(" ")
        stream = int(number)
    word, _, rest = rest.partition(" ")
    if word == "MAGIC":
        return MAGIC
    if word == "HEX":
        return from_hex(rest)
    name, *flags = word.split("+")
    payload = b""
    if name in ("CONTROL", "OPEN"):
        payload = rest.encode()
    elif name in ("DATA", "PING", "PONG"):
        payload = from_hex(rest)
    elif name == "RESET":
        code, _, reason = rest.partition(" ")
        payload = struct.pack(">I", int(code)) + reason.encode()
    elif name in ("CREDIT", "ACK"):
        payload = int(rest).to_bytes(4 if name == "CREDIT" else 8, "big")
    return struct.pack(">IBBH", stream, KINDS.index(name), sum(FLAGS[flag] for flag in flags), 0) + payload


def fits(wanted: Any, found: Any) -> bool:
    """Whether a value is what was written; of objects the members that were written, null or absent."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(fits(value, found.get(name)) for name, value in wanted.items())
    return bool(wanted == found)


def is_message(wanted: str, found: bytes) -> bool:
    """Whether a message is what was written: objects by their members, RESET by its code alone."""
    bytes_wanted = to_bytes(wanted)
    if bytes_wanted[4:5] == b"\4" and len(bytes_wanted) == 12:
        return found[:12] == bytes_wanted
    if bytes_wanted != MAGIC and bytes_wanted[4] < 2:
        return found[:8] == bytes_wanted[:8] and fits(json.loads(bytes_wanted[8:]), json.loads(found[8:]))
    return found == bytes_wanted


def shown(message: bytes) -> str:
    """A message as it would be written, for people to read when a vector does not hold."""
    if message == MAGIC:
        return "MAGIC"
    stream, kind, flags, _ = struct.unpack_from(">IBBH", message)
    names = [KINDS[kind], *(name for name, flag in FLAGS.items() if flags & flag)]
    payload = message[8:].decode() if kind < 2 else message[8:].hex()[:80]
    return f"{stream} {'+'.join(names)} {payload}"


def load(name: str) -> Any:
    """One file of vectors."""
    return json.loads((VECTORS / f"{name}.json").read_text())


def conversations() -> Iterator[dict[str, Any]]:
    """Every conversation, with the steps of its prelude before its own."""
    for name in ("handshake", "conversations"):
        content = load(name)
        for each in content["conversations"]:
            prelude = [] if each.get("prelude") is False else content.get("prelude", {}).get(each["role"], [])
            yield {**each, "steps": [*prelude, *each["steps"]], "own": len(prelude)}


def covered() -> set[str]:
    """The numbers of the rules that some vector shows."""
    found = list(conversations())
    found += load("frames")["good"] + load("frames")["bad"] + load("streams")["cases"]
    return {rule for each in found for rule in each.get("shows", ())}
