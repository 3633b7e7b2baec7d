"""The transports that exist: what an address means to the kernel.

A transport knows its address family and socket kind, which framing it starts from, and how an ``Address``
becomes what the engine binds or connects to.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from dataclasses import dataclass

from jackfield import _engine, _multicast
from jackfield._address import Address
from jackfield._errors import NotSupported
from jackfield._kernel_options import check_options
from jackfield._look_up import look_up
from jackfield._options import DEFAULTS, LINE_OPTIONS, Options
from jackfield._socket_options import opening_settings
from jackfield._tls_terms import tls_terms

RawAddress = tuple[str, int, int] | bytes | None
"""What the engine takes: ``(host, port, scope)``, a Unix name in bytes (abstract: behind a NUL), or None."""

KEEPS_BOUNDARIES = frozenset({"udp", "unix+dgram", "unix+seqpacket"})

_UNUSED = ("access", "allow")
"""Options that promise protection which does not exist yet: silence would be a lie."""

_KINDS = {
    "tcp": socket.SOCK_STREAM,
    "tls": socket.SOCK_STREAM,
    "udp": socket.SOCK_DGRAM,
    "unix": socket.SOCK_STREAM,
    "unix+dgram": socket.SOCK_DGRAM,
    "unix+seqpacket": socket.SOCK_SEQPACKET,
    "pair": socket.SOCK_STREAM,
    "stdio": socket.SOCK_STREAM,
    "serial": socket.SOCK_STREAM,
}
_NO_LISTENERS = ("pair", "stdio", "serial")


@dataclass(frozen=True, slots=True)
class Setup:
    """An address with its options, ready for the engine."""

    address: Address
    options: Options
    listening: bool

    @property
    def protocol(self) -> str:
        return self.address.scheme

    @property
    def is_unix(self) -> bool:
        return self.protocol.startswith("unix")

    @property
    def is_datagram(self) -> bool:
        return _KINDS[self.protocol] == socket.SOCK_DGRAM

    @property
    def is_group(self) -> bool:
        """Whether the address is a multicast group."""
        return self.protocol == "udp" and _multicast.is_group(self.address.host)

    def join(self, fd: int, family: int) -> None:
        """Join the group, if the address is one. Raises ``ListenFailed``, ``InvalidOption``."""
        if self.is_group:
            options, group = self.options, self.address.host or ""
            _multicast.change(fd, family, _multicast.JOIN, group, options.source, options.interface)

    def config(self, family: int) -> _engine.LinkConfig:
        """The engine's form. Raises ``NotSupported`` for a framing where the transport keeps boundaries."""
        options = self.options
        return _engine.LinkConfig(
            framing=str(options.framing) if options.framing is not None else "none",
            max_message=options.max_message,
            high_water=options.high_water,
            when_full=str(options.when_full),
            vanished_after=options.vanished_after,
            idle_timeout=options.idle_timeout if self.listening and self.is_datagram else None,
            max_clients=options.max_clients,
            kind=_KINDS[self.protocol],
            options=self._settings(family),
            backlog=options.backlog,
            tls=tls_terms(self.address, options, listening=self.listening),
        )

    def _settings(self, family: int) -> list[tuple[int, int, bytes]]:
        options, listening = self.options, self.listening
        settings = opening_settings(options, self.protocol, family, listening=listening)
        if family == socket.AF_INET6 and listening and self.address.host is None and options.v6only is None:
            # `tcp://:7000` is any address of either family.
            settings.append((socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, struct.pack("i", 0)))
        if listening and self.is_group and options.reuse_address is None:
            # Several programs of one machine may listen to one group.
            settings.append((socket.SOL_SOCKET, socket.SO_REUSEADDR, struct.pack("i", 1)))
        settings += _multicast.settings(options, self.protocol, family)
        return settings


def prepare(address: Address, options: Options, *, listening: bool) -> Setup:
    """Check that the transport exists and the options fit it. Raises ``NotSupported``, ``InvalidOption``,
    ``AccessDenied``."""
    verb = "listen on" if listening else "connect to"
    if address.scheme not in _KINDS or (listening and address.scheme in _NO_LISTENERS):
        there = [scheme for scheme in _KINDS if not (listening and scheme in _NO_LISTENERS)]
        known = ", ".join(f"{scheme}:" for scheme in [*there, "fd"])
        raise NotSupported(
            f"cannot {verb} {address}: {address.scheme}: is not a transport of this version",
            hint=f"the transports are {known}",
            address=address,
        )
    if address.scheme in KEEPS_BOUNDARIES and options.framing is not None and str(options.framing) != "none":
        raise NotSupported(
            f"cannot {verb} {address} with framing={options.framing}: "
            f"{address.scheme} keeps message boundaries itself",
            hint="leave framing out",
            address=address,
        )
    for name in _UNUSED:
        if getattr(options, name) is not None:
            raise NotSupported(
                f"cannot {verb} {address} with {name}=: nothing in this version acts on it",
                hint="leave it out, and let a firewall or a Unix socket's permissions keep others away",
                address=address,
            )
    tls_terms(address, options, listening=listening)
    if address.scheme != "serial":
        _check_line(address, options)
    _multicast.check(address, options)
    check_options(options, address, listening=listening)
    return Setup(address, options, listening)


def _check_line(address: Address, options: Options) -> None:
    """Refuse what only serial lines have. Raises ``NotSupported``."""
    for name in LINE_OPTIONS:
        if getattr(options, name) != DEFAULTS[name]:
            raise NotSupported(
                f"{name}= means nothing to {address}: it is for serial:", hint="leave it out", address=address
            )


def unix_name(path: str) -> bytes:
    """A Unix address's path as the kernel's name; ``@name`` is abstract (unix(7))."""
    return b"\0" + os.fsencode(path[1:]) if path.startswith("@") else os.fsencode(path)


async def resolve(setup: Setup, address: Address | None = None) -> list[tuple[int, RawAddress]]:
    """The places that an address stands for: ``(family, raw address)``, in the order to try.

    Raises ``OSError`` as getaddrinfo(3) does.
    """
    address = address if address is not None else setup.address
    if setup.is_unix:
        return [(socket.AF_UNIX, unix_name(address.path or ""))]
    port = address.port or 0
    if address.host is None:
        if setup.listening:
            return _any_address(port)
        return [(socket.AF_INET, ("127.0.0.1", port, 0))]
    literal = literal_address(address.host, port, setup.options.interface)
    if literal is not None:
        return [literal]
    found = await look_up(address.host, port, kind=_KINDS[setup.protocol])
    places: list[tuple[int, RawAddress]] = []
    for family, _, _, _, place in found:
        if family in (socket.AF_INET, socket.AF_INET6):
            scope = place[3] if len(place) == 4 else 0
            raw = (str(place[0]).partition("%")[0], int(place[1]), int(scope))
            if (family, raw) not in places:
                places.append((family, raw))
    return _interleaved(places)


def _any_address(port: int) -> list[tuple[int, RawAddress]]:
    places: list[tuple[int, RawAddress]] = [(socket.AF_INET, ("0.0.0.0", port, 0))]
    if socket.has_dualstack_ipv6():
        places.insert(0, (socket.AF_INET6, ("::", port, 0)))
    return places


def literal_address(host: str, port: int, interface: str | None = None) -> tuple[int, RawAddress] | None:
    """An IP address as the engine takes it, with its family; None for a name.

    ``interface`` is that of a link-local multicast group which names none itself.
    """
    plain, _, zone = host.partition("%")
    try:
        ip = ipaddress.ip_address(plain)
    except ValueError:
        return None
    if ip.version == 4:
        return socket.AF_INET, (plain, port, 0)
    scope = (int(zone) if zone.isdigit() else socket.if_nametoindex(zone)) if zone else 0
    if not scope and interface is not None and ip.is_multicast and ip.packed[1] & 15 in (1, 2):
        scope = _multicast.interface_index(interface)
    return socket.AF_INET6, (plain, port, scope)


def _interleaved(places: list[tuple[int, RawAddress]]) -> list[tuple[int, RawAddress]]:
    """Families in turn, beginning with the resolver's first choice (RFC 8305, section 4)."""
    if not places:
        return places
    first = [place for place in places if place[0] == places[0][0]]
    other = [place for place in places if place[0] != places[0][0]]
    mixed: list[tuple[int, RawAddress]] = []
    while first or other:
        mixed += first[:1] + other[:1]
        first, other = first[1:], other[1:]
    return mixed


def as_address(protocol: str, raw: RawAddress) -> Address:
    """The engine's raw address as an ``Address``: the engine's address factory."""
    if isinstance(raw, tuple):
        host, port, scope = raw
        if scope:
            host = f"{host}%{_interface_name(scope)}"
        return Address.unchecked(protocol, host=host, port=port)
    if raw is None:
        return Address.unchecked(protocol, path=None)
    path = "@" + os.fsdecode(raw[1:]) if raw[:1] == b"\0" else os.fsdecode(raw)
    return Address.unchecked(protocol, path=path)


def _interface_name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)
