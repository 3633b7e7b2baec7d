"""Groups: many channels as one, which is how a server of thousands is written.

No object and no task per member: the engine keeps them, and ``async for event in group`` tells who joined,
spoke and left, with handles made for the moment and compared by ``id``.
"""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Self

from jackfield import _engine
from jackfield._channel import Channel
from jackfield._engine import AcceptFailed, Joined, Left, Member, Message
from jackfield._errors import AlreadyWaiting, ChannelClosed, JackfieldError
from jackfield._explain import Explanation, explain
from jackfield._facts import Statistics
from jackfield._loop import current_reactor
from jackfield._when_full import WhenFull

__all__ = ["AcceptFailed", "Event", "Group", "Joined", "Left", "Member", "Message"]

Event = Joined | Message | Left | AcceptFailed


class Group(_engine.Group):
    """Many channels as one: one stream of events from all of them, one broadcast to all of them.

    An async context manager that closes at the end, and aborts when the block raises.

    ``when_full`` is what a broadcast does at a member whose queue is full: by default the message is dropped
    for that member and counted. Fill it with ``listener.into(group)`` or ``group.add(channel)``. Make it in a
    running event loop.
    """

    __slots__ = ("__weakref__",)

    def __new__(cls, *, when_full: WhenFull | str = WhenFull.DROP_NEWEST) -> Self:
        return super().__new__(cls, current_reactor(), str(WhenFull(when_full)))

    def __init__(self, *, when_full: WhenFull | str = WhenFull.DROP_NEWEST) -> None:
        """See the class."""

    def add(self, channel: Channel) -> Member:
        """Take a channel into the group. The channel object is spent: the group has the connection now.

        Raises ``ChannelClosed`` for a closed or spent channel, ``AlreadyWaiting`` when a task waits on it,
        RuntimeError when it belongs to another event loop.
        """
        if not self._join_channel(channel):
            if channel.closed:
                raise ChannelClosed(f"{channel!r} is closed and cannot join the group")
            raise AlreadyWaiting(
                f"{channel!r} cannot join the group", hint="it is in a group already, or a task waits on it"
            )
        member = self.member(channel.id)
        assert member is not None
        return member

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

    def _take_listener(self, reactor: _engine.Reactor, link: int) -> None:
        if not self._join(reactor, link):
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
