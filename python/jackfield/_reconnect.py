"""Channels that reconnect: from the first attempt on, with states that can be seen.

The channel stays the same object while its connections come and go. Who receives goes on waiting; what is
sent meanwhile queues up to ``high_water``; messages of which nothing had left go out on the next connection,
in order. What was sent and not acknowledged is counted as unknown, told with the state, and never sent again.
"""

from __future__ import annotations

import asyncio
import errno
import functools
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from jackfield import _engine
from jackfield._channel import Channel
from jackfield._errors import (
    AddressInUse,
    AddressNotAvailable,
    ConnectFailed,
    JackfieldError,
    NotSupported,
    TimedOut,
    TooManyOpenFiles,
)
from jackfield._explain import Explanation
from jackfield._loop import current_reactor
from jackfield._states import Backoff, Closed, Connected, Connecting, Reconnecting, State
from jackfield._transports import Setup

_PASSING = (ConnectFailed, AddressInUse, AddressNotAvailable, TooManyOpenFiles)
"""What another attempt may not meet again; everything else is raised at once."""

_SETTLED = 1.0
"""Seconds after which a connection counts as one, and the next loss begins with the first delay again. One
that ends sooner, or sooner than the last delay was, goes on with the delays: its server may be failing."""

Connect = Callable[[Setup], Coroutine[Any, Any, Channel]]
OnState = Callable[[State], object]


class LastingChannel(Channel):
    """A channel that reconnects; ``connect(..., reconnect=Backoff())`` gives one.

    An end of the peer, orderly or not, is no end of the channel: ``receive`` and ``async for`` go on with the
    next connection. ``state``, ``states()`` and ``on_state`` tell of it. The channel ends when this side
    closes it, after ``send_eof()`` as soon as the peer ends its side too, and when the attempts are used up.
    """

    __slots__ = (
        "_backoff",
        "_connect",
        "_delays",
        "_last_delay",
        "_on_state",
        "_since",
        "_state",
        "_task",
        "_watchers",
    )

    _backoff: Backoff
    _connect: Connect
    _delays: int
    """How many delays there have been since the last connection that settled."""
    _last_delay: float
    _on_state: OnState | None
    _since: float
    _state: State
    _task: asyncio.Task[None] | None
    _watchers: list[asyncio.Queue[State]]

    @property
    def state(self) -> State:
        """``Connected``, ``Reconnecting`` or ``Closed``, with what is known of it."""
        return self._state

    async def states(self) -> AsyncIterator[State]:
        """The state now and each one that follows; ends behind ``Closed``."""
        queue: asyncio.Queue[State] = asyncio.Queue()
        self._watchers.append(queue)
        try:
            state = self._state
            while True:
                yield state
                if isinstance(state, Closed):
                    return
                state = await queue.get()
        finally:
            self._watchers.remove(queue)

    def explain(self) -> Explanation:
        """As ``Channel.explain``; without a connection, which attempt is next, when, and why."""
        if isinstance(self._state, Reconnecting):
            waiting, messages = _engine.queued(self)
            facts = {"queued_bytes": waiting, "queued_messages": messages, "error": self._state.error}
            return Explanation("reconnecting", str(self._state), facts)
        return super().explain()

    def close(self, timeout: float | None = None) -> Coroutine[Any, Any, None]:
        """As ``Channel.close``; without a connection it waits for the next one, if something is queued."""
        if not self.closed and _engine.is_down(self) and _engine.queued(self)[1]:
            return self._close_when_connected(timeout)
        self._end()
        return super().close(timeout)

    async def _close_when_connected(self, timeout: float | None) -> None:
        clock = asyncio.get_running_loop().time
        started = clock()
        try:
            await self.flush(timeout)
        except BaseException as error:
            # Cancelled or too late: as everywhere, a close that was begun ends the channel.
            self.abort()
            if isinstance(error, TimedOut):
                error.hint = "the server did not come back in time; what was queued is dropped"
            raise
        left = None if timeout is None else max(0.0, timeout - (clock() - started))
        await self.close(left)

    def abort(self) -> None:
        """As ``Channel.abort``; it ends the attempts too."""
        self._end()
        super().abort()

    def _end(self) -> None:
        """This side has closed it."""
        if self._task is not None:
            self._task.cancel()
        self._task = None
        self._change(Closed())

    def _change(self, state: State) -> None:
        if isinstance(self._state, Closed):
            return
        self._state = state
        for queue in self._watchers:
            queue.put_nowait(state)
        _tell(self._on_state, state)


async def connect_lasting(
    setup: Setup, backoff: Backoff, connect: Connect, on_state: OnState | None
) -> LastingChannel:
    """The channel, once its first connection has come about. Cancelled, it leaves nothing open."""
    if setup.protocol not in ("tcp", "tls", "unix", "serial"):
        raise NotSupported(
            f"cannot reconnect to {setup.address}: {setup.protocol} has no connections that could be lost",
            hint="reconnect= is for tcp, tls, unix and serial",
            address=setup.address,
        )
    attempt, failure = 1, None
    _tell(on_state, Connecting())
    while True:
        try:
            fresh = await connect(setup)
            break
        except _PASSING as error:
            failure = error
        attempt += 1
        if backoff.attempts is not None and attempt > backoff.attempts:
            raise failure
        delay = backoff.delay(attempt - 1)
        _tell(on_state, Connecting(attempt, delay, failure))
        await asyncio.sleep(delay)
    return _lasting(fresh, setup, backoff, connect, on_state)


def _lasting(
    fresh: Channel, setup: Setup, backoff: Backoff, connect: Connect, on_state: OnState | None
) -> LastingChannel:
    channel = LastingChannel(current_reactor(), setup, fresh.id)
    channel._backoff, channel._connect, channel._on_state = backoff, connect, on_state
    channel._delays, channel._last_delay, channel._since = 0, 0.0, time.monotonic()
    channel._task, channel._watchers = None, []
    channel._state = Connected()
    _engine.disown(fresh)
    if not _engine.make_lasting(channel, functools.partial(_went_down, weakref.ref(channel))):
        channel.abort()
        raise NotSupported(f"{channel!r} cannot reconnect", address=setup.address)
    _tell(on_state, channel._state)
    return channel


def _went_down(ref: weakref.ref[LastingChannel]) -> None:
    channel = ref()
    if channel is not None and not channel.closed:
        # The task holds the channel only while it has something to do with it: dropped by its owner, it goes.
        channel._task = asyncio.get_running_loop().create_task(_revive(ref))


async def _revive(ref: weakref.ref[LastingChannel]) -> None:
    """Connects anew, as often as the backoff allows."""
    channel = ref()
    if channel is None:
        return None
    backoff, connect, setup = channel._backoff, channel._connect, channel._setup
    failure: JackfieldError = _engine.outage(channel, "reconnect")  # type: ignore[assignment]
    if time.monotonic() - channel._since > max(_SETTLED, channel._last_delay):
        channel._delays = 0
    connection = channel._state.connection if isinstance(channel._state, Connected) else 0
    attempt = 0
    while True:
        attempt += 1
        if backoff.attempts is not None and attempt > backoff.attempts:
            return _give_up(channel, failure)
        channel._delays += 1
        delay = channel._last_delay = backoff.delay(channel._delays)
        channel._change(Reconnecting(failure, attempt, delay))
        del channel
        await asyncio.sleep(delay)
        if (channel := ref()) is None or channel.closed:
            return None
        del channel
        fresh: Channel | None = None
        permanent = False
        try:
            fresh = await connect(setup)
        except JackfieldError as error:
            failure, permanent = error, not isinstance(error, _PASSING)
        if (channel := ref()) is None or channel.closed:
            if fresh is not None:
                fresh.abort()
            return None
        if permanent:
            return _give_up(channel, failure)
        if fresh is None:
            continue
        try:
            _engine.graft(channel, fresh)
        except OSError as error:
            fresh.abort()
            failure = JackfieldError(f"cannot watch the new connection to {setup.address}: {error.strerror}")
            continue
        channel._since = time.monotonic()
        if hasattr(channel, "_last"):
            del channel._last  # they are another connection's now
        channel._change(Connected(connection + 1))
        return None


def _give_up(channel: LastingChannel, failure: JackfieldError) -> None:
    _engine.give_up(channel, failure.errno or errno.ECONNABORTED)
    channel._change(Closed(failure))


def _tell(on_state: OnState | None, state: State) -> None:
    """Calls it; what it raises is the loop's affair, as with every callback."""
    if on_state is None:
        return
    try:
        on_state(state)
    except Exception as error:
        details = {"message": "an on_state callback has raised", "exception": error}
        asyncio.get_running_loop().call_exception_handler(details)
