"""A WebSocket to a hub as the session uses it: messages over a channel of bytes, which is TCP or TLS.

The WebSocket itself is `portable.WebSocket`; here are its channel and the words for what goes wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import jackfield
from jackfield import Address, ChannelLost, EndOfStream, JackfieldError, portable

from .errors import hub_refused

BELOW: Final = {"ws": "tcp", "wss": "tls"}
PATH: Final = "/native"


class WebSocketChannel:
    """Messages over a WebSocket: what a session needs of a channel. ``open_websocket`` makes one."""

    def __init__(self, channel: jackfield.Channel, wire: portable.WebSocket, where: Address) -> None:
        self._channel = channel
        self._wire = wire
        self._where = where

    async def open(self) -> None:
        """Ask for the WebSocket, and wait for the answer. Raises ``HubRefused``, ``ChannelLost``."""
        self._channel.send_nowait(self._wire.take())
        while not self._wire.is_open:
            if await self._received():
                raise self._lost("it speaks before it is asked")

    async def receive_many(self) -> list[bytes]:
        """The messages that are there, at least one; of a cancelled call nothing is lost."""
        while not (messages := await self._received()):
            pass
        return messages

    async def _received(self) -> list[bytes]:
        try:
            data = await self._channel.receive()
        except EndOfStream:
            if self._wire.code is None:
                raise
            raise self._lost(f"the hub has closed the WebSocket (code {self._wire.code})") from None
        try:
            messages = list(self._wire.feed(data))
        except portable.Refused as error:
            raise hub_refused(error.code, error.message, error.hint, self._where) from None
        except portable.ProtocolError as error:
            raise self._lost(str(error)) from None
        answer = self._wire.take()
        if answer:
            self._channel.send_nowait(answer)
        return messages

    def _lost(self, why: str) -> ChannelLost:
        return ChannelLost(f"the connection to the hub at {self._where} has ended: {portable.harmless(why)}")

    def send_nowait(self, message: bytes) -> None:
        """Queue a message. Raises ``QueueFull``, ``ChannelClosed``."""
        self._channel.send_nowait(self._wire.framed(message))

    async def send(self, message: bytes) -> None:
        """Queue a message once there is room. A cancelled call has queued nothing."""
        await self._channel.send(self._wire.framed(message))

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until everything has left."""
        await self._channel.flush(timeout)

    async def close(self, timeout: float | None = None) -> None:
        """Say that this was the last, and end; what is queued leaves first."""
        with contextlib.suppress(JackfieldError):
            self._channel.send_nowait(self._wire.closing())
        await self._channel.close(timeout)

    def abort(self) -> None:
        """End at once."""
        self._channel.abort()


async def open_websocket(address: Address) -> WebSocketChannel:
    """Connect to ``ws://host:port/path`` or ``wss://``; without a path it is ``/native``.

    Options are those of ``tcp://`` and ``tls://``. Raises what ``jackfield.connect`` raises, and
    ``HubRefused``; ``TimedOut`` when the server does not answer within 10 s.
    """
    below = Address(BELOW[address.scheme], address.host, address.port, options=address.options)
    channel = await jackfield.connect(below)
    host = f"[{address.host}]" if ":" in (address.host or "") else address.host
    path = address.path if address.path and address.path != "/" else PATH
    made = WebSocketChannel(channel, portable.WebSocket(f"{host}:{address.port}", path), address)
    try:
        async with asyncio.timeout(portable.HANDSHAKE):
            await made.open()
    except TimeoutError:
        channel.abort()
        what = f"{address} opened no WebSocket within {portable.HANDSHAKE:g} s"
        raise jackfield.TimedOut(what, stage="connect") from None
    except BaseException:
        channel.abort()
        raise
    return made
