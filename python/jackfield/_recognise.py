"""What a peer speaks, by its first bytes: for errors about bytes that are not in the framing. Pure.

Recognised is only what a protocol's own document fixes for the first bytes; a guess would mislead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple


class Speech(NamedTuple):
    """What was recognised."""

    protocol: str
    """``TLS``, ``HTTP``, ``SSH`` ..."""
    what: str
    """``a TLS ClientHello``, ``an HTTP request``."""
    hint: str
    """What to try."""


_WRONG_PORT = "the peer expects another program at this port: check the address at both ends"
_METHODS = rb"(GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH) "


def recognise(beginning: bytes) -> Speech | None:
    """What the bytes are the beginning of; None if that cannot be told."""
    for test, speech in _KNOWN:
        if test(beginning):
            return speech
    if len(beginning) >= 4 and all(32 <= byte < 127 or byte in b"\r\n\t" for byte in beginning):
        return Speech("text", "text", "use framing=line, or none, if the peer speaks a text protocol")
    return None


def show(data: bytes) -> str:
    """Bytes for people: ``47 45 54 20 'GET '``; at most 16 of them."""
    shown = data[:16]
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in shown)
    return f"{shown.hex(' ')} '{text}'" + (" ..." if len(data) > len(shown) else "")


def _starts(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(beginnings)


def _matches(pattern: bytes) -> Callable[[bytes], bool]:
    compiled = re.compile(pattern, re.DOTALL)
    return lambda data: compiled.match(data) is not None


def _tls(message: int) -> Callable[[bytes], bool]:
    """A handshake record (RFC 8446, 5.1) with this message first; its legacy version is 3.0 to 3.4."""
    return lambda data: (
        len(data) >= 6 and data[0] == 22 and data[1] == 3 and data[2] <= 4 and data[5] == message
    )


_PLAIN = "the peer wants TLS and this channel has none: write tls:// here, or switch TLS off there"

_KNOWN: list[tuple[Callable[[bytes], bool], Speech]] = [
    (_tls(1), Speech("TLS", "a TLS ClientHello", _PLAIN)),
    (_tls(2), Speech("TLS", "a TLS ServerHello", _PLAIN)),
    (_matches(rb"\x15\x03[\x00-\x04]\x00\x02[\x01\x02]"), Speech("TLS", "a TLS alert", _PLAIN)),
    (
        _starts(b"PRI * HTTP/2.0\r\n"),
        Speech("HTTP", "the preface of HTTP/2", "the peer is an HTTP/2 client: " + _WRONG_PORT),
    ),
    (
        _matches(_METHODS),
        Speech("HTTP", "an HTTP request", "the peer is a web client: check its address, or use framing=none"),
    ),
    (
        _starts(b"HTTP/1."),
        Speech("HTTP", "an HTTP response", "the peer is a web server: check the port, or use framing=none"),
    ),
    (_starts(b"SSH-2.0-", b"SSH-1."), Speech("SSH", "an SSH banner", "check the port: 22 is SSH's")),
    (
        _starts(b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"),
        Speech("PROXY", "a PROXY protocol header", "switch it off"),
    ),
    (_matches(rb"\x10.{1,4}\x00\x04MQTT"), Speech("MQTT", "an MQTT CONNECT", _WRONG_PORT)),
    (_starts(b"AMQP"), Speech("AMQP", "an AMQP header", _WRONG_PORT)),
    (_starts(b"INFO {"), Speech("NATS", "a NATS greeting", _WRONG_PORT)),
    (_matches(rb"\*[0-9]+\r\n\$[0-9]+\r\n"), Speech("Redis", "a Redis command", _WRONG_PORT)),
    (
        _starts(b"\0\0\0\x08\x04\xd2\x16\x2f"),
        Speech("PostgreSQL", "a PostgreSQL SSLRequest", _WRONG_PORT),
    ),
    (_matches(rb"220[ -]"), Speech("SMTP or FTP", "the greeting of a mail or file server", _WRONG_PORT)),
    (_starts(b"+OK "), Speech("POP3", "the greeting of a POP3 server", _WRONG_PORT)),
    (_starts(b"* OK "), Speech("IMAP", "the greeting of an IMAP server", _WRONG_PORT)),
]
