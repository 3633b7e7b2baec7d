"""The blocking twin of listeners: from an address to channels that others open, a thread for each."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from jackfield import _engine
from jackfield._address import Address
from jackfield._errors import (
    ChannelClosed,
    NotSupported,
    TimedOut,
    TooManyOpenFiles,
    from_os_error,
)
from jackfield._facts import ListenerFacts
from jackfield._handlers import tell_end
from jackfield._listen import (
    ACCEPT_PAUSE,
    FileIdentity,
    ListenerStatistics,
    open_listener,
    remove_file,
    together,
)
from jackfield._options import OptionFields, Options
from jackfield._private_loop import run_apart
from jackfield._sync import Channel
from jackfield._tls_listening import TlsListening
from jackfield._transports import Setup, prepare

if TYPE_CHECKING:
    from jackfield._channel import Channel as AsynchronousChannel
    from jackfield._workers import Processes, Threads

Handler = Callable[[Channel], object]

_log = logging.getLogger("jackfield")

_PATIENCE = 5.0
"""Seconds that handlers have to come to their end once their channels were aborted."""


def listen(address: Address | str, **options: Unpack[OptionFields]) -> Listener:
    """Listen on an address: ``with listen(...) as listener``. Options and errors are those of
    ``jackfield.listen``; for ``tcp``, ``tls``, ``unix`` and ``unix+seqpacket``.
    """
    where = address if isinstance(address, Address) else Address.parse(address)
    setup = prepare(where, Options.from_address(where).merge(**options), listening=True)
    if setup.is_datagram:
        raise NotSupported(
            f"cannot listen on {where} with blocking calls: one socket has the packets of all peers",
            hint="use jackfield.listen, which gives a channel for each peer; sync.connect does work",
            address=where,
        )
    return Listener(setup, *run_apart(lambda: _open(setup)))


async def _open(setup: Setup) -> tuple[int, Address, FileIdentity]:
    return (await open_listener(setup))._hand_over()


class Listener(TlsListening, ListenerFacts):
    """Accepts channels: ``for channel in listener``, ``accept()`` or ``serve(handler)``; from any thread."""

    _pool: Listener | None = None

    def __init__(self, setup: Setup, fd: int, address: Address, file: FileIdentity = None) -> None:
        self._setup = setup
        self._address = address
        self._file = file
        self._config = setup.config(0)
        self._native = _engine.BlockingListener(fd, self._config)
        self._before_look: Callable[[], object] | None = None
        self._at_close: list[Callable[[], None]] = []

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._native.fileno() is None

    def fileno(self) -> int:
        """The descriptor. Raises ``ChannelClosed``."""
        fd = self._native.fileno()
        if fd is None:
            raise ChannelClosed(f"the listener on {self._address} is closed", address=self._address)
        return fd

    def statistics(self) -> ListenerStatistics:
        """How many clients it has and has refused; without those that worker processes have accepted."""
        clients, refused, failed = self._native.clients()
        own = ListenerStatistics(clients, refused + self._refused_by_pools, handshakes_failed=failed)
        return own if self._pool is None else together(own, self._pool.statistics())

    def _replace_terms(self, terms: _engine.TlsTerms, /) -> bool:
        return self._native.replace_terms(terms)

    def _take_failed(self) -> tuple[Any, dict[str, Any]] | None:
        return self._native.take_failed()

    def accept(self, timeout: float | None = None) -> Channel:
        """The next channel, within ``timeout`` seconds. Ctrl-C or a time-out has taken none.

        With TLS its handshake is done. Those of all newcomers go on together while a thread accepts, so one
        that is slow or silent holds up no other; who does not finish within ``handshake_timeout`` seconds of
        that is dropped, and ``failed_handshakes`` says why.

        Raises ``TimedOut``, ``ChannelClosed`` after ``close``, ``TooManyOpenFiles``.
        """
        try:
            fd, session = self._native.accept(timeout, self._before_look)
        except TimedOut:
            raise
        except OSError as error:
            raise from_os_error(error, stage="accept", address=self._address) from error
        return Channel(fd, self._setup, self._config, self._native, session=session)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Channel:
        try:
            return self.accept()
        except ChannelClosed:
            raise StopIteration from None

    def serve(self, handler: Handler, *, workers: Threads | Processes | None = None) -> None:
        """Call ``handler`` in a thread of its own for every channel until closed, or until Ctrl-C.

        A channel is closed when its handler returns; when it raises, the error is logged, that channel is
        aborted, and the others go on. At the end the channels of the handlers still running are aborted,
        which ends their waits with ``ChannelClosed``, and the handlers have five seconds to come to an end.

        ``workers``: a pool of ``Threads`` instead of a thread for each, or ``Processes``.
        """
        if workers is not None:
            self._serve_with(handler, workers)
            return
        with Crew(handler) as crew, contextlib.suppress(ChannelClosed):
            while True:
                crew.accept_from(self)

    def _serve_with(self, handler: Handler, workers: Threads | Processes) -> None:
        from jackfield._workers import Threads, check_threads, supervise

        if not isinstance(workers, Threads):
            supervisor = supervise(self, handler, workers)
            self._at_close.append(supervisor.end)
            self._in_processes = True
            try:
                supervisor.run()
            finally:
                self._in_processes = False
                self._at_close.remove(supervisor.end)
            return
        check_threads(handler)
        closed = threading.Event()
        # The pool's own: closing it ends the pool, and leaves this listener open.
        with Crew(handler) as crew, Listener(self._setup, os.dup(self.fileno()), self._address) as pool:

            def end() -> None:
                pool.close()
                closed.set()

            self._at_close.append(end)
            self._pool = pool
            if self.closed:  # meanwhile
                end()
            # Whose handshakes have begun is served by the pool.
            self._native.swap_newcomers(pool._native)
            try:
                for number in range(workers.count):
                    crew.enlist(pool, number)
                closed.wait()
            finally:
                self._native.swap_newcomers(pool._native)
                self._refused_by_pools += pool.statistics().refused
                self._pool = None
                self._at_close.remove(end)

    @contextmanager
    def serving(self, handler: Handler, *, workers: Threads | Processes | None = None) -> Iterator[Self]:
        """``serve`` in a thread of its own while the block runs; then the listener is closed."""
        serve = functools.partial(self.serve, handler, workers=workers)
        server = threading.Thread(target=serve, name=f"serve {self._address}", daemon=True)
        server.start()
        try:
            yield self
        finally:
            self.close()
            server.join()

    def close(self) -> None:
        """Stop listening. Channels that were accepted go on; threads that accept get ``ChannelClosed``."""
        remove_file(self._address, self._file)
        self._file = None
        self._native.close()
        for end in list(self._at_close):
            end()

    def abort(self) -> None:
        """The same; there is nothing to deliver."""
        self.close()

    def _read_option(self, level: int, number: int, size: int, /) -> bytes:
        return self._native.read_option(level, number, size)

    def _write_option(self, level: int, number: int, value: bytes, /) -> None:
        self._native.write_option(level, number, value)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            if not self.closed:
                warnings.warn(f"{self!r} was dropped: close it, or use `with`", ResourceWarning, stacklevel=1)
                self.close()

    def __repr__(self) -> str:
        return f"<Listener {self._address} {'closed' if self.closed else 'open'}>"


class Crew:
    """The threads of one ``serve``, and their channels. At its end the channels are aborted."""

    def __init__(self, handler: Handler, count: Callable[[int], None] | None = None) -> None:
        self._handler = handler
        self._count = count
        self._threads: set[threading.Thread] = set()
        self._channels: set[Channel] = set()

    def accept_from(self, listener: Listener, timeout: float | None = None) -> None:
        """Accept a client and start a thread for it. Without descriptors it waits a little instead."""
        channel = self._accept(listener, timeout)
        if channel is not None:
            self._take(channel)

    def take_over(self, channel: AsynchronousChannel) -> None:
        """Start a thread for a channel of an event loop, which has not been used yet."""
        setup = channel._setup
        config = setup.config(0)
        fd, session = _engine.tls_detach(channel)
        self._take(Channel(fd, setup, config, session=session))

    def _take(self, channel: Channel) -> None:
        self._channels.add(channel)
        self._tell(1)
        self._start(
            f"client {channel.id}",
            functools.partial(self._handle, channel),
            functools.partial(self._refuse, channel),
        )

    def _refuse(self, channel: Channel) -> None:
        channel.abort()
        self._channels.discard(channel)
        self._tell(-1)

    def enlist(self, listener: Listener, number: int) -> None:
        """Start a thread that accepts and serves one client after the other until the listener closes."""
        self._start(f"worker {number}", functools.partial(self._pool, listener), lambda: None)

    def _accept(self, listener: Listener, timeout: float | None) -> Channel | None:
        try:
            return listener.accept(timeout)
        except TooManyOpenFiles as failure:
            _log.warning("%s", failure)
            time.sleep(ACCEPT_PAUSE)
            return None

    def _pool(self, listener: Listener) -> None:
        with contextlib.suppress(ChannelClosed):
            while True:
                channel = self._accept(listener, None)
                if channel is not None:
                    self._channels.add(channel)
                    self._tell(1)
                    self._handle(channel)

    def _handle(self, channel: Channel) -> None:
        try:
            handle(self._handler, channel)
        finally:
            self._channels.discard(channel)
            self._tell(-1)

    def _tell(self, clients: int) -> None:
        if self._count is not None:
            self._count(clients)

    def _start(self, name: str, work: Callable[[], None], refuse: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            finally:
                self._threads.discard(thread)

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError as error:
            # No more threads: this one is refused, the others go on.
            self._threads.discard(thread)
            refuse()
            _log.warning("%s was refused: %s", name, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.end()

    def end(self) -> None:
        """Abort the channels, and wait for the handlers."""
        end = time.monotonic() + _PATIENCE
        left = list(self._threads)
        for thread in left:
            # Again and again: a thread of a pool may have accepted one more.
            while thread.is_alive() and time.monotonic() < end:
                for channel in list(self._channels):
                    channel.abort()
                thread.join(0.05)
        if still := sum(thread.is_alive() for thread in left):
            _log.warning("%d handlers of %r have not ended and are left behind", still, self._handler)


def handle(handler: Handler, channel: Channel) -> None:
    """One channel's whole life with its handler."""
    try:
        handler(channel)
        channel.close(channel.options.linger)
    except Exception as error:
        if not (channel.closed and isinstance(error, ChannelClosed)):
            tell_end(channel, error)
        channel.abort()
