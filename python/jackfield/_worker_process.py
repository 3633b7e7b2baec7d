"""What one worker process does: it serves the listener's socket, which it shares with the others.

A new client should go to the worker that has the fewest. Every worker writes its number of clients into
memory that all share; one that has more than another lets a millisecond pass before it accepts, in which the
other is first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection, parent_process, reduction
from typing import Any, Protocol

from jackfield import _engine
from jackfield._address import Address
from jackfield._errors import TimedOut, from_os_error
from jackfield._listen import ACCEPT_PAUSE, Listener
from jackfield._loop import current_reactor, run
from jackfield._transports import Setup

_log = logging.getLogger("jackfield")

_COURTESY = 0.001
"""Seconds that a worker waits before it accepts, for each client that it has more than another, ..."""
_MOST_COURTESY = 0.02
"""... and at most: who has fewer gets a processor meanwhile, on a busy machine, too."""
_TOGETHER = 1.0
"""Seconds that a new worker waits for others that are being started."""

NOT_READY = -1
"""In place of a number of clients."""


class Shares(Protocol):
    """How many clients each worker has, in memory that all share."""

    def __getitem__(self, number: int, /) -> int: ...
    def __setitem__(self, number: int, clients: int, /) -> None: ...
    def __len__(self) -> int: ...


class Inherited:
    """A descriptor that a process gets when it is started."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __reduce__(self) -> tuple[Callable[[Any], Inherited], tuple[Any]]:
        return _received, (reduction.DupFd(self.fd),)


def _received(handle: Any) -> Inherited:
    return Inherited(handle.detach())


@dataclass(frozen=True)
class Task:
    """What a worker is told."""

    handler: Callable[..., Any]
    is_asynchronous: bool
    setup: Setup
    socket: Inherited
    address: Address
    number: int


class Share:
    """This worker's number of clients among the others'."""

    def __init__(self, shares: Shares, number: int) -> None:
        self._shares = shares
        self._number = number
        self._lock = threading.Lock()

    def change(self, clients: int) -> None:
        """So many more clients."""
        with self._lock:
            self._shares[self._number] += clients

    @property
    def courtesy(self) -> float:
        """Seconds to leave a new client to those that have fewer."""
        counts = [self._shares[number] for number in range(len(self._shares))]
        fewest = min(count for count in counts if count >= 0)
        return min(_MOST_COURTESY, _COURTESY * max(0, counts[self._number] - fewest))

    def start(self) -> None:
        """This worker is ready: wait for the others, a second at most, so that all begin together."""
        self._shares[self._number] = 0
        end = time.monotonic() + _TOGETHER
        while min(self._shares[number] for number in range(len(self._shares))) < 0:
            if time.monotonic() > end:
                return
            time.sleep(_COURTESY)


def work(task: Task, shares: Shares, tell: connection.Connection) -> None:
    """The whole life of a worker: until SIGTERM, or until its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()
    share = Share(shares, task.number)
    if task.is_asynchronous:
        run(lambda: _serve(task, share, tell))
    else:
        _serve_blocking(task, share, tell)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _tell_ready(tell: connection.Connection) -> None:
    tell.send_bytes(b"ready")
    tell.close()


async def _serve(task: Task, share: Share, tell: connection.Connection) -> None:
    loop = asyncio.get_running_loop()
    reactor, fd = current_reactor(), task.socket.fd
    with socket.socket(fileno=os.dup(fd)) as plain:
        family = plain.family
        link = reactor.adopt(plain.detach(), task.setup.config(family), family, True)
    if task.setup.protocol == "tls":
        # Whose turn it is, is seen to before the handshake; accepted is behind it.
        _engine.tls_admit_singly(reactor, link)
    listener = Listener(reactor, link, task.setup)
    listener._file = None  # the socket's file is the parent's
    listener._count = share.change
    serving = asyncio.current_task()
    assert serving is not None
    loop.add_signal_handler(signal.SIGTERM, serving.cancel)

    async def look() -> None:
        await _readable(loop, fd)
        if courtesy := share.courtesy:
            await asyncio.sleep(courtesy)

    async def accept() -> Any:
        while True:
            await look()
            with contextlib.suppress(TimedOut):
                return await listener.accept(0.0)

    async def admit() -> None:
        while True:
            await look()
            try:
                _engine.tls_admit(reactor, link)
            except OSError as error:
                _log.warning("%s", from_os_error(error, stage="accept", address=task.address))
                await asyncio.sleep(ACCEPT_PAUSE)

    await asyncio.to_thread(share.start)
    _tell_ready(tell)
    with contextlib.suppress(asyncio.CancelledError):
        if task.setup.protocol == "tls":
            admitting = asyncio.create_task(admit())
            try:
                await listener._serve(task.handler, listener.accept)
            finally:
                admitting.cancel()
        else:
            await listener._serve(task.handler, accept)
    await listener.close()


async def _readable(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    """Wait until somebody wants to be accepted."""
    waiting = loop.create_future()

    def tell() -> None:
        loop.remove_reader(fd)
        if not waiting.done():
            waiting.set_result(None)

    loop.add_reader(fd, tell)
    try:
        await waiting
    finally:
        loop.remove_reader(fd)


def _serve_blocking(task: Task, share: Share, tell: connection.Connection) -> None:
    from jackfield._sync_listen import Crew
    from jackfield._sync_listen import Listener as BlockingListener

    def end(*_: object) -> None:
        raise SystemExit(0)

    def wait_courteously() -> None:
        if courtesy := share.courtesy:
            time.sleep(courtesy)

    listener = BlockingListener(task.setup, task.socket.fd, task.address)
    listener._before_look = wait_courteously
    with Crew(task.handler, share.change) as crew:
        signal.signal(signal.SIGTERM, end)
        share.start()
        _tell_ready(tell)
        with listener:
            while True:
                crew.accept_from(listener)
