"""Listening: from an address to channels that others open."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, Unpack

from jackfield import _engine
from jackfield._address import Address
from jackfield._channel import Channel
from jackfield._connect import Opening, connect, opening_descriptor
from jackfield._errors import (
    ChannelClosed,
    TimedOut,
    TooManyOpenFiles,
    from_os_error,
)
from jackfield._facts import ListenerFacts
from jackfield._handlers import tell_end
from jackfield._holders import unix_state
from jackfield._loop import current_reactor
from jackfield._names import find_places
from jackfield._options import OptionFields, Options
from jackfield._tls_listening import TlsListening
from jackfield._transports import RawAddress, Setup, prepare

if TYPE_CHECKING:
    from jackfield._group import Group
    from jackfield._sync_listen import Handler as BlockingHandler
    from jackfield._workers import Processes, Threads

Handler = Callable[[Channel], Awaitable[None]]

_log = logging.getLogger("jackfield")

ACCEPT_PAUSE = 0.05
"""Seconds before accepting is tried again when there are no descriptors."""


class ListenerStatistics(NamedTuple):
    """What a listener counts."""

    clients: int
    """Channels open now (for datagrams: peers known now)."""
    refused: int
    """Newcomers refused because of ``max_clients``, or because no descriptor was free."""
    dropped_by_kernel: int = 0
    """Datagrams of all peers that this machine's kernel dropped because the socket's receive buffer was full
    (what SO_RXQ_OVFL counts); 0 for what connects."""
    handshakes_failed: int = 0
    """Newcomers whose TLS handshake failed; ``failed_handshakes`` says why."""


def together(*parts: ListenerStatistics) -> ListenerStatistics:
    """What those count in sum that accept from one socket."""
    return ListenerStatistics(*map(sum, zip(*parts, strict=True)))


def listen(address: Address | str, **options: Unpack[OptionFields]) -> Opening[Listener]:
    """Listen on an address: ``listener = await listen(...)`` or ``async with listen(...) as listener``.

    Port 0 lets the kernel pick; ``listener.address`` says which. A Unix socket file that nobody listens on
    any more is replaced, a live one is not; the file is removed at the end. UDP and Unix datagram listeners
    give a channel per peer, which ends after ``idle_timeout`` seconds of silence.

    Raises ``InvalidAddress``, ``InvalidOption`` at once; ``AddressInUse`` (naming the holder),
    ``AddressNotAvailable``, ``AccessDenied``, ``NameNotResolved`` when awaited.
    """
    where = address if isinstance(address, Address) else Address.parse(address)
    if where.scheme == "fd":
        return opening_descriptor(where, options, listening=True)
    setup = prepare(where, Options.from_address(where).merge(**options), listening=True)
    return Opening(lambda: open_listener(setup))


class Listener(TlsListening, ListenerFacts):
    """Accepts channels: ``async for``, ``accept()``, ``serve(handler)`` or ``into(group)``."""

    def __init__(self, reactor: _engine.Reactor, link: int, setup: Setup) -> None:
        self._reactor = reactor
        self._link = link
        self._setup = setup
        local = reactor.local(link, setup.protocol)
        if setup.address.host is None and not setup.is_unix:
            # `tcp://:7000` stays what was asked for; only the port is the kernel's word.
            local = Address.unchecked(setup.protocol, port=local.port)
        self._address = local
        self._file = _identity(local)
        self._in_group = False  # the group keeps the socket open, even without this object
        self._tasks: set[asyncio.Task[None]] = set()
        self._channel = functools.partial(Channel, reactor, setup)
        self._count: Callable[[int], None] = _uncounted
        self._at_close: list[Callable[[], None]] = []

    @property
    def id(self) -> int:
        """What members of a group name it by (``member.listener_id``)."""
        return self._link

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._reactor.is_closed(self._link)

    def fileno(self) -> int:
        """The descriptor. Raises ``ChannelClosed``."""
        fd = self._reactor.link_fd(self._link)
        if fd is None:
            raise ChannelClosed(f"the listener on {self._address} is closed", address=self._address)
        return fd

    def statistics(self) -> ListenerStatistics:
        """How many clients it has and has refused, and what the kernel dropped; without those that worker
        processes have accepted."""
        failed = _engine.tls_handshakes_failed(self._reactor, self._link)
        clients, refused, dropped = self._reactor.clients(self._link)
        own = ListenerStatistics(clients, refused + self._refused_by_pools, dropped, failed)
        return own if self._pool is None else together(own, self._pool.statistics())

    def _replace_terms(self, terms: _engine.TlsTerms, /) -> bool:
        return _engine.tls_replace(self._reactor, self._link, terms)

    def _take_failed(self) -> tuple[Any, dict[str, Any]] | None:
        return _engine.tls_take_failed(self._reactor, self._link)

    async def accept(self, timeout: float | None = None) -> Channel:
        """The next channel, within ``timeout`` seconds. A cancelled accept has taken none.

        Raises ``TimedOut``, ``ChannelClosed`` after ``close``, ``TooManyOpenFiles``.
        """
        try:
            return await self._reactor.accept(self._link, self._channel, timeout)
        except TimedOut:
            raise
        except OSError as error:
            raise from_os_error(error, stage="accept", address=self._address) from error

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Channel:
        try:
            return await self._reactor.accept(self._link, self._channel)
        except ChannelClosed:
            raise StopAsyncIteration from None
        except OSError as error:
            raise from_os_error(error, stage="accept", address=self._address) from error

    async def serve(
        self, handler: Handler | BlockingHandler, *, workers: Threads | Processes | None = None
    ) -> None:
        """Call ``handler`` in a task of its own for every channel until closed or cancelled.

        A channel is closed when its handler returns; when it raises, the error is logged, that channel is
        aborted, and the others go on. At the end the handlers still running are cancelled and awaited.

        With ``workers`` handlers run elsewhere, and may be plain functions that block: see ``Threads`` and
        ``Processes``. Raises ``TypeError`` for a handler that these cannot run, ``NotSupported`` for
        datagrams.
        """
        if workers is not None:
            from jackfield._workers import serve_with

            await serve_with(self, handler, workers)
        else:
            await self._serve(handler, functools.partial(self._reactor.accept, self._link, self._channel))

    async def _serve(self, handler: Any, accept: Callable[[], Awaitable[Channel]]) -> None:
        try:
            while True:
                try:
                    while True:
                        self._start(handler, await accept())
                except ChannelClosed:
                    break
                except OSError as error:
                    failure = from_os_error(error, stage="accept", address=self._address)
                    if not isinstance(failure, TooManyOpenFiles):
                        raise failure from error
                    _log.warning("%s", failure)
                    await asyncio.sleep(ACCEPT_PAUSE)
        finally:
            for task in list(self._tasks):
                task.cancel()
            if self._tasks:
                await asyncio.gather(*self._tasks, return_exceptions=True)

    @asynccontextmanager
    async def serving(
        self, handler: Handler | BlockingHandler, *, workers: Threads | Processes | None = None
    ) -> AsyncIterator[Self]:
        """``serve`` while the block runs."""
        server = asyncio.create_task(self.serve(handler, workers=workers))
        try:
            yield self
        finally:
            server.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await server

    def _start(self, handler: Handler, channel: Channel) -> None:
        # The handler is the task itself: a coroutine around it would be resumed with every message, too.
        try:
            work = handler(channel)
            task = asyncio.create_task(work if asyncio.iscoroutine(work) else _awaiting(work))
        except Exception:
            _log.exception("the handler of %r raised; that channel was aborted", channel)
            channel.abort()
            return
        self._tasks.add(task)
        self._count(1)
        task.add_done_callback(functools.partial(self._handled, channel))

    def _handled(self, channel: Channel, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._count(-1)
        if not task.cancelled() and task.exception() is None:
            flushed = channel._is_flushed()
            ending = channel.close(self._setup.options.linger)
            if not flushed:
                # What the handler sent still leaves, and `serve` waits for it at its end.
                last = asyncio.create_task(_awaiting(ending))
                self._tasks.add(last)
                last.add_done_callback(self._tasks.discard)
            return
        error = None if task.cancelled() else task.exception()
        if error is not None:
            tell_end(channel, error)
        channel.abort()

    def into(self, group: Group, *, native: Literal["off", "auto", "only"] = "off") -> None:
        """Hand every channel, now and later, to the group: no object and no task for each.

        ``native`` says whether they may speak the Jackfield protocol: none does (``off``), those do that
        begin with its magic (``auto``), or all have to (``only``); see ``Group.switch``. With ``auto`` a
        broadcast leaves a member out that has said nothing yet, for at most one second.
        """
        group._take_listener(self._reactor, self._link, native)
        self._in_group = True

    async def close(self) -> None:
        """Stop listening. Channels that were accepted go on; peers of a datagram listener end with it."""
        self._release()
        self._reactor.close_link(self._link)

    def abort(self) -> None:
        """The same, without waiting; there is nothing to deliver."""
        self._release()
        self._reactor.close_link(self._link)

    def _own_file(self) -> None:
        """A Unix socket's file is ours to remove, whoever made it."""
        self._file = _identity(self._address)

    def _release(self) -> None:
        """Remove the socket's file, unless somebody has replaced it, and tell who works for the listener."""
        remove_file(self._address, self._file)
        self._file = None
        for end in list(self._at_close):
            end()

    def _read_option(self, level: int, number: int, size: int, /) -> bytes:
        return self._reactor.read_option(self._link, level, number, size)

    def _write_option(self, level: int, number: int, value: bytes, /) -> None:
        self._reactor.write_option(self._link, level, number, value)

    def detach(self) -> int:
        """Give the socket to another owner: its descriptor, which goes on listening. This listener is closed.

        Connections that nobody has accepted yet wait in it. A Unix socket's file stays. Raises
        ``ChannelClosed`` after ``close``, ``NotSupported`` for a datagram listener that has peers: see
        ``Group.detach``.
        """
        descriptor = self._reactor.detach(self._link)
        self._file = None
        self._release()
        return descriptor

    def _hand_over(self) -> tuple[int, Address, FileIdentity]:
        """The socket goes to another owner: descriptor, address, and the file to remove at the end."""
        file, self._file = self._file, None
        return self._reactor.detach(self._link), self._address, file

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            if not self.closed and not self._in_group:
                warnings.warn(
                    f"{self!r} was dropped: close it, or use `async with`", ResourceWarning, stacklevel=1
                )
                self.abort()

    def __repr__(self) -> str:
        return f"<Listener {self._address} {'closed' if self.closed else 'open'}>"


def _uncounted(_clients: int) -> None:
    """Nobody asks."""


async def _awaiting(work: Awaitable[None]) -> None:
    await work


async def open_listener(setup: Setup) -> Listener:
    """Bind and listen. Raises ``ListenFailed`` in one of its forms."""
    address = setup.address
    reactor = current_reactor()
    places = await find_places(setup, connect=connect)
    failure: OSError = OSError(errno.EADDRNOTAVAIL, "the name has no address of a usable family")
    for family, place in places:
        try:
            link = _bind(reactor, setup, family, place)
        except OSError as error:
            failure = error
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                break
        else:
            join_group(reactor, setup, link, family)
            return Listener(reactor, link, setup)
    # Finding the holder of an address reads all of /proc: not in the loop's thread.
    explain = functools.partial(from_os_error, failure, stage="bind", address=address)
    raise await asyncio.get_running_loop().run_in_executor(None, explain) from failure


def _bind(reactor: _engine.Reactor, setup: Setup, family: int, place: RawAddress) -> int:
    config = setup.config(family)
    try:
        return reactor.listen(place, config)
    except OSError as error:
        path = setup.address.path
        is_file = setup.is_unix and path is not None and not setup.address.is_abstract
        if error.errno != errno.EADDRINUSE or not is_file or unix_state(path or "") != "stale":
            raise
    os.unlink(path or "")
    return reactor.listen(place, config)


def join_group(reactor: _engine.Reactor, setup: Setup, link: int, family: int) -> None:
    """Join the address's multicast group, if it is one; else the link is closed. Raises ``ListenFailed``."""
    fd = reactor.link_fd(link)
    if fd is None:
        return
    try:
        setup.join(fd, family)
    except BaseException:
        reactor.close_link(link)
        raise


FileIdentity = tuple[int, int] | None
"""Device and inode of a Unix socket's file; None where there is none."""


def _identity(address: Address) -> FileIdentity:
    if address.path is None or address.is_abstract or not address.scheme.startswith("unix"):
        return None
    try:
        status = os.stat(address.path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def remove_file(address: Address, file: FileIdentity) -> None:
    """Remove a Unix socket's file, unless somebody has replaced it."""
    if file is not None and _identity(address) == file:
        with contextlib.suppress(OSError):
            os.unlink(address.path or "")
