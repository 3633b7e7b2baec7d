"""Channels: one connected end each, with everything that is known about it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, NamedTuple, Self

from jackfield import _engine
from jackfield._address import Address
from jackfield._errors import ChannelClosed, EndOfStream, NotSupported
from jackfield._explain import Explanation, explain
from jackfield._framing import Framing
from jackfield._kernel_options import KernelOptions
from jackfield._options import Options
from jackfield._transports import Setup


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


class Channel(_engine.Channel, KernelOptions):
    """One end of a conversation, whatever the transport: messages in, messages out, in order.

    ``async for message in channel`` receives until the peer ends its side. A channel is an async context
    manager that closes at the end (and aborts when the block raises). One task may receive and others send at
    the same time; a second receiver gets ``AlreadyWaiting``. Made by ``connect``, by listeners and by
    ``pair``.

    ``receive``, ``receive_many``, ``receive_exactly``, ``receive_until``, ``send``, ``send_many``,
    ``send_nowait``, ``send_eof``, ``flush``, ``close`` and ``abort`` are native; see their own documentation.
    """

    __slots__ = ("__weakref__", "_last")

    _setup: Setup
    _last: tuple[str, Address, Address, Credentials | None, Statistics]
    """The facts that were read last; missing until then, since most channels are never asked."""

    @property
    def protocol(self) -> str:
        """The transport: ``tcp``, ``udp``, ``unix``, ``unix+dgram``, ``unix+seqpacket``, ``pair``."""
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

    def explain(self) -> Explanation:
        """Why nothing moves, or that all is well: ``str()`` is one sentence, ``facts`` what it rests on."""
        return explain(self._pulse())

    async def request(self, data: bytes, timeout: float | None = None) -> bytes:
        """Send a message and receive the next one: for peers that answer each message once, in order.

        ``timeout`` is for both together, in seconds. Raises ``TimedOut``, ``EndOfStream``, ``ChannelLost``.
        If cancelled after sending, the answer will be the next message received.
        """
        if timeout is None:
            await self.send(data)
            return await self.receive()
        clock = asyncio.get_running_loop().time
        started = clock()
        await self.send(data, timeout)
        return await self.receive(max(0.0, round(timeout - (clock() - started), 3)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, EndOfStream):
            await self.close(self._setup.options.linger)
        else:
            self.abort()

    def __repr__(self) -> str:
        try:
            state = "closed" if self.closed else "open"
            return f"<Channel {self.id} {self.local} -> {self.peer} {state}>"
        except ChannelClosed:
            return f"<Channel {self.id} closed>"

    def _known(self, *, fresh: bool = False) -> tuple[str, Address, Address, Credentials | None, Statistics]:
        """The facts; after the end those that were read last."""
        last: tuple[str, Address, Address, Credentials | None, Statistics] | None = getattr(
            self, "_last", None
        )
        if last is not None and not fresh:
            return last
        facts = self._facts()
        if facts is None:
            if last is None:
                raise ChannelClosed("the channel is closed, and its facts were not read before")
            return last
        _, local, peer, credentials, statistics = facts
        if self.protocol == "pair":
            local = peer = self._setup.address
        who = Credentials(*credentials) if credentials is not None else None
        self._last = (self.protocol, local, peer, who, Statistics(*statistics))
        return self._last
