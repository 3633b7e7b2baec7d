"""Standard input and output for an event loop: neither ever blocks it.

Owns the two ends of a pipe. Input is read as it comes, at most 64 KiB at a time; output waits for
whoever reads it, and only what waits for it waits. Works with pipes, terminals, sockets, files and
devices; descriptors that are shared with other programs keep their flags.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import stat

CHUNK = 64 * 1024


class Input:
    """A descriptor to read from."""

    def __init__(self, fd: int, *, chunk: int = CHUNK) -> None:
        self._fd = fd
        self._chunk = chunk
        self._pollable = _is_pollable(fd)

    async def read(self) -> bytes:
        """What is there, waiting for at least one byte; b"" at the end. Cancelled, nothing is lost."""
        if self._pollable and not select.select([self._fd], [], [], 0)[0]:
            await _wait(self._fd, writing=False)
        try:
            return os.read(self._fd, self._chunk)
        except OSError:  # a terminal that hung up, a descriptor that was never open
            return b""


class Output:
    """A descriptor to write to. Raises `BrokenPipeError` when nobody reads it any more."""

    def __init__(self, fd: int) -> None:
        self._fd, self._socket = _non_blocking(fd)
        self._own = self._fd != fd
        self._turn = asyncio.Lock()

    async def write(self, data: bytes) -> None:
        """Write everything, waiting while whoever reads is slow. Cancelled, a part may be written.

        Several may write at a time: each one's data stays together.
        """
        async with self._turn:
            rest = memoryview(data)
            while rest:
                try:
                    rest = rest[self._write(rest) :]
                except BlockingIOError:
                    await _wait(self._fd, writing=True)

    def close(self) -> None:
        """Give back what was opened for this; the descriptor itself stays open."""
        if self._socket is not None:
            self._socket.close()
        elif self._own:
            os.close(self._fd)

    def _write(self, data: memoryview) -> int:
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        return os.write(self._fd, data)


def _is_pollable(fd: int) -> bool:
    """Whether waiting for `fd` means anything: not for files, which are always ready."""
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)


def _non_blocking(fd: int) -> tuple[int, socket.socket | None]:
    """A descriptor for the same thing that never blocks, leaving the flags of `fd` to those who share it."""
    if not _is_pollable(fd):
        return fd, None
    if stat.S_ISSOCK(os.fstat(fd).st_mode):
        return fd, socket.socket(fileno=os.dup(fd))
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), None
    except OSError:
        return fd, None  # it may block; nothing else can be had


async def _wait(fd: int, *, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def done() -> None:
        if not ready.done():
            ready.set_result(None)

    if writing:
        loop.add_writer(fd, done)
    else:
        loop.add_reader(fd, done)
    try:
        await ready
    finally:
        if writing:
            loop.remove_writer(fd)
        else:
            loop.remove_reader(fd)
