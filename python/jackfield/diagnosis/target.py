"""What is to be checked: the words that people type, as an address and what is to be said there.

Pure. ``https://``, ``http://``, ``tls://``, ``ws://`` and ``wss://`` are checked over the TCP connection
below them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from jackfield import Address, NotSupported, Options

KINDS = ("tcp", "udp", "unix", "unix+dgram", "unix+seqpacket")
DATAGRAM = ("udp", "unix+dgram")
WEBSOCKETS = ("ws", "wss")
HUB_PATH = "/native"
"""Where hubs have their WebSocket; what an address without a path means."""
_WEB = re.compile(r"(https?)://", re.IGNORECASE)
_LONE_HOST = re.compile(r"[^:/@\s]+|\[?[0-9A-Fa-f:.%]*:[0-9A-Fa-f:.%]*:[^/\s]*\]?")
"""A host without a port: a word, or a number of IPv6, which has two colons at least."""


@dataclass(frozen=True)
class Target:
    """One thing to check."""

    text: str
    """As it was typed."""
    address: Address
    """Where to connect, with options such as ``bind=`` and ``device=``; never with a framing."""
    tls: bool = False
    http: bool = False
    path: str = "/"
    """What HTTP asks for."""
    websocket: bool = False
    """Whether a WebSocket is asked for at ``path``, and a hub over it."""
    pins: tuple[str, ...] = ()
    """The certificates that are trusted, each as ``sha256:`` and digits; none: those of authorities."""

    @property
    def is_unix(self) -> bool:
        return self.address.scheme.startswith("unix")

    @property
    def is_datagram(self) -> bool:
        return self.address.scheme in DATAGRAM

    @property
    def host_header(self) -> str:
        """The ``Host`` field of an HTTP request (RFC 9110, section 7.2)."""
        usual = 443 if self.tls else 80
        if self.address.port != usual:
            return self.address.endpoint
        host = (self.address.host or "").partition("%")[0]
        return f"[{host}]" if ":" in host else host


def targets(words: Sequence[str]) -> list[Target]:
    """The targets that the words name: ``host port`` together are one, otherwise each word is.

    Raises ``InvalidAddress``, ``InvalidOption``, and ``NotSupported`` for what cannot be checked.
    """
    if len(words) == 2 and words[1].isdigit() and _LONE_HOST.fullmatch(words[0]) and not words[0].isdigit():
        return [_target(*words)]
    return [_target(word) for word in words]


def _target(*words: str) -> Target:
    text = " ".join(words)
    web = _WEB.match(text)
    address = Address.from_command_line(*words).with_options(framing=None, connect_timeout=None)
    if address.scheme in WEBSOCKETS:
        return _websocket(text, address)
    options = Options.from_address(address)
    if web is not None:
        _, slash, path = text[web.end() :].partition("/")
        asked = "/" + path.partition("#")[0] if slash else "/"
        return Target(text, address, tls=web[1].lower() == "https", http=True, path=_printable(asked))
    if address.scheme == "tls":
        below = Address("tcp", address.host, address.port, options=address.with_options(pin=None).options)
        return Target(text, below, tls=True, pins=tuple(options.pin or ()))
    if address.scheme not in KINDS or address.is_unnamed:
        known = ", ".join(f"{scheme}://" for scheme in (*KINDS, "tls", "http", "https", *WEBSOCKETS))
        raise NotSupported(f"{text} cannot be checked", hint=f"what can be checked: {known}", address=address)
    return Target(text, address)


def _websocket(text: str, address: Address) -> Target:
    below = Address("tcp", address.host, address.port)
    path = address.path or ""
    asked = path if path.strip("/") else HUB_PATH
    pin, secure = address.option("pin"), address.scheme == "wss"
    pins: tuple[str, ...] = ()
    if secure and pin is not None:
        pins = tuple(
            Options.from_address(Address("tls", address.host, address.port, options=(("pin", pin),))).pin
            or ()
        )
    return Target(text, below, tls=secure, path=_printable(asked), pins=pins, websocket=True)


def _printable(path: str) -> str:
    """A path as it may stand in a request line: no spaces, no control characters (RFC 9112, section 3)."""
    return re.sub(
        "[^!-~]",
        lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "surrogateescape")),
        path,
    )
