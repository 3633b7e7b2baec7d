"""What a check saw: one frozen value for each kind of thing, and all of them together.

Facts only, in seconds and plain text; what they mean is decided in ``judge``. A fact that was not looked at,
or could not be seen, is ``None`` or empty.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Literal

from .target import Target

SHOWN = 8
"""Addresses that a sentence names; the facts have all of them."""


@dataclass(frozen=True)
class Resolution:
    """How a name became addresses, or did not."""

    name: str
    seconds: float
    addresses: tuple[str, ...] = ()
    source: str = ""
    """Who was asked: ``/etc/hosts``, ``name server 192.0.2.53``."""
    failure: str | None = None
    """The cause, where it has none: ``no-such-host``, ``name-not-resolved`` or ``name-server-silent``."""
    said: str = ""
    """What the library's error says about the failure."""
    hint: str = ""
    """What the library would try."""
    servers: tuple[str, ...] = ()
    """What each name server said, in words."""

    @property
    def sentence(self) -> str:
        """The name and its addresses; of very many only the first."""
        more = f" and {len(self.addresses) - SHOWN} more" if len(self.addresses) > SHOWN else ""
        return f"{self.name} is {', '.join(self.addresses[:SHOWN])}{more}"


@dataclass(frozen=True)
class Neighbour:
    """The kernel's entry for a host on the local link (ip-neighbour(8))."""

    address: str
    state: str
    """``reachable``, ``stale``, ``failed``, ``incomplete`` ..."""

    @property
    def answered(self) -> bool:
        """Whether the host has answered lately at the link layer."""
        return self.state in ("reachable", "delay", "probe", "stale", "permanent")


@dataclass(frozen=True)
class Route:
    """The kernel's own answer how it reaches an address (rtnetlink(7), RTM_GETROUTE)."""

    destination: str
    seconds: float
    kind: str = "unicast"
    """``local``, ``unicast``, ``broadcast``, ``unreachable``, ``prohibit``, ``blackhole``, ``none``, or
    ``unknown`` where the kernel could not be asked."""
    source: str | None = None
    interface: str | None = None
    gateway: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether the destination is an address of this machine."""
        return self.kind == "local"


@dataclass(frozen=True)
class Attempt:
    """One connect."""

    address: str
    """As ``host:port`` with a number for the host, or a path."""
    seconds: float
    connected: bool = False
    errno: int | None = None
    timed_out: bool = False
    offender: str | None = None
    """The host that said no, where the network told it."""
    icmp: tuple[int, int] | None = None
    """Type and code of the ICMP or ICMPv6 message behind the errno."""
    cause: str | None = None
    """The library's own word for the cause (``JackfieldError.cause``)."""
    said: str = ""
    """The library's sentence about the failure."""
    hint: str = ""
    """What the library would try."""
    local: str | None = None
    rtt: float | None = None
    """The kernel's measure of the handshake's round trip."""
    retransmits: int = 0
    """How often the first packet had to be sent again."""

    @property
    def outcome(self) -> str:
        """In a word or two; ``said`` has more."""
        if self.connected:
            return "connected"
        if self.timed_out:
            return "no answer"
        return _OUTCOMES.get(self.errno or 0) or self.said or "failed"


_OUTCOMES = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EHOSTUNREACH: "host unreachable",
    errno.ENETUNREACH: "network unreachable",
    errno.ENOENT: "no such file",
    errno.ENOTDIR: "no such directory",
    errno.EPROTOTYPE: "a socket of another kind",
    errno.EACCES: "not permitted",
    errno.EPERM: "not permitted",
}


@dataclass(frozen=True)
class Process:
    """A process that holds a socket, as far as we may see it."""

    pid: int
    name: str
    state: str
    """One letter of proc(5): R running, S sleeping, D waiting for a device, T stopped, t traced, Z ended."""
    user: str = ""
    frozen: bool = False
    """Whether its control group is frozen (``docker pause``, ``systemctl freeze``), whatever its state."""

    @property
    def is_stopped(self) -> bool:
        return self.frozen or self.state in ("T", "t")

    @property
    def is_busy(self) -> bool:
        return self.state in ("R", "D")

    def __str__(self) -> str:
        return (
            f"{self.name} (pid {self.pid}, user {self.user})"
            if self.user
            else f"{self.name} (pid {self.pid})"
        )


@dataclass(frozen=True)
class Listener:
    """A socket of this machine that takes connections, or datagrams, on the port or path."""

    bound: str
    kind: str
    """``tcp``, ``udp``, ``unix``, ``unix+dgram``, ``unix+seqpacket``."""
    matches: bool = True
    """Whether it would get what is sent to the address that is checked."""
    waiting: int | None = None
    """Connections that wait to be accepted; on datagram sockets bytes that wait to be read."""
    limit: int | None = None
    """The accept queue takes connections until ``waiting`` is above this; ``None`` where it is not told."""
    holders: tuple[Process, ...] = ()
    user: str = ""
    interface: str | None = None
    """The interface that it is bound to (SO_BINDTODEVICE)."""

    @property
    def is_full(self) -> bool:
        return self.limit is not None and self.waiting is not None and self.waiting > self.limit

    @property
    def is_stopped(self) -> bool:
        """Whether every process that holds it is stopped."""
        return bool(self.holders) and all(process.is_stopped for process in self.holders)

    @property
    def holder(self) -> str:
        """Who holds it, in words."""
        if self.holders:
            more = f" and {len(self.holders) - 1} more" if len(self.holders) > 1 else ""
            return f"{self.holders[0]}{more}"
        return f"a process of user {self.user}" if self.user else "a process"


@dataclass(frozen=True)
class LocalView:
    """This machine's side of a target that is on this machine."""

    listeners: tuple[Listener, ...] = ()
    """Every listener on the port (any address) or on the path."""
    accepted: bool | None = None
    """Whether a program has accepted our connection; until then the kernel alone has answered."""
    acceptors: tuple[Process, ...] = ()
    """The processes that hold the accepted connection."""
    overflows: int = 0
    """By how much ListenOverflows grew during the check (in the whole network name space)."""

    @property
    def matching(self) -> tuple[Listener, ...]:
        return tuple(listener for listener in self.listeners if listener.matches)

    @property
    def elsewhere(self) -> tuple[Listener, ...]:
        return tuple(listener for listener in self.listeners if not listener.matches)


@dataclass(frozen=True)
class UnixFile:
    """What is at the path of a Unix socket."""

    path: str
    state: Literal["socket", "absent", "no-directory", "other", "hidden"]
    mode: str = ""
    """As ``ls -l`` prints it."""
    owner: str = ""


@dataclass(frozen=True)
class Certificate:
    """What a certificate says about itself; the peer's own words, nothing of it is verified here."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    """The host names and addresses that it is for."""
    not_before: float
    """Seconds since 1970."""
    not_after: float
    """Seconds since 1970."""


@dataclass(frozen=True)
class Tls:
    """A TLS handshake."""

    seconds: float
    version: str | None = None
    cipher: str | None = None
    verified: bool = False
    problem: str = ""
    """Why the handshake or the verification failed."""
    ended: Literal["closed", "reset", "silence", "alert"] | None = None
    """How a handshake ended that did not come about; ``None`` when it did."""
    certificate: Certificate | None = None


@dataclass(frozen=True)
class Answer:
    """What the peer said within a moment."""

    seconds: float
    asked: str = ""
    """What was sent first: ``HEAD /``, ``5 bytes``; empty when nothing was."""
    data: bytes = b""
    ended: Literal["closed", "reset", "silence"] | None = None
    """How it ended when nothing was said."""
    alert: str = ""
    """The TLS error that ended it: a server may refuse the client only after the handshake."""


@dataclass(frozen=True)
class Upgrade:
    """A WebSocket that was asked for, and what a hub said over it to a hello without versions."""

    seconds: float
    path: str
    data: bytes = b""
    """What came first; of a web server the status line and more."""
    opened: bool = False
    refused: str = ""
    """Why the answer opens no WebSocket for hubs, in a word of the protocol."""
    broken: str = ""
    """What was wrong with what came over it."""
    close: int | None = None
    """The code with which the server ended it."""
    code: str = ""
    """What the hub answered: ``unsupported_version`` where all is well."""
    words: str = ""
    versions: tuple[int, ...] = ()
    """Those of the Jackfield protocol that the hub speaks."""
    ended: Literal["closed", "reset", "silence"] | None = None
    """How it ended without an answer of a hub."""


@dataclass(frozen=True)
class Observations:
    """Everything that one check saw, in the order of looking."""

    target: Target
    resolution: Resolution | None = None
    routes: tuple[Route, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()
    local: LocalView | None = None
    """``None`` when the target is not on this machine."""
    file: UnixFile | None = None
    tls: Tls | None = None
    answer: Answer | None = None
    upgrade: Upgrade | None = None
    now: float = 0.0
    """Seconds since 1970, for the certificate's dates."""

    @property
    def connected(self) -> Attempt | None:
        """The attempt that the conversation was led on: the first that succeeded."""
        return next((attempt for attempt in self.attempts if attempt.connected), None)

    def route_to(self, address: str) -> Route | None:
        """The route to an attempt's address, ``host:port``."""
        host = host_of(address)
        return next((route for route in self.routes if route.destination == host), None)

    def neighbour_of(self, route: Route | None) -> Neighbour | None:
        """The entry of the first hop on a route."""
        if route is None:
            return None
        hop = route.gateway or route.destination
        return next((neighbour for neighbour in self.neighbours if neighbour.address == hop), None)


def host_of(endpoint: str) -> str:
    """The host of ``host:port`` or ``[host]:port``."""
    return endpoint.rpartition(":")[0].strip("[]")
