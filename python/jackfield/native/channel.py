"""A stream as a channel: the calls of `jackfield.Channel`, with the same promises.

Credit is the back-pressure: a peer may send what it was granted, and is granted more as its messages are
received here. Rules: a message is queued whole or not at all; what a call hands out is taken in the very step
that returns it, so a cancelled call has taken nothing; waiting senders go on in their order.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from jackfield import (
    AlreadyWaiting,
    ChannelClosed,
    ChannelLost,
    EndOfStream,
    Explanation,
    JackfieldError,
    MessageTooLarge,
    NotSupported,
    QueueFull,
    TimedOut,
    portable,
)

from .errors import reset_word

if TYPE_CHECKING:
    from .streams import Streams

WINDOW = 256 << 10
"""Bytes (with 16 for each frame) that the peer may have under way to this end."""
HIGH_WATER = 256 << 10
"""Bytes that wait here for credit before ``send`` waits."""
MAX_MESSAGE = 16 << 20
"""Bytes of the longest message, both ways."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The client at the other end of a stream."""

    id: str | None
    """What the hub calls its connection; None for a stream that was opened from here."""
    name: str

    def __str__(self) -> str:
        return portable.harmless(self.name) or f"client {self.id}"


class StreamStatistics(NamedTuple):
    """What passed through a stream, and what waits."""

    bytes_in: int
    """Bytes of messages that came whole."""
    bytes_out: int
    """Bytes that left, within the peer's credit."""
    messages_in: int
    messages_out: int
    queued_bytes: int
    """Bytes that wait here for the peer's credit."""
    queued_messages: int
    unclaimed_messages: int
    """Messages that came and were not received yet."""
    credit: int
    """What the peer would take now; 16 of it for each frame."""
    since: float
    """Seconds since 1970 at its begin."""


class StreamChannel:
    """One end of a stream to another client: messages in, messages out, in order.

    Made by ``client.open``, ``client.channels`` and ``client.serving``. An async context manager that closes
    at the end, and aborts when the block raises. It survives lost connections to the hub as long as the
    session does. One task may receive at a time; any number may send.
    """

    def __init__(self, streams: Streams, number: int, peer: Peer, service: str) -> None:
        self.peer = peer
        """Who is at the other end."""
        self.service = service
        """What the stream was opened for."""
        self.number = number
        """Its number within the session."""
        self.closed = False
        """Whether it was closed from this side."""
        self._streams = streams
        self._inbox: deque[tuple[bytes, int]] = deque()  # messages and the credit that each one used
        self._parts: list[bytes] = []  # of the message that is coming
        self._parts_size = self._parts_cost = self._consumed = 0
        self._outbox: deque[bytes | memoryview] = deque()
        self._queued = self._offset = 0  # bytes in the outbox; bytes of its first message that have left
        self._wants_end = self._ended_here = self._ended_there = False
        self._error: JackfieldError | None = None
        self._receiver: asyncio.Future[None] | None = None
        self._senders: deque[asyncio.Future[None]] = deque()
        self._flushers: list[asyncio.Future[None]] = []
        self._passed = [0, 0, 0, 0]  # bytes in, out, messages in, out
        self._since = time.time()
        self._moved = time.monotonic()  # when credit came, or was first missed, last

    # ---------------------------------------------------------------- receiving

    async def receive(self, timeout: float | None = None) -> bytes:
        """The next message, within ``timeout`` seconds. Cancelled, it has taken nothing.

        Raises ``EndOfStream`` behind the last, ``ChannelLost``, ``ChannelClosed``, ``MessageTooLarge``,
        ``TimedOut``, ``AlreadyWaiting``.
        """
        await self._until_received(timeout)
        return self._take()

    async def receive_many(
        self, max_messages: int | None = None, timeout: float | None = None
    ) -> list[bytes]:
        """The messages that are there, at least one, at most ``max_messages``; otherwise as ``receive``."""
        await self._until_received(timeout)
        count = len(self._inbox) if max_messages is None else min(max_messages, len(self._inbox))
        return [self._take() for _ in range(count)]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield await self.receive()
        except EndOfStream:
            return

    async def request(self, data: bytes, timeout: float | None = None) -> bytes:
        """Send a message and receive the next one, within ``timeout`` seconds; as ``Channel.request``."""
        clock = asyncio.get_running_loop().time
        started = clock()
        await self.send(data, timeout)
        return await self.receive(None if timeout is None else max(0.0, timeout - (clock() - started)))

    def _take(self) -> bytes:
        message, cost = self._inbox.popleft()
        self._consumed += cost
        self._grant()
        return message

    def _grant(self) -> None:
        """Give credit back for what was received, in large parts."""
        if self._parts_cost and not self._inbox:
            self._consumed += self._parts_cost  # or a message longer than the window would never come whole
            self._parts_cost = 0
        if (
            self._consumed >= WINDOW // 2
            and not self._ended_there
            and not self.closed
            and self._error is None
        ):
            consumed, self._consumed = self._consumed, 0
            self._streams.grant(self.number, consumed)

    async def _until_received(self, timeout: float | None) -> None:
        if self._receiver is not None:
            raise AlreadyWaiting(
                f"cannot receive from {self.peer}: another task is waiting to",
                hint="one task receives at a time",
            )
        while self.closed or not self._inbox:
            if self.closed:
                raise ChannelClosed(f"cannot receive from {self.peer}: this end was closed", stage="receive")
            if self._ended_there:
                raise EndOfStream(f"{self.peer} has ended its side of the stream", stage="receive")
            if self._error is not None:
                raise self._error
            self._receiver = asyncio.get_running_loop().create_future()
            try:
                await _within(self._receiver, timeout, f"no message from {self.peer}", "receive")
            finally:
                self._receiver = None

    # ---------------------------------------------------------------- sending

    async def send(self, data: Any, timeout: float | None = None, *, until: str | None = None) -> None:
        """Queue a message of any bytes: at once when there is room, else once there is.

        ``until`` other than "queued" is ``NotSupported``. Raises ``ChannelLost``, ``ChannelClosed``,
        ``TimedOut``, ``MessageTooLarge``. Cancelled or timed out, nothing was queued.
        """
        if until not in (None, "queued"):
            raise NotSupported(f"a stream cannot tell when a message was {until}", hint="let the peer answer")
        message = self._checked(data)
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        mine: asyncio.Future[None] | None = None
        try:
            while not self._has_room(len(message)) or (self._senders and self._senders[0] is not mine):
                if mine is None or mine.done():
                    fresh = loop.create_future()
                    if mine is None:
                        self._senders.append(fresh)
                    else:
                        self._senders[0] = fresh
                    mine = fresh
                left = None if deadline is None else max(0.0, deadline - loop.time())
                await _within(mine, left, f"{self.peer} gives no room for another message", "send")
                self._check_sending()
        finally:
            if mine is not None:
                self._senders.remove(mine)
                self._wake_sender()
        self._queue(message)

    async def send_many(
        self, messages: Iterable[Any], timeout: float | None = None, *, until: str | None = None
    ) -> None:
        """Queue several messages in order. A cancelled call has queued a first part of them."""
        for message in messages:
            await self.send(message, timeout, until=until)

    def send_nowait(self, data: Any) -> None:
        """Queue a message, or raise ``QueueFull``."""
        message = self._checked(data)
        if self._senders or not self._has_room(len(message)):
            raise QueueFull(
                f"the queue to {self.peer} is full: {self._queued} of {HIGH_WATER} bytes wait for its credit"
            )
        self._queue(message)

    def send_eof(self) -> None:
        """End our side once everything queued has left; receiving goes on."""
        if self.closed:
            raise ChannelClosed(f"cannot end the stream to {self.peer}: this end was closed", stage="send")
        self._wants_end = True
        self._streams.pump(self)

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until the peer's credit took all that was queued. Raises ``ChannelLost``, ``TimedOut``."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while self._outbox or (self._wants_end and not self._ended_here):
            if self._error is not None:
                raise self._error
            if self.closed:
                raise ChannelClosed(f"the stream to {self.peer} was aborted", stage="flush")
            left = None if deadline is None else max(0.0, deadline - loop.time())
            moved: asyncio.Future[None] = loop.create_future()
            self._flushers.append(moved)
            try:
                await _within(moved, left, f"{self.peer} does not take what is queued", "flush")
            finally:
                self._flushers.remove(moved)

    def _checked(self, data: Any) -> bytes:
        self._check_sending()
        message = bytes(data)
        if len(message) > MAX_MESSAGE:
            text = f"a message of {len(message)} bytes to {self.peer} is longer than {MAX_MESSAGE}"
            raise MessageTooLarge(text, stage="send")
        return message

    def _check_sending(self) -> None:
        if self.closed:
            raise ChannelClosed(f"cannot send to {self.peer}: this end was closed", stage="send")
        if self._wants_end:
            raise ChannelClosed(f"cannot send to {self.peer}: send_eof() has ended this side", stage="send")
        if self._error is not None:
            raise self._error

    def _has_room(self, size: int) -> bool:
        return not self._outbox or self._queued + size <= HIGH_WATER

    def _queue(self, message: bytes) -> None:
        if not self._outbox:
            self._moved = time.monotonic()
        self._outbox.append(message)
        self._queued += len(message)
        self._streams.pump(self)

    def _wake_sender(self) -> None:
        if self._senders and not self._senders[0].done():
            self._senders[0].set_result(None)

    # ---------------------------------------------------------------- the end

    async def close(self, timeout: float | None = None) -> None:
        """Deliver what is queued, within ``timeout`` seconds, and end. Again and again without harm.

        Raises ``TimedOut`` when the peer did not take it in time, ``ChannelLost`` when it was lost; the
        channel is closed all the same, and so it is when this is cancelled.
        """
        if self.closed:
            return
        self._wants_end = True
        self._streams.pump(self)
        self._wake(self._receiver)
        try:
            if self._outbox:
                await self.flush(timeout)
        finally:
            self._close("")

    def abort(self, reason: str = "it was aborted") -> None:
        """End at once: what is queued is dropped, and the peer sees a reset with the reason."""
        self._close(reason)

    def _close(self, reason: str) -> None:
        if self.closed:
            return
        self.closed = True
        self._outbox.clear()
        self._inbox.clear()
        self._parts.clear()
        self._streams.forget(self, reset=not (self._ended_here and self._ended_there), reason=reason)
        self._wake_all()

    def _wake_all(self) -> None:
        self._wake(self._receiver)
        self._wake_sender()
        for each in self._flushers:
            self._wake(each)

    @staticmethod
    def _wake(future: asyncio.Future[None] | None) -> None:
        if future is not None and not future.done():
            future.set_result(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, EndOfStream):
            await self.close()
        else:
            self.abort()

    # ---------------------------------------------------------------- what is known

    @property
    def protocol(self) -> str:
        """``stream``."""
        return "stream"

    def statistics(self) -> StreamStatistics:
        """What passed through, and what waits."""
        credit = self._streams.credit(self.number)
        waiting = (self._queued, len(self._outbox), len(self._inbox))
        bytes_in, bytes_out, messages_in, messages_out = self._passed
        return StreamStatistics(
            bytes_in, bytes_out, messages_in, messages_out, *waiting, credit=credit, since=self._since
        )

    def explain(self) -> Explanation:
        """Why nothing moves, or that all is well, in one sentence."""
        facts = self.statistics()._asdict()
        if self.closed:
            return Explanation("closed", "closed on this side", facts)
        if self._error is not None:
            return Explanation("lost", str(self._error), facts)
        away = self._streams.away()
        if away is not None:
            return Explanation("reconnecting", f"no connection to the hub: {away}", facts)
        if self._outbox:
            silent = time.monotonic() - self._moved
            text = f"{self.peer} has given no credit for {silent:.1f} s, and {self._queued} bytes wait here"
            return Explanation("peer_not_reading", text, facts | {"stalled": silent})
        if self._inbox:
            return Explanation(
                "not_receiving", f"{len(self._inbox)} messages wait here to be received", facts
            )
        if self._ended_there:
            return Explanation("ended", f"{self.peer} has ended its side", facts)
        return Explanation("well", "everything has left, and nothing waits", facts)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "lost" if self._error is not None else "open"
        return f"<StreamChannel {self.number} {self.service} {self.peer} {state}>"

    # ---------------------------------------------------------------- what the streams tell

    def heard(self, event: Any) -> None:
        """An event of this stream."""
        if isinstance(event, portable.Data):
            self._heard_data(event.payload, more=event.more)
        elif isinstance(event, portable.Credited):
            self._moved = time.monotonic()
            self._streams.pump(self)
        elif isinstance(event, portable.Ended):
            self._ended_there = True
            self._wake(self._receiver)
        elif isinstance(event, portable.WasReset):
            self.lose(self._reset_error(event))

    def _reset_error(self, event: portable.WasReset) -> ChannelLost:
        said = portable.harmless(event.reason)
        who = self.peer if event.by_peer else "a broken rule"
        text = f"the stream to {self.peer} was reset by {who}: {reset_word(event.code)}"
        return ChannelLost(f"{text}, {said}" if said else text)

    def lose(self, error: JackfieldError) -> None:
        """The stream is over; what came whole is still handed out."""
        if self._error is not None or self.closed:
            return
        if isinstance(error, ChannelLost):
            error.certainly_unsent = len(self._outbox)
        self._error = error
        self._outbox.clear()
        self._queued = 0
        self._streams.forget(self, reset=False)
        self._wake_all()

    def _heard_data(self, payload: bytes, *, more: bool) -> None:
        self._parts_size += len(payload)
        cost = len(payload) + portable.FRAME_COST
        if self._parts_size > MAX_MESSAGE:
            self._streams.forget(self, reset=True, reason=f"a message is longer than {MAX_MESSAGE} bytes")
            text = f"a message of {self.peer} is longer than {MAX_MESSAGE} bytes"
            self.lose(MessageTooLarge(text, stage="receive"))
            return
        if more:
            self._parts.append(payload)
            self._parts_cost += cost
            self._grant()
            return
        message = b"".join([*self._parts, payload]) if self._parts else payload
        self._inbox.append((message, self._parts_cost + cost))
        self._passed[0] += len(message)
        self._passed[2] += 1
        self._parts.clear()
        self._parts_size = self._parts_cost = 0
        self._wake(self._receiver)

    def next_frame(self, credit: int) -> tuple[bytes, bool] | None:
        """The next frame that fits into so much credit: its payload, and whether the message goes on."""
        if not self._outbox or credit < portable.FRAME_COST:
            return None
        message = self._outbox[0]
        size = min(len(message) - self._offset, portable.MAX_PAYLOAD, credit - portable.FRAME_COST)
        if size == 0 and len(message):
            return None
        end = self._offset + size
        payload = bytes(message) if size == len(message) else bytes(message[self._offset : end])
        more = end < len(message)
        self._queued -= size
        self._passed[1] += size
        if more:
            self._offset = end
        else:
            self._outbox.popleft()
            self._offset = 0
            self._passed[3] += 1
        return payload, more

    def may_end(self) -> bool:
        """Whether END is due; it is asked once, when nothing waits."""
        if self._wants_end and not self._ended_here and not self._outbox:
            self._ended_here = True
            return True
        return False

    def left(self) -> None:
        """Something has left: senders may go on."""
        if self._queued <= HIGH_WATER // 2:
            self._wake_sender()
        for each in self._flushers:
            self._wake(each)


async def _within(waited: asyncio.Future[None], timeout: float | None, what: str, stage: str) -> None:
    """Wait for a future of ours. Raises ``TimedOut``."""
    if timeout is None:
        await waited
        return
    loop = asyncio.get_running_loop()

    def late() -> None:
        if not waited.done():
            error = TimedOut(f"{what} within {timeout:g} s", stage=stage)
            error.timeout = timeout
            waited.set_exception(error)

    if timeout <= 0:
        await asyncio.sleep(0)
        late()
    timer = loop.call_later(timeout, late)
    try:
        await waited
    finally:
        timer.cancel()


Handler = Callable[[StreamChannel], Any]
