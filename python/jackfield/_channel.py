"""Channels: one connected end each, with everything that is known about it."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from jackfield import _engine
from jackfield._errors import EndOfStream
from jackfield._explain import Explanation, explain
from jackfield._facts import ChannelFacts
from jackfield._socket_calls import SocketCalls
from jackfield._states import Closed, Connected, State


class Channel(_engine.Channel, ChannelFacts, SocketCalls):
    """One end of a conversation, whatever the transport: messages in, messages out, in order.

    ``async for message in channel`` receives until the peer ends its side. A channel is an async context
    manager that closes at the end (and aborts when the block raises). One task may receive and others send at
    the same time; a second receiver gets ``AlreadyWaiting``. Made by ``connect``, by listeners and by
    ``pair``.

    ``receive``, ``receive_many``, ``receive_exactly``, ``receive_until``, ``send``, ``send_many``,
    ``send_nowait``, ``send_eof``, ``flush``, ``close`` and ``abort`` are native; see their own documentation.
    """

    __slots__ = ("__weakref__", "_last")

    @property
    def state(self) -> State:
        """``Connected`` or ``Closed``; of channels that reconnect also ``Reconnecting``."""
        return Closed() if self.closed else Connected()

    def explain(self) -> Explanation:
        """Why nothing moves, or that all is well: ``str()`` is one sentence, ``facts`` what it rests on."""
        return explain(self._pulse())

    def _tls(self) -> dict[str, Any] | None:
        return _engine.tls_of_channel(self)

    def _shares_its_socket(self) -> bool:
        return bool(self._setup.listening and self._setup.is_datagram)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, EndOfStream):
            await self.close(self._setup.options.linger)
        else:
            self.abort()
