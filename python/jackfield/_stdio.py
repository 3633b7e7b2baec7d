"""``stdio:``: standard input and output as a channel, whatever they are: pipes, terminals, files.

Non-blocking mode belongs to the open file, not to the descriptor: set here, it would be set for the shell
whose terminal it is, and for every program that shares it; and epoll takes no regular files. So both
descriptors are left as they are. A thread each moves the bytes between them and a socket pair, of which the
channel has the other end. Nothing is read from standard input before it says that something is there, and
nothing once the channel is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import socket
import sys
import threading
import weakref
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from jackfield._channel import Channel
from jackfield._errors import ChannelBusy, ChannelLost, NotSupported, TimedOut
from jackfield._loop import current_reactor
from jackfield._transports import Setup

_INPUT, _OUTPUT = 0, 1
_CHUNK = 64 * 1024
_BUFFER = 64 * 1024
"""Bytes that the input thread may run ahead of whoever receives."""

_PATIENCE = 1.0
"""Seconds that a close waits for the input thread, which another reader of the same input may hold up."""

_in_use = threading.Lock()


class StdioChannel(Channel):
    """A channel over standard input and output; see ``connect``."""

    __slots__ = ("_pump",)

    _pump: _Pump

    def send_eof(self) -> None:
        """End standard output once everything queued has left; receiving goes on.

        Whoever reads it sees the end. What the program prints later goes nowhere (/dev/null).
        """
        super().send_eof()
        self._pump.ends = True

    def close(self, timeout: float | None = None) -> Coroutine[Any, Any, None]:
        """Close the channel: what is queued is still written, for at most ``timeout`` seconds.

        Awaited, it waits for that. Both descriptors stay open, in the mode that they had. Raises
        ``TimedOut``, and ``ChannelLost`` if the file that is standard output did not take
        all (its disk is full). A reader of a pipe that has gone wants no more: only ``send`` tells of it.
        """
        return self._closing(super().close(timeout), timeout)

    async def _closing(self, ending: Coroutine[Any, Any, None], timeout: float | None) -> None:
        self._pump.stop_reading()
        await ending
        try:
            await asyncio.wait_for(self._pump.written.wait(), timeout)
        except TimeoutError:
            raise TimedOut(
                f"standard output did not take everything within {timeout:g} s", stage="close"
            ) from None
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._pump.done.wait(), _PATIENCE)
        failure, self._pump.failure = self._pump.failure, None
        if failure is not None and failure.errno != errno.EPIPE:
            raise ChannelLost(
                f"standard output did not take everything: {failure.strerror}",
                errno=failure.errno,
                stage="close",
            ) from failure

    def abort(self) -> None:
        """Close at once: what is queued is dropped."""
        self._pump.stop_reading()
        super().abort()

    def detach(self) -> int:
        """Not possible: there are two descriptors."""
        raise NotSupported("stdio: is two descriptors, 0 and 1; close() the channel and use them")

    def _send_fds(self, *_: Any, **__: Any) -> Coroutine[Any, Any, None]:
        raise NotSupported("the stdio channel cannot do send_fds(): it is for unix:, unix+seqpacket:, pair:")


class _Pump:
    """Two threads, and the inner end of the socket pair."""

    def __init__(self, inner: socket.socket) -> None:
        self.ends = False
        """Standard output ends with the stream, and not only the channel."""
        self.failure: OSError | None = None
        """Why standard output did not take all."""
        self.written = asyncio.Event()
        self.done = asyncio.Event()
        self._inner = inner
        self._loop = asyncio.get_running_loop()
        self._stop, self._stopped = os.pipe()
        self._running = 2
        self._lock = threading.Lock()
        for work, name in ((self._read, "stdin"), (self._write, "stdout")):
            threading.Thread(target=work, name=f"jackfield-{name}", daemon=True).start()

    def stop_reading(self) -> None:
        """Read no more from standard input: what comes is for whoever reads it next."""
        with self._lock:
            if self._stopped >= 0:
                os.close(self._stopped)
                self._stopped = -1

    def _read(self) -> None:
        ready = select.poll()
        ready.register(_INPUT, select.POLLIN)
        ready.register(self._stop, select.POLLIN)
        try:
            while True:
                events = dict(ready.poll())
                if self._stop in events:
                    return
                try:
                    data = os.read(_INPUT, _CHUNK)
                except BlockingIOError:
                    continue  # somebody else has taken it
                except OSError:
                    break  # a terminal that was hung up says EIO
                if not data:
                    break
                self._inner.sendall(data)
            self._inner.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the channel is closed
        finally:
            os.close(self._stop)
            self._finished()

    def _write(self) -> None:
        try:
            while data := self._inner.recv(_CHUNK):
                rest = memoryview(data)
                while rest:
                    try:
                        rest = rest[os.write(_OUTPUT, rest) :]
                    except BlockingIOError:
                        waits = select.poll()
                        waits.register(_OUTPUT, select.POLLOUT)
                        waits.poll()
            if self.ends:
                _replace_output()
        except OSError as error:
            # Nobody reads standard output any more, or it is full: whoever sends is to hear of it.
            self.failure = error
            with contextlib.suppress(OSError):
                self._inner.shutdown(socket.SHUT_RD)
        finally:
            self._tell(self.written)
            self._finished()

    def _finished(self) -> None:
        with self._lock:
            self._running -= 1
            last = self._running == 0
        if last:
            self._inner.close()
            self.stop_reading()
            _in_use.release()
            self._tell(self.done)

    def _tell(self, event: asyncio.Event) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(event.set)


def open_stdio(setup: Setup) -> StdioChannel:
    """The channel. Raises ``ChannelBusy`` while there is another, ``NotSupported`` without descriptors."""
    for stream, name, instead in ((sys.__stdin__, "input", "<"), (sys.__stdout__, "output", ">")):
        if stream is None:
            raise NotSupported(
                f"stdio: standard {name} was closed when the program began: its number may be another file's",
                hint=f"start the program with {instead}/dev/null",
            )
    reactor = current_reactor()
    setup = replace(setup, address=setup.address.without_options())
    if not _in_use.acquire(blocking=False):
        raise ChannelBusy(
            "stdio: is open already in this process",
            hint="close() the first channel, or share it; a terminal's line that it waits for may be due",
        )
    try:
        outer, inner = socket.socketpair()
        try:
            inner.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            link = reactor.adopt(outer.fileno(), setup.config(socket.AF_UNIX), socket.AF_UNIX, False)
        except BaseException:
            outer.close()
            inner.close()
            raise
        outer.detach()
        channel = StdioChannel(reactor, setup, link)
        channel._pump = _Pump(inner)
    except BaseException:
        _in_use.release()
        raise
    weakref.finalize(channel, channel._pump.stop_reading)
    return channel


def _replace_output() -> None:
    """Let go of standard output, so that its reader sees the end; the number stays taken."""
    nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(nothing, _OUTPUT)
    os.close(nothing)
