"""Which streams a session has: those opened here, and those that others open and somebody here takes.

Rules: a stream that is not announced, or that nobody takes and too many wait for, is reset with the reason;
nothing is granted to a peer before somebody has taken its stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from jackfield import (
    AlreadyWaiting,
    ChannelLost,
    EndOfStream,
    JackfieldError,
    NotSupported,
    TimedOut,
    portable,
)

from .channel import WINDOW, Peer, StreamChannel
from .errors import peer_refused

if TYPE_CHECKING:
    from .session import Session

_log = logging.getLogger("jackfield")

UNANSWERED = 1.0
"""Seconds after which who asks a client that answers no questions is told so."""
MOST_WAITING = 64
"""Streams of one service that may wait for somebody to take them."""

Handler = Callable[[StreamChannel], Awaitable[object]]


class _Service:
    """Streams of one service that others have opened and nobody has taken."""

    def __init__(self) -> None:
        self.waiting: deque[tuple[int, Peer]] = deque()
        self.taker: asyncio.Future[None] | None = None

    def wake(self) -> None:
        if self.taker is not None and not self.taker.done():
            self.taker.set_result(None)


class Streams:
    """The streams of one client."""

    def __init__(self, session: Session, services: tuple[str, ...]) -> None:
        self._session = session
        self._machine = session.machine
        self._channels: dict[int, StreamChannel] = {}
        self._opening: dict[int, asyncio.Future[None]] = {}
        self._services = {name: _Service() for name in services}
        self._choked: dict[StreamChannel, None] = {}  # wait for the hub to acknowledge, the longest first
        self._handlers: dict[int, Callable[[Any], None]] = {}  # of streams that are rooms

    # ---------------------------------------------------------------- opening and taking

    async def open(self, peer: str, service: str, timeout: float | None) -> StreamChannel:
        """Open a stream to a client. Raises ``PeerRefused``, ``TimedOut``, ``SessionLost``. Cancelled, it is
        reset."""
        self._session.check_open()
        other = Peer(None, peer)
        number = self._machine.open({"to": peer, "service": service, "credit": WINDOW})
        channel = self._channels[number] = StreamChannel(self, number, other, service)
        accepted = self._opening[number] = asyncio.get_running_loop().create_future()
        self._session.flush()
        try:
            async with asyncio.timeout(timeout):
                await accepted
        except TimeoutError:
            channel.abort()
            text = (
                f"{other} has not answered the stream for {portable.harmless(service)} within {timeout:g} s"
            )
            raise TimedOut(text, stage="connect") from None
        except BaseException:
            channel.abort()
            raise
        finally:
            del self._opening[number]
        return channel

    async def take(self, service: str) -> StreamChannel:
        """The next stream that another client opened. Raises ``SessionLost`` once the client has ended."""
        found = self._services.get(service)
        if found is None:
            known = ", ".join(self._services) or "none"
            raise NotSupported(f"{service!r} was not announced; this client's services are {known}",
                               hint="name it in services= of connect")  # fmt: skip
        if found.taker is not None:
            raise AlreadyWaiting(f"another task takes the streams for {service!r}")
        while not found.waiting:
            self._session.check_open()
            found.taker = asyncio.get_running_loop().create_future()
            try:
                await found.taker
            finally:
                found.taker = None
        number, peer = found.waiting.popleft()
        channel = self._channels[number] = StreamChannel(self, number, peer, service)
        self._machine.accept(number, WINDOW)
        self._session.flush()
        return channel

    @contextlib.asynccontextmanager
    async def serving(self, handler: Handler, service: str) -> AsyncIterator[None]:
        """Give each stream that others open to a task that runs ``handler``, and close it behind that."""
        tasks: set[asyncio.Task[None]] = set()

        async def take_all() -> None:
            while True:
                task = asyncio.create_task(_handle(handler, await self.take(service)))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

        taking = asyncio.create_task(take_all())
        taking.add_done_callback(_told_why)
        try:
            yield
        finally:
            taking.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(taking, *tasks, return_exceptions=True)

    # ---------------------------------------------------------------- rooms

    def attach(self, number: int, credit: int, handler: Callable[[Any], None]) -> None:
        """A room's stream: what comes on it goes to ``handler``, as events of ``portable``."""
        self._machine.attach(number, credit)
        self._handlers[number] = handler

    def detach(self, number: int) -> None:
        """The room was left."""
        self._machine.detach(number)
        self._handlers.pop(number, None)

    def put(self, number: int, payload: bytes) -> None:
        """Send a frame on a room's stream, within its credit."""
        self._machine.send(number, payload)
        self._session.flush_soon()

    # ---------------------------------------------------------------- what the session tells

    def heard(self, event: Any) -> None:
        """An event of a stream."""
        if isinstance(event, portable.Opened):
            self._was_opened(event.stream, event.header)
            return
        handler = self._handlers.get(event.stream)
        if handler is not None:
            handler(event)
            return
        channel = self._channels.get(event.stream)
        opening = self._opening.get(event.stream)
        if opening is not None and not opening.done():
            if isinstance(event, portable.WasReset):
                assert channel is not None
                refused = peer_refused(channel.peer, channel.service, event.code, event.reason)
                opening.set_exception(refused)
            elif isinstance(event, portable.Accepted):
                opening.set_result(None)
        if channel is not None:
            channel.heard(event)
        elif isinstance(event, portable.WasReset):
            for service in self._services.values():
                service.waiting = deque(each for each in service.waiting if each[0] != event.stream)

    def _was_opened(self, number: int, header: dict[str, Any]) -> None:
        name = header["service"]
        service = self._services.get(name)
        if service is None:
            self._machine.reset(number, portable.NO_SUCH_SERVICE, "this client has no such service")
        elif len(service.waiting) >= MOST_WAITING:
            self._machine.reset(number, portable.OVERLOADED, "too many streams wait to be taken")
        else:
            said = header["from"].get("name")
            peer = Peer(header["from"]["id"], said if isinstance(said, str) else "")
            service.waiting.append((number, peer))
            if name == "request" and service.taker is None:
                asyncio.get_running_loop().call_later(UNANSWERED, self._nobody_answers, service, number)
            service.wake()

    def _nobody_answers(self, service: _Service, number: int) -> None:
        left = deque(each for each in service.waiting if each[0] != number)
        if len(left) < len(service.waiting):
            service.waiting = left
            self._machine.reset(number, portable.NO_SUCH_SERVICE, "it answers no questions")
            self._session.flush_soon()

    def acknowledged(self) -> None:
        """The hub has more of what was sent: streams that waited for that go on."""
        choked, self._choked = list(self._choked), {}
        for channel in choked:
            self.pump(channel)

    def lose_all(self, error: JackfieldError) -> None:
        """The session is over."""
        for opening in self._opening.values():
            if not opening.done():
                opening.set_exception(error)
        for channel in list(self._channels.values()):
            channel.lose(ChannelLost(f"the stream to {channel.peer} is gone: {error}"))
        for service in self._services.values():
            service.waiting.clear()
            service.wake()
        for handler in list(self._handlers.values()):
            handler(portable.WasReset(0, portable.PEER_GONE, str(error), False))
        self._handlers.clear()
        self._choked.clear()

    # ---------------------------------------------------------------- what channels ask

    def credit(self, number: int) -> int:
        """What may be sent on a stream."""
        return self._machine.credit(number)

    def grant(self, number: int, amount: int) -> None:
        """Let the peer of a stream send more."""
        if number in self._machine.streams:
            self._machine.grant(number, amount)
            self._session.flush_soon()

    def pump(self, channel: StreamChannel) -> None:
        """Send what the peer's credit allows."""
        machine, number = self._machine, channel.number
        if self._channels.get(number) is not channel or number not in machine.streams:
            return
        while machine.credit(number):
            if machine.unacknowledged >= portable.RETAINED:
                self._choked[channel] = None
                break
            frame = channel.next_frame(machine.credit(number))
            if frame is None:
                break
            machine.send(number, frame[0], more=frame[1])
        if channel.may_end():
            machine.end(number)
        channel.left()
        self._session.flush_soon()

    def forget(self, channel: StreamChannel, *, reset: bool, reason: str = "") -> None:
        """A channel is over; the stream too, if it is not already."""
        if self._channels.pop(channel.number, None) is not None and reset:
            self._machine.reset(channel.number, portable.CANCELLED, reason)
            self._session.flush_soon()
        self._choked.pop(channel, None)

    def away(self) -> str | None:
        """Why there is no connection; None if there is one."""
        return self._session.away()


async def _handle(handler: Handler, channel: StreamChannel) -> None:
    """Run a handler; how it ends is logged as with listeners."""
    try:
        async with channel:
            await handler(channel)
    except (ChannelLost, EndOfStream) as error:
        _log.info("%s", error)
    except Exception:
        _log.exception("the handler of %r raised; that channel was aborted", channel)


def _told_why(task: asyncio.Task[None]) -> None:
    """Streams are taken until the client ends; that is no fault of the task's."""
    if not task.cancelled():
        task.exception()
