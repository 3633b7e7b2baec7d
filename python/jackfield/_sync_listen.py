"""The blocking twin of listeners: from an address to channels that others open, a thread for each."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, Unpack

from jackfield import _engine
from jackfield._address import Address
from jackfield._errors import ChannelClosed, NotSupported, TimedOut, TooManyOpenFiles, from_os_error
from jackfield._facts import ListenerFacts
from jackfield._handlers import tell_end
from jackfield._listen import ACCEPT_PAUSE, FileIdentity, ListenerStatistics, open_listener, remove_file
from jackfield._options import OptionFields, Options
from jackfield._private_loop import run_apart
from jackfield._sync import Channel
from jackfield._transports import Setup, prepare

Handler = Callable[[Channel], object]

_log = logging.getLogger("jackfield")

_PATIENCE = 5.0
"""Seconds that handlers have to come to their end once their channels were aborted."""


def listen(address: Address | str, **options: Unpack[OptionFields]) -> Listener:
    """Listen on an address: ``with listen(...) as listener``. Options and errors are those of
    ``jackfield.listen``; for ``tcp``, ``unix`` and ``unix+seqpacket``.
    """
    where = Address.parse(address) if isinstance(address, str) else address
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


class Listener(ListenerFacts):
    """Accepts channels: ``for channel in listener``, ``accept()`` or ``serve(handler)``; from any thread."""

    def __init__(self, setup: Setup, fd: int, address: Address, file: FileIdentity = None) -> None:
        self._setup = setup
        self._address = address
        self._file = file
        self._config = setup.config(0)
        self._native = _engine.BlockingListener(fd, self._config)

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
        """How many clients it has and has refused."""
        return ListenerStatistics(*self._native.clients())

    def accept(self, timeout: float | None = None) -> Channel:
        """The next channel, within ``timeout`` seconds. Ctrl-C or a time-out has taken none.

        Raises ``TimedOut``, ``ChannelClosed`` after ``close``, ``TooManyOpenFiles``.
        """
        try:
            fd = self._native.accept(timeout)
        except TimedOut:
            raise
        except OSError as error:
            raise from_os_error(error, stage="accept", address=self._address) from error
        return Channel(fd, self._setup, self._config, self._native)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Channel:
        try:
            return self.accept()
        except ChannelClosed:
            raise StopIteration from None

    def serve(self, handler: Handler) -> None:
        """Call ``handler`` in a thread of its own for every channel until closed, or until Ctrl-C.

        A channel is closed when its handler returns; when it raises, the error is logged, that channel is
        aborted, and the others go on. At the end the channels of the handlers still running are aborted,
        which ends their waits with ``ChannelClosed``, and the handlers have five seconds to come to an end.
        """
        with _Crew(handler) as crew:
            while True:
                try:
                    crew.start(self.accept())
                except ChannelClosed:
                    return
                except TooManyOpenFiles as failure:
                    _log.warning("%s", failure)
                    time.sleep(ACCEPT_PAUSE)

    @contextmanager
    def serving(self, handler: Handler) -> Iterator[Self]:
        """``serve`` in a thread of its own while the block runs; then the listener is closed."""
        server = threading.Thread(
            target=self.serve, args=(handler,), name=f"serve {self._address}", daemon=True
        )
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


class _Crew:
    """The threads of one ``serve``, and their channels."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._at_work: dict[threading.Thread, Channel] = {}

    def start(self, channel: Channel) -> None:
        thread = threading.Thread(
            target=self._work, args=(channel,), name=f"client {channel.id}", daemon=True
        )
        self._at_work[thread] = channel
        try:
            thread.start()
        except RuntimeError as error:
            # No more threads: this client is refused, the others go on.
            del self._at_work[thread]
            channel.abort()
            _log.warning("%r was aborted: %s", channel, error)

    def _work(self, channel: Channel) -> None:
        try:
            handle(self._handler, channel)
        finally:
            self._at_work.pop(threading.current_thread(), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        left = list(self._at_work.items())
        for _, channel in left:
            channel.abort()
        end = time.monotonic() + _PATIENCE
        for thread, _ in left:
            thread.join(max(0.0, end - time.monotonic()))
        if still := sum(thread.is_alive() for thread, _ in left):
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
