"""The session below a client: connections one after the other, and the protocol's machine over them.

Owns when to connect again, and what ends for good. The machine decides all that is protocol; here are the
loop's clock, the channel to the hub, and the order in which both are asked.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import jackfield
from jackfield import Address, Backoff, ChannelLost, JackfieldError, QueueFull, State, portable

from .errors import SessionLost, hub_refused
from .invitation import Place
from .websocket import BELOW, WebSocketChannel, open_websocket

FATAL = {"unsupported_version", "bad_token", "expired_token", "used_token", "forbidden", "bad_magic"}
"""Refusals that another attempt meets again."""
SETTLED = 1.0
"""Seconds after which a connection counts as one, and delays begin with the first again."""
WORDS = 2.0
"""Seconds that last words may take."""

Heard = Callable[[Any], None]
Below = jackfield.Channel | WebSocketChannel


class Session:
    """One session with a hub. ``heard`` is told the machine's events; ``over`` that a session was lost."""

    def __init__(
        self,
        place: Place,
        hello: dict[str, Any],
        *,
        backoff: Backoff | None,
        on_state: Callable[[State], object] | None,
    ) -> None:
        self.place = place
        self.machine = portable.Connection(hello=hello)
        self.heard: Heard = lambda event: None
        self.over: Callable[[JackfieldError], None] = lambda error: None
        self.state: State = jackfield.Connecting()
        self._backoff = backoff
        self._on_state = on_state
        self._watchers: list[asyncio.Queue[State]] = []
        self._loop = asyncio.get_running_loop()
        self._channel: Below | None = None
        self._backlog: deque[bytes] = deque()  # what the channel's queue had no room for
        self._draining: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_flushing = False
        self._failure: JackfieldError | None = None
        self.connections = 0

    # ---------------------------------------------------------------- its life

    async def start(self) -> None:
        """Connect and shake hands, once. Raises what ``jackfield.connect`` raises, and ``HubRefused``."""
        channel = await self._connect()
        first: asyncio.Future[None] = self._loop.create_future()
        self._task = self._loop.create_task(self._run(channel, first))
        try:
            await asyncio.shield(first)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """End the session in order; what is queued leaves before, within two seconds."""
        if not isinstance(self.state, jackfield.Closed):
            if self.machine.is_open:
                with contextlib.suppress(portable.ProtocolError):
                    self.machine.control({"type": "bye"})
            self.flush()
            if self._draining is not None:
                await asyncio.wait([self._draining], timeout=WORDS)
        channel, self._channel = self._channel, None
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if channel is not None:
            with contextlib.suppress(JackfieldError):
                await channel.close(WORDS)
        self._end(None)

    def check_open(self) -> None:
        """Raises ``SessionLost`` (or why it ended) once the client has ended."""
        if isinstance(self.state, jackfield.Closed):
            raise SessionLost("this client has ended", hint="connect again") from self.state.error

    def away(self) -> str | None:
        """Why there is no connection; None if there is one."""
        return None if self.machine.is_open else str(self.state)

    async def states(self) -> AsyncIterator[State]:
        """The state now and each one that follows; ends behind ``Closed``."""
        queue: asyncio.Queue[State] = asyncio.Queue()
        self._watchers.append(queue)
        try:
            state = self.state
            while True:
                yield state
                if isinstance(state, jackfield.Closed):
                    return
                state = await queue.get()
        finally:
            self._watchers.remove(queue)

    def _change(self, state: State) -> None:
        if isinstance(self.state, jackfield.Closed):
            return
        self.state = state
        for queue in self._watchers:
            queue.put_nowait(state)
        if self._on_state is not None:
            try:
                self._on_state(state)
            except Exception as error:
                details = {"message": "an on_state callback has raised", "exception": error}
                self._loop.call_exception_handler(details)

    def _end(self, error: JackfieldError | None) -> None:
        if isinstance(self.state, jackfield.Closed):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._change(jackfield.Closed(error))
        self.over(error or SessionLost("this client was closed"))

    # ---------------------------------------------------------------- connections

    async def _connect(self) -> Below:
        if self.place.address.scheme in BELOW:
            return await open_websocket(self.place.address)
        options: dict[str, Any] = {"max_message": portable.MAX_MESSAGE}
        if self.place.is_stream:
            options["framing"] = "u32"
        channel: jackfield.Channel = await jackfield.connect(self.place.address, **options)
        return channel

    async def _run(self, channel: Below, first: asyncio.Future[None]) -> None:
        delays = 0
        while True:
            began = self._loop.time()
            why = await self._converse(channel, first)
            if not first.done():
                first.set_exception(why)
                self._end(why)
                return
            code = getattr(why, "code", None)
            if self._backoff is None or code in FATAL:
                self._end(why)
                return
            if self._loop.time() - began > SETTLED:
                delays = 0
            found = await self._connect_again(why, delays)
            if found is None:
                return
            channel, delays = found

    async def _connect_again(self, why: JackfieldError, delays: int) -> tuple[Below, int] | None:
        """Another connection and how many delays there were; None when it was given up."""
        backoff = self._backoff
        assert backoff is not None
        attempt = 0
        while True:
            attempt += 1
            if backoff.attempts is not None and attempt > backoff.attempts:
                self._end(why)
                return None
            delays += 1
            delay = backoff.delay(delays)
            self._change(jackfield.Reconnecting(why, attempt, delay))
            await asyncio.sleep(delay)
            try:
                return await self._connect(), delays
            except JackfieldError as error:
                why = error

    async def _converse(self, channel: Below, first: asyncio.Future[None]) -> JackfieldError:
        """Speak over one connection until it ends; why it did."""
        self._channel = channel
        self._failure, before = None, self.connections
        machine, clock = self.machine, self._loop.time
        machine.start(clock())
        self.flush()
        try:
            while not machine.has_failed:
                for message in await channel.receive_many():
                    for event in machine.receive(message, clock()):
                        self._hear(event, first)
                self.flush()
            with contextlib.suppress(JackfieldError):
                await channel.flush(WORDS)
        except JackfieldError as error:
            if self._failure is None:
                self._failure = _as_lost(error, self.place.address, greeted=self.connections > before)
        finally:
            if self._channel is channel:  # else ``close`` has it, and lets it end in order
                channel.abort()
                self._channel = None
            self._backlog.clear()
            machine.lost()
        return self._failure or ChannelLost(f"the hub at {self.place.address} is gone")

    def _hear(self, event: Any, first: asyncio.Future[None]) -> None:
        if isinstance(event, portable.Failed):
            where = self.place.address
            if event.by_peer:
                self._failure = hub_refused(event.code, event.message, event.hint, where)
            else:
                text = f"the hub at {where} does not speak as it should: {event.message} ({event.code})"
                self._failure = SessionLost(text)
            if first.done() and event.code not in portable.PASSING:
                self.over(self._failure)
            return
        if isinstance(event, portable.Welcomed):
            self.connections += 1
            if not event.resumed and self.connections > 1:
                self.over(SessionLost("the hub did not keep the session: its streams and questions are gone"))
            self._change(jackfield.Connected(self.connections))
        self.heard(event)
        if isinstance(event, portable.Welcomed) and not first.done():
            first.set_result(None)

    # ---------------------------------------------------------------- to the hub

    def flush_soon(self) -> None:
        """Send what the machine has, before the loop waits again; many calls of one turn make one flush."""
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Send what the machine has."""
        self._is_flushing = False
        messages, channel = self.machine.take(), self._channel
        if channel is not None:
            for index, message in enumerate(messages):
                if self._backlog:
                    self._backlog.extend(messages[index:])
                    break
                try:
                    channel.send_nowait(message)
                except QueueFull:
                    self._backlog.extend(messages[index:])
                    self._draining = self._loop.create_task(self._drain(channel))
                    break
                except JackfieldError:
                    break  # whoever receives hears of it
        self._arm()

    async def _drain(self, channel: Below) -> None:
        with contextlib.suppress(JackfieldError):
            while self._backlog:
                await channel.send(self._backlog[0])
                if self._backlog:
                    self._backlog.popleft()
        self._draining = None

    def _arm(self) -> None:
        """Have ``tick`` called when the machine wants it."""
        due = self.machine.deadline
        if due is None or (self._timer is not None and self._timer.when() <= due):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        for event in self.machine.tick(self._loop.time()):
            if isinstance(event, portable.Failed):
                text = f"the hub at {self.place.address} has not answered: {event.message}"
                self._failure = ChannelLost(text)
        channel = self._channel
        if channel is not None and (self.machine.is_silent or self.machine.has_failed):
            if self._failure is None:
                self._failure = ChannelLost(f"the hub at {self.place.address} has said nothing for 60 s")
            channel.abort()
        else:
            self.flush()


def _as_lost(error: JackfieldError, where: Address, *, greeted: bool) -> JackfieldError:
    """What ended a connection, as the loss of it; ``greeted``: the hub had let this client in before."""
    hint = error.hint
    if isinstance(error, (ChannelLost, jackfield.EndOfStream)) and not greeted:
        text = f"the hub at {where} has ended the connection before it answered: {error.message}"
        return ChannelLost(text, hint="it may have protocol=plain there, or be no hub at all")
    if isinstance(error, ChannelLost):
        return error
    if getattr(error, "speaks", None) == "text":
        hint = "what answers there is a text, and no hub for native clients: it may have protocol=plain"
    return ChannelLost(f"the connection to the hub at {where} has ended: {error.message}", hint=hint)
