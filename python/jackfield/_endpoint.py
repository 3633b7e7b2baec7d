"""Datagram endpoints: one socket that talks to anyone, each datagram with its own peer."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import socket
from collections.abc import Coroutine
from dataclasses import replace
from types import TracebackType
from typing import Any, NamedTuple, Self, Unpack

from jackfield import _engine, _multicast
from jackfield._address import Address
from jackfield._connect import Opening, connect
from jackfield._errors import ChannelClosed, NotSupported, from_os_error
from jackfield._facts import Statistics
from jackfield._kernel_options import KernelOptions
from jackfield._listen import join_group
from jackfield._loop import current_reactor
from jackfield._names import find_places
from jackfield._options import OptionFields, Options
from jackfield._path_mtu import path_mtu
from jackfield._transports import RawAddress, Setup, literal_address, prepare, unix_name


class Datagram(NamedTuple):
    """What an endpoint received."""

    data: bytes
    """Its content, whole: what is longer than ``max_message`` raises ``MessageTooLarge`` instead."""
    peer: Address
    """Who sent it; to be given to ``send_to`` as it is."""
    local: Address | None
    """Which of our addresses, or which group, it was sent to; known with ``packet_info=yes``."""
    interface: int | None
    """Index of the network interface that it came in by; known with ``packet_info=yes``."""


def bind(address: Address | str, **options: Unpack[OptionFields]) -> Opening[Endpoint]:
    """Bind a datagram socket: ``endpoint = await bind(...)`` or ``async with bind(...) as endpoint``.

    The address is ``udp://`` or ``unix+dgram://``; port 0 lets the kernel pick, and ``endpoint.local`` says
    which. ``udp://:7000`` takes datagrams to any address of this machine, of IPv4 and IPv6. A multicast
    group is joined: ``udp://239.1.2.3:5000?interface=eth0``, with ``source=`` for one sender alone.

    Raises ``InvalidAddress``, ``InvalidOption``, ``NotSupported`` at once; ``AddressInUse`` (naming the
    holder), ``AddressNotAvailable``, ``AccessDenied``, ``NameNotResolved`` when awaited. Cancelled, it leaves
    nothing open.
    """
    where = address if isinstance(address, Address) else Address.parse(address)
    setup = prepare(where, Options.from_address(where).merge(**options), listening=True)
    if not setup.is_datagram:
        raise NotSupported(
            f"cannot bind {where} as an endpoint: {where.scheme}: connects, it sends no single datagrams",
            hint="use listen or connect, or an address with udp:// or unix+dgram://",
            address=where,
        )
    return Opening(lambda: _bind(setup))


class Endpoint(_engine.Endpoint, KernelOptions):
    """A bound datagram socket without a peer: ``receive_from`` says who sent, ``send_to`` says to whom.

    ``async for datagram in endpoint`` receives until the endpoint is closed. One task may receive and others
    send at the same time; a second receiver gets ``AlreadyWaiting``. Datagrams keep their boundaries, and may
    be lost, doubled or reordered on the way, as UDP is; what is dropped on this machine is counted in
    ``statistics()``.

    An error that the network reports (``ChannelLost`` with ``peer`` and ``errno``) is of one datagram: it is
    raised once, by the next call, and the endpoint goes on.
    """

    __slots__ = ("_last",)

    @property
    def local(self) -> Address:
        """The address that was bound, with the port that the kernel picked."""
        return self._known()[0]

    @property
    def protocol(self) -> str:
        """``udp`` or ``unix+dgram``."""
        setup: Setup = self._setup
        return setup.protocol

    @property
    def options(self) -> Options:
        """The options that it was opened with."""
        setup: Setup = self._setup
        return setup.options

    def _protocol(self) -> str:
        return self.protocol

    def _whose(self) -> Address:
        return self.local

    def statistics(self) -> Statistics:
        """What passed through, what waits and what was dropped; once closed, as it was when it was closed."""
        return self._known(fresh=True)[1]

    def close(self, timeout: float | None = None) -> Coroutine[Any, Any, None]:
        """Close: what is queued still leaves, for at most ``timeout`` seconds; what was not received is lost.

        Awaited, it waits for the end; raises ``TimedOut`` if the time was not enough.
        Cancelled, it still closes.
        """
        self._remember()
        return super().close(timeout)

    def abort(self) -> None:
        """Close at once: what is queued is dropped."""
        self._remember()
        super().abort()

    def join(self, group: Address | str, *, source: str | None = None, interface: str | None = None) -> None:
        """Join a multicast group: from now on what is sent to it, and to our port, is received here, too.

        ``group`` is an IP address, alone or in an ``Address``. ``source`` is the only sender to be heard;
        join again for each further one. ``interface`` is a name or an address of ours; ``None`` is that of
        the options, or the one that the routing table says. Raises ``ListenFailed``, ``InvalidOption``,
        ``ChannelClosed``.
        """
        self._change(_multicast.JOIN, group, source, interface)

    def leave(self, group: Address | str, *, source: str | None = None, interface: str | None = None) -> None:
        """Leave a group that was joined with the same source and interface. Raises as ``join``."""
        self._change(_multicast.LEAVE, group, source, interface)

    def _change(self, command: int, group: Address | str, source: str | None, interface: str | None) -> None:
        if self.protocol != "udp":
            raise NotSupported(f"{self.local} has no multicast groups", hint="use udp://")
        family = socket.AF_INET6 if ":" in (self.local.host or "::") else socket.AF_INET
        host = _multicast.group_of(group)
        by = interface if interface is not None else self.options.interface
        _multicast.change(self.fileno(), family, command, host, source, by)

    def path_mtu(self, peer: Address | str) -> int:
        """Bytes of the longest IP packet on the way to ``peer``, as far as this machine knows it by now.

        A datagram that is not divided has 28 (IPv4) or 48 (IPv6) less. It falls when routers object. Raises
        ``OSError`` if there is no way, ``NotSupported`` for Unix sockets and names.
        """
        raw = self._raw_address(peer)
        if not isinstance(raw, tuple):
            raise NotSupported(f"{self.local} has no path: it is on this machine alone", hint="use udp://")
        return path_mtu(raw)

    async def resolve(self, address: Address | str) -> Address:
        """The address with its host's name replaced by an IP address that this endpoint can send to.

        Raises ``NameNotResolved``, after ``connect_timeout`` seconds ``ConnectTimedOut``.
        """
        where = address if isinstance(address, Address) else Address.parse(address)
        setup: Setup = self._setup
        limit = setup.options.connect_timeout
        places = await find_places(replace(setup, address=where), connect=connect, limit=limit)
        own = ":" in (self.local.host or "::")
        for _, place in places:
            if isinstance(place, tuple) and (own or ":" not in place[0]):
                return Address.unchecked(where.scheme, host=place[0], port=where.port)
        return where

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            setup: Setup = self._setup
            await self.close(setup.options.linger)
        else:
            self.abort()

    def __repr__(self) -> str:
        try:
            return f"<Endpoint {self.local} {'closed' if self.closed else 'open'}>"
        except ChannelClosed:
            return f"<Endpoint {self.id} closed>"

    def _raw_address(self, to: Address | str) -> RawAddress:
        """What the engine sends to; asked for once for each address object."""
        where = to if isinstance(to, Address) else Address.parse(to)
        if where.scheme != self.protocol:
            raise NotSupported(
                f"cannot send to {where} from {self.local}: it is another transport",
                hint=f"give an address with {self.protocol}://",
                address=where,
            )
        if self.protocol != "udp":
            return unix_name(where.path or "")
        literal = literal_address(where.host or "127.0.0.1", where.port or 0)
        if literal is None:
            raise NotSupported(
                f"cannot send to {where}: sending does not wait for a name server",
                hint="resolve the name once: peer = await endpoint.resolve(address)",
                address=where,
            )
        return literal[1]

    def _remember(self) -> None:
        with contextlib.suppress(ChannelClosed):
            self._known(fresh=True)

    def _known(self, *, fresh: bool = False) -> tuple[Address, Statistics]:
        """The facts; after the end those that were read last."""
        last: tuple[Address, Statistics] | None = getattr(self, "_last", None)
        if last is not None and not fresh:
            return last
        facts = self._facts()
        if facts is None:
            if last is None:
                raise ChannelClosed("the endpoint is closed, and its facts were not read before")
            return last
        local, statistics = facts
        self._last = (local, Statistics(*statistics))
        return self._last


async def _bind(setup: Setup) -> Endpoint:
    address = setup.address
    reactor = current_reactor()
    places = await find_places(setup, connect=connect)
    failure: OSError = OSError(errno.EADDRNOTAVAIL, "the name has no address of a usable family")
    for family, place in places:
        try:
            link = reactor.bind(place, setup.config(family))
        except OSError as error:
            failure = error
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                break
        else:
            join_group(reactor, setup, link, family)
            return Endpoint(reactor, setup, link, Datagram)
    explain = functools.partial(from_os_error, failure, stage="bind", address=address)
    raise await asyncio.get_running_loop().run_in_executor(None, explain) from failure
