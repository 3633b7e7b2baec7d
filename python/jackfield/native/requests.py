"""Questions and answers between clients: numbered messages on one stream for each peer (docs/protocol.md).

Rules: answers come in any order; an answer that nobody waits for any more is dropped; who asks bounds the
time, who answers bounds how many questions it works on at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from jackfield import ChannelLost, EndOfStream, JackfieldError, TimedOut, portable

from .channel import Peer, StreamChannel
from .errors import RequestRefused

if TYPE_CHECKING:
    from .streams import Streams

SERVICE = "request"
AT_ONCE = 256
"""Questions of one peer that are worked on at a time; the next ones wait, and so does the peer's credit."""
FAILED = 2**31
"""In an answer's number: it could not be answered, and the body says why."""
_WHY = 500
"""Characters of that."""

Answer = Callable[[Peer, bytes], Awaitable[bytes] | bytes]


class _Asked:
    """The stream to one peer, and who waits for answers on it."""

    def __init__(self, channel: StreamChannel) -> None:
        self.channel = channel
        self.number = 0
        self.waiting: dict[int, asyncio.Future[bytes]] = {}
        self.task = asyncio.create_task(self._hear())

    async def _hear(self) -> None:
        try:
            async for message in self.channel:
                number = int.from_bytes(message[:4], "big")
                waiting = self.waiting.pop(number % FAILED, None)
                if len(message) < 4 or waiting is None or waiting.done():
                    continue
                if number < FAILED:
                    waiting.set_result(message[4:])
                else:
                    why = portable.harmless(message[4:].decode("utf-8", "replace")[:_WHY])
                    text = f"{self.channel.peer} could not answer: {why}"
                    waiting.set_exception(RequestRefused(text, code="failed"))
            raise ChannelLost(f"{self.channel.peer} takes no more questions")
        except JackfieldError as error:
            for waiting in self.waiting.values():
                if not waiting.done():
                    lost = ChannelLost(f"{self.channel.peer} has not answered: {error}")
                    lost.unknown = 1
                    waiting.set_exception(lost)
            self.waiting.clear()
        finally:
            self.channel.abort()


class Requests:
    """A client's questions to others, and its answers to theirs."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._asked: dict[str, _Asked] = {}
        self._opening: dict[str, asyncio.Lock] = {}

    async def ask(self, peer: str, data: bytes, timeout: float | None) -> bytes:
        """The peer's answer. Raises ``PeerRefused``, ``RequestRefused``, ``ChannelLost``, ``TimedOut``."""
        try:
            async with asyncio.timeout(timeout):
                asked = await self._stream_to(peer)
                asked.number = asked.number % (FAILED - 1) + 1
                number = asked.number
                answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
                asked.waiting[number] = answer
                try:
                    await asked.channel.send(number.to_bytes(4, "big") + data)
                    return await answer
                except EndOfStream as error:
                    raise ChannelLost(str(error)) from error
                finally:
                    asked.waiting.pop(number, None)
        except TimeoutError as error:
            if isinstance(error, JackfieldError):
                raise
            late = TimedOut(f"{portable.harmless(peer)} has not answered within {timeout:g} s")
            late.timeout = timeout
            raise late from None

    async def _stream_to(self, peer: str) -> _Asked:
        lock = self._opening.setdefault(peer, asyncio.Lock())
        async with lock:
            asked = self._asked.get(peer)
            if asked is None or asked.task.done():
                asked = self._asked[peer] = _Asked(await self._streams.open(peer, SERVICE, None))
                asked.task.add_done_callback(lambda _: self._forget(peer, asked))
            return asked

    def _forget(self, peer: str, asked: _Asked | None) -> None:
        if self._asked.get(peer) is asked:
            del self._asked[peer]
            self._opening.pop(peer, None)

    @contextlib.asynccontextmanager
    async def answering(self, answer: Answer) -> AsyncIterator[None]:
        """Answer what others ask while the block runs."""

        async def take(channel: StreamChannel) -> None:
            room = asyncio.Semaphore(AT_ONCE)
            try:
                async with asyncio.TaskGroup() as group:
                    with contextlib.suppress(ChannelLost):
                        async for message in channel:
                            await room.acquire()
                            working = group.create_task(_answer(channel, message, answer))
                            working.add_done_callback(lambda _: room.release())
            except asyncio.CancelledError:
                channel.abort("it answers no more questions")
                raise

        async with self._streams.serving(take, SERVICE):
            yield

    async def close(self) -> None:
        """Ask nobody any more."""
        tasks = [asked.task for asked in self._asked.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _answer(channel: StreamChannel, message: bytes, answer: Answer) -> None:
    if len(message) < 4 or message[0] & 0x80:
        return
    number = int.from_bytes(message[:4], "big")
    try:
        found = answer(channel.peer, message[4:])
        data = bytes(await found if inspect.isawaitable(found) else found)
    except Exception as error:
        number += FAILED
        data = (str(error) or type(error).__name__)[:_WHY].encode("utf-8", "replace")
    with contextlib.suppress(JackfieldError):  # who asked is gone
        await channel.send(number.to_bytes(4, "big") + data)
