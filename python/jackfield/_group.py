"""Groups: many channels as one, which is how a server of thousands is written.

No object and no task per member: the engine keeps them, and ``async for event in group`` tells who joined,
spoke and left, with handles made for the moment and compared by ``id``.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

from jackfield import _engine
from jackfield._address import Address
from jackfield._channel import Channel
from jackfield._engine import AcceptFailed, Joined, Left, Member, Message
from jackfield._errors import AdoptFailed, AlreadyWaiting, ChannelClosed, JackfieldError
from jackfield._explain import Explanation, explain
from jackfield._facts import Statistics
from jackfield._listen import Listener
from jackfield._loop import current_reactor
from jackfield._switch import FellBehind, Published, Recognised, Switch
from jackfield._transports import RawAddress, literal_address
from jackfield._when_full import WhenFull

__all__ = ["AcceptFailed", "Detached", "Event", "Group", "Joined", "Left", "Member", "Message", "Relayed"]

Event = Joined | Message | Left | AcceptFailed | Recognised | FellBehind | Published


@dataclass(frozen=True, slots=True)
class Detached:
    """A member that was taken out of its group, and all that it held; see ``Group.detach``.

    Every field but ``fd`` is a plain value that survives any encoding; ``fd`` goes by ``send_fds``.
    """

    number: int
    """What it was in its group."""
    fd: int | None
    """The socket, non-blocking; None for a datagram peer, which has its listener's."""
    peer: RawAddress
    """Whom it talks to: ``(host, port, scope)``, a Unix name as bytes, or None for a nameless one."""
    received: Sequence[bytes] = ()
    """What had arrived and nobody has had: of a stream its bytes from the beginning of a message on, as they
    came; of other kinds each packet."""
    queued: Sequence[bytes] = ()
    """Messages that wait to be sent, as they are on the wire; of the first one only what has not left."""
    begun: int = 0
    """So many bytes of the first queued message have left."""
    since: int = 0
    """Nanoseconds since 1970 at its begin."""
    passed: tuple[int, ...] = (0,) * 9
    """Bytes in and out, messages in and out, messages dropped on their way out and in, broken ones, and when
    something last came and left, in nanoseconds of this machine's CLOCK_MONOTONIC (0: never)."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """A connection that is served elsewhere in this process, such as a WebSocket; see ``Group.add``."""

    protocol: Literal["ws", "wss"]
    peer: Address
    """Its far end, by IP address and port."""
    local: Address
    """Our end of it."""
    listener: int = 0
    """What it came through: any number below 2^32, which no listener has."""

    def _raw(self) -> tuple[str, RawAddress, RawAddress, int]:
        return self.protocol, _ip(self.peer), _ip(self.local), self.listener


def _ip(address: Address) -> RawAddress:
    found = literal_address(address.host or "", address.port or 0)
    return None if found is None else found[1]


class Group(_engine.Group):
    """Many channels as one: one stream of events from all of them, one broadcast to all of them.

    An async context manager that closes at the end, and aborts when the block raises.

    ``when_full`` is what a broadcast does at a member whose queue is full: by default the message is dropped
    for that member and counted. Fill it with ``listener.into(group)`` or ``group.add(channel)``. Make it in a
    running event loop. Members are numbered from ``first_number`` on.
    """

    __slots__ = ("__weakref__",)

    def __new__(cls, *, when_full: WhenFull | str = WhenFull.DROP_NEWEST, first_number: int = 1) -> Self:
        return super().__new__(cls, current_reactor(), str(WhenFull(when_full)), first_number)

    def __init__(self, *, when_full: WhenFull | str = WhenFull.DROP_NEWEST, first_number: int = 1) -> None:
        """See the class."""

    @property
    def switch(self) -> Switch:
        """Connects native members with each other; see ``listener.into(group, native=...)``."""
        return Switch(self)

    def add(
        self,
        channel: Channel,
        *,
        native: Literal["off", "auto", "only"] = "off",
        relayed: Relayed | None = None,
    ) -> Member:
        """Take a channel into the group. The channel object is spent: the group has the connection now.

        ``native`` says whether it may speak the Jackfield protocol, as ``listener.into`` does. ``relayed`` is
        for one end of a pair over which a connection is passed on that the engine does not serve: the
        member's facts are those of that connection.

        Raises ``ChannelClosed`` for a closed or spent channel, ``AlreadyWaiting`` when a task waits on it,
        RuntimeError when it belongs to another event loop.
        """
        if not self._join_channel(channel, native, None if relayed is None else relayed._raw()):
            if channel.closed:
                raise ChannelClosed(f"{channel!r} is closed and cannot join the group")
            raise AlreadyWaiting(
                f"{channel!r} cannot join the group", hint="it is in a group already, or a task waits on it"
            )
        member = self.member(channel.id)
        assert member is not None
        return member

    def detach(self, member: Member | int) -> Detached:
        """Take a member out with its socket and all that it holds, for ``adopt`` here or in another process.

        It has left the group then, and no ``Left`` follows. Nothing is read or written any more: what arrives
        waits in the kernel. The descriptor is the caller's, who closes it or hands it on. A datagram peer has
        none; it goes along with its listener.

        Raises ``ChannelClosed`` for one that is gone, ``ChannelLost`` or ``FramingError`` for one that is at
        its end, ``ChannelBusy`` when descriptors or urgent data wait in it; it stays a member then.
        """
        number = member if isinstance(member, int) else member.id
        handle = self.member(number)
        return Detached(0 if handle is None else handle.number, *self._hand_over(number))

    def adopt(self, listener: Listener, detached: Detached, /) -> Member:
        """Go on with a detached member as if ``listener`` had accepted it; its descriptor belongs to it then.

        What had been received is handed out first, by the listener's framing; what is queued leaves before
        anything new. It keeps its number (0: it gets the next one), its counters and its begin, and its
        ``Joined`` is told like any other. Raises ``AdoptFailed`` when the socket is not of the listener's
        kind, or the number or the peer is there already; the descriptor stays the caller's then.
        """
        parts = (
            detached.peer,
            detached.received,
            detached.queued,
            detached.begun,
            detached.since,
            detached.passed,
        )
        try:
            return self._take_in(listener.id, detached.fd, parts, detached.number)
        except OSError as error:
            why = {
                errno.EINVAL: "it is not of the listener's kind",
                errno.EEXIST: "a member has that number or that peer already",
                errno.EBADF: "the listener or the descriptor is closed",
            }.get(error.errno or 0, str(error.strerror))
            raise AdoptFailed(
                f"cannot adopt member {detached.number}: {why}", errno=error.errno, stage="adopt"
            ) from error

    def statistics(self, member: Member | int) -> Statistics:
        """What passed through a member, and what waits for it. Raises ``ChannelClosed`` once it is gone."""
        handle = self.member(member) if isinstance(member, int) else member
        if handle is None:
            raise KeyError(member)
        return Statistics(*handle._statistics())

    def explain(self, member: Member | int) -> Explanation:
        """Why nothing moves at a member, or that all is well; see ``Channel.explain``."""
        handle = self.member(member) if isinstance(member, int) else member
        return explain(handle._pulse() if handle is not None else None)

    async def close(self, timeout: float | None = 5.0) -> None:
        """End the group with its members and listeners; what is queued may take ``timeout`` seconds to leave.

        To end one member: ``member.close()``. If cancelled, what is queued still leaves within ``timeout``.
        """
        for ending in self._close(timeout):
            with contextlib.suppress(JackfieldError):
                await ending

    def _take_listener(self, reactor: _engine.Reactor, link: int, native: str) -> None:
        if not self._join(reactor, link, native):
            raise AlreadyWaiting("the listener is closed, in a group already, or a task accepts from it")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            await self.close()
        else:
            self.abort()
