"""What is known of a channel or a listener, asynchronous or blocking: the same facts under the same names."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, cast

from jackfield._address import Address
from jackfield._errors import ChannelClosed, NotSupported
from jackfield._framing import Framing
from jackfield._kernel_options import KernelOptions
from jackfield._options import Options
from jackfield._path_mtu import path_mtu
from jackfield._tls import TlsFacts, facts_of
from jackfield._transports import Setup, literal_address


class Credentials(NamedTuple):
    """Who is at the other end of a Unix socket, as the kernel knows it (unix(7), SO_PEERCRED)."""

    pid: int
    uid: int
    gid: int


class Statistics(NamedTuple):
    """What passed through a channel, and what waits."""

    bytes_in: int
    """Bytes received from the kernel."""
    bytes_out: int
    """Bytes that the kernel took."""
    messages_in: int
    """Messages handed out."""
    messages_out: int
    """Messages that the kernel took whole."""
    queued_bytes: int
    """Bytes that wait to be sent."""
    queued_messages: int
    """Messages that wait to be sent, one that has left in part included."""
    dropped_messages: int
    """Messages that were not sent because the queue was full (see ``when_full``) or the channel ended."""
    dropped_received: int
    """Datagrams that arrived and were dropped because they were not received fast enough."""
    since: float
    """Seconds since 1970 at its begin."""
    last_received: float | None
    """Seconds since 1970 when something last arrived; None for never."""
    last_sent: float | None
    """Seconds since 1970 when something last left; None for never."""
    dropped_by_kernel: int = 0
    """Datagrams that this machine's kernel dropped because the socket's receive buffer was full (what
    SO_RXQ_OVFL counts); peers of a listener share its socket, so ask the listener."""
    broken_frames: int = 0
    """Frames that arrived damaged and were skipped, with the framings ``cobs`` and ``slip``."""


_Known = tuple[str, Address, Address, Credentials | None, Statistics]


class _Native(Protocol):
    """What both native channels have."""

    @property
    def id(self) -> int: ...
    @property
    def closed(self) -> bool: ...
    def _facts(
        self,
    ) -> (
        tuple[
            str,
            Address,
            Address,
            tuple[int, int, int] | None,
            tuple[int, int, int, int, int, int, int, int, float, float | None, float | None, int, int],
        ]
        | None
    ): ...


class ChannelFacts(KernelOptions):
    """The facts of a channel. A class that has them keeps ``_last`` in a slot."""

    __slots__ = ()

    _last: _Known
    """The facts that were read last; missing until then, since most channels are never asked."""

    @property
    def _setup(self) -> Setup:
        raise NotImplementedError

    @property
    def protocol(self) -> str:
        """The transport: ``tcp``, ``tls``, ``udp``, ``unix``, ``unix+dgram``, ``unix+seqpacket``, ``pair``,
        ``serial``."""
        return self._setup.protocol

    @property
    def local(self) -> Address:
        """Our address: host and port, or path, of this end. Raises ``ChannelClosed`` if it was never read."""
        return self._known()[1]

    @property
    def peer(self) -> Address:
        """The address of the other end."""
        return self._known()[2]

    @property
    def credentials(self) -> Credentials | None:
        """Process, user and group of a Unix peer; None on other transports."""
        return self._known()[3]

    @property
    def tls(self) -> TlsFacts | None:
        """What the two ends agreed on, and the other one's certificate; None without TLS, and once closed."""
        return facts_of(self._tls())

    def _tls(self) -> dict[str, Any] | None:
        """The engine's facts of TLS."""
        return None

    @property
    def framing(self) -> Framing | None:
        """How messages are told apart; None is the transport's own way."""
        return self._setup.options.framing

    @property
    def options(self) -> Options:
        """The options that it was opened with; ``kernel_options()`` has what the kernel made of them."""
        return self._setup.options

    def statistics(self) -> Statistics:
        """What passed through, and what waits now. Raises ``ChannelClosed`` if it was never read before."""
        return self._known(fresh=True)[4]

    def path_mtu(self) -> int:
        """Bytes of the longest IP packet on the way to the peer, as far as this machine knows it by now.

        A UDP datagram that is not divided has 28 (IPv4) or 48 (IPv6) less. It falls when routers object.
        Raises ``NotSupported`` for what is on this machine alone, ``OSError`` if there is no way.
        """
        peer = self.peer
        literal = literal_address(peer.host, peer.port) if peer.host and peer.port else None
        if literal is None or not isinstance(literal[1], tuple):
            raise NotSupported(f"{peer} has no path: it is on this machine alone", hint="use udp: or tcp:")
        return path_mtu(literal[1])

    def set_option(self, name: str, value: Any) -> Any:
        if self._setup.listening and self._setup.is_datagram:
            raise NotSupported(
                f"cannot set {name}= of one peer of a datagram listener: its peers share one socket",
                hint="set it on the listener",
                peer=self.peer,
            )
        return super().set_option(name, value)

    set_option.__doc__ = KernelOptions.set_option.__doc__

    def _protocol(self) -> str:
        return self._setup.protocol

    def _whose(self) -> Address:
        return self.peer

    def __repr__(self) -> str:
        native = cast(_Native, self)
        try:
            state = "closed" if native.closed else "open"
            return f"<Channel {native.id} {self.local} -> {self.peer} {state}>"
        except ChannelClosed:
            return f"<Channel {native.id} closed>"

    def _known(self, *, fresh: bool = False) -> _Known:
        """The facts; after the end those that were read last."""
        last: _Known | None = getattr(self, "_last", None)
        if last is not None and not fresh:
            return last
        facts = cast(_Native, self)._facts()
        if facts is None:
            if last is None:
                raise ChannelClosed("the channel is closed, and its facts were not read before")
            return last
        _, local, peer, credentials, statistics = facts
        if self.protocol in ("pair", "stdio", "serial"):
            local = peer = self._setup.address
            credentials = credentials if self.protocol == "pair" else None
        who = Credentials(*credentials) if credentials is not None else None
        self._last = (  # type: ignore[misc]  # the slot is the subclass's
            self.protocol,
            local,
            peer,
            who,
            Statistics(*statistics),
        )
        return self._last


class ListenerFacts(KernelOptions):
    """The facts of a listener."""

    _listens = True

    _setup: Setup
    _address: Address

    @property
    def address(self) -> Address:
        """The address that was bound: with the port that the kernel picked. Can be given to ``connect``."""
        return self._address

    @property
    def protocol(self) -> str:
        """``tcp``, ``tls``, ``udp``, ``unix``, ``unix+dgram`` or ``unix+seqpacket``."""
        return self._setup.protocol

    @property
    def options(self) -> Options:
        """The options that it was opened with; its channels have the same. ``kernel_options()`` has what the
        kernel made of them."""
        return self._setup.options

    def _protocol(self) -> str:
        return self._setup.protocol

    def _whose(self) -> Address:
        return self._address
