"""The forms of an address: its fields, the schemes with what follows each, and the canonical text."""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from jackfield._error_classes import InvalidAddress

Pairs = tuple[tuple[str, str], ...]


class Fields(NamedTuple):
    """What an address says; see ``Address`` for the meaning of each field."""

    scheme: str
    host: str | None = None
    port: int | None = None
    path: str | None = None
    options: Pairs = ()


class Body(Enum):
    """The forms that the part between the scheme and the options can take."""

    HOST_PORT = "host:port"
    WEB = "host:port/path?query"
    VSOCK = "cid:port"
    HOST = "host"
    INTERFACE = "interface"
    SOCKET = "/path or @name"
    FILE = "/path"
    QUEUE = "/name"
    DESCRIPTOR = "number"
    NOTHING = "nothing"


SCHEMES = {
    "tcp": Body.HOST_PORT,
    "tls": Body.HOST_PORT,
    "udp": Body.HOST_PORT,
    "unix": Body.SOCKET,
    "unix+dgram": Body.SOCKET,
    "unix+seqpacket": Body.SOCKET,
    "pair": Body.NOTHING,
    "vsock": Body.VSOCK,
    "shm": Body.SOCKET,
    "pipe": Body.NOTHING,
    "fifo": Body.FILE,
    "mq": Body.QUEUE,
    "serial": Body.FILE,
    "stdio": Body.NOTHING,
    "fd": Body.DESCRIPTOR,
    "exec": Body.NOTHING,
    "pty": Body.NOTHING,
    "icmp": Body.HOST,
    "raw": Body.HOST,
    "packet": Body.INTERFACE,
    "ws": Body.WEB,
    "wss": Body.WEB,
}
REPEATABLE = frozenset({"allow", "alpn", "argv", "pin"})
WEB_OPTION = "jf."
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/:@+=")
DIGITS = re.compile(r"[0-9]+")
HEX_PAIR = re.compile(r"%[0-9A-Fa-f]{2}")


# Printing -----------------------------------------------------------------------------------------


def format_fields(fields: Fields) -> str:
    """The canonical text of the fields, which are taken as they are."""
    scheme, host, _, path, options = fields
    body = SCHEMES.get(scheme)
    if body is Body.NOTHING or (body is Body.SOCKET and path is None and host is None):
        text = f"{scheme}:"
    elif body is Body.WEB:
        text = f"{scheme}://{endpoint(fields)}{path or ''}"
    else:
        text = f"{scheme}://{endpoint(fields)}"
    if not options:
        return text
    prefix = WEB_OPTION if body is Body.WEB else ""
    join = "&" if body is Body.WEB and "?" in (path or "") else "?"
    return text + join + format_options(options, prefix)


def endpoint(fields: Fields) -> str:
    """The address without scheme and options: ``127.0.0.1:7000``, ``[::1]:7000``, ``/path``, ``@name``."""
    body = SCHEMES.get(fields.scheme)
    if fields.host is None and fields.port is None:
        return quote(fields.path) if fields.path is not None else ""
    host = quote(fields.host or "", "[]")
    if ":" in host and body is not Body.INTERFACE:
        literal, percent, zone = (fields.host or "").partition("%")
        host = f"[{literal}{'%25' if percent else ''}{quote(zone)}]"
    return host if fields.port is None else f"{host}:{fields.port}"


def format_options(options: Pairs, prefix: str = "") -> str:
    """``name=value&name=value``; an empty value is printed as the bare name."""
    return "&".join(
        f"{prefix}{quote(name)}={quote(value, ',[]')}" if value else f"{prefix}{quote(name)}"
        for name, value in options
    )


def quote(text: str, safe: str = "") -> str:
    """Percent-encode what has a meaning in an address or cannot be seen; other letters stay readable."""
    if _UNRESERVED.issuperset(text):
        return text
    return "".join(
        character
        if character in _UNRESERVED
        or character in safe
        or (not character.isascii() and character.isprintable() and not character.isspace())
        else percent(character)
        for character in text
    )


def percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogateescape"))


def fault(text: str, position: int, message: str, hint: str | None = None) -> InvalidAddress:
    return InvalidAddress(text, position, message, hint)


def decode(text: str, start: int, end: int) -> str:
    """Undo the percent-encoding of a part of the text."""
    if "%" not in text[start:end]:
        raw = text[start:end].encode("utf-8", "surrogateescape")
    else:
        out = bytearray()
        position = start
        while position < end:
            if text[position] != "%":
                out += text[position].encode("utf-8", "surrogateescape")
                position += 1
                continue
            if not HEX_PAIR.match(text, position, end):
                raise bad_percent(text, position)
            out.append(int(text[position + 1 : position + 3], 16))
            position += 3
        raw = bytes(out)
    return raw.decode("utf-8", "surrogateescape")


def bad_percent(text: str, position: int) -> InvalidAddress:
    return fault(text, position, "two hexadecimal digits must follow %", "write %25 for a percent sign")


def read_number(text: str, start: int, end: int, what: str, largest: int, example: str) -> int:
    digits = text[start:end]
    if not digits:
        raise fault(text, start, f"the {what} is missing", f"write for example {example}")
    if not DIGITS.fullmatch(digits):
        bad = next(index for index, character in enumerate(digits) if character not in "0123456789")
        raise fault(text, start + bad, f"{digits!r} is not a {what} number", f"write for example {example}")
    if len(digits.lstrip("0")) > 10 or int(digits) > largest:
        raise fault(
            text, start, f"{what} {digits} is over {largest}", f"the {what} is a number from 0 to {largest}"
        )
    return int(digits)
