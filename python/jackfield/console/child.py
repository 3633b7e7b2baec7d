"""A command of the command line, done in a process of its own, its output as lines.

Owns that process. It has a terminal of its own, as wide as the console, so that it prints what it prints for
people; no input; and it can be ended. What it prints comes out as safe text.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ..hub.display import safe_text

LONGEST_LINE: Final = 8192  # characters
PATIENCE: Final = 2.0  # seconds that a command has to end after Ctrl-C, before it is killed


class Child:
    """One command. `run` it; `interrupt` ends it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        width: int,
        said: Callable[[str], None],
    ) -> None:
        self._command = command
        self._environment = {**environment, "TERM": "dumb", "NO_COLOR": "1"}
        self._width = width
        self._said = said
        self._process: asyncio.subprocess.Process | None = None
        self._text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")

    async def run(self, started: Callable[[int], None] = lambda pid: None) -> int:
        """The exit code; `started` is told the pid. Cancelled, the command is killed."""
        ours, theirs = pty.openpty()
        try:
            os.set_blocking(ours, False)
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, max(20, self._width), 0, 0))
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=theirs,
                    stderr=theirs,
                    env=self._environment,
                    start_new_session=True,
                )
            finally:
                os.close(theirs)
            started(self._process.pid)
            try:
                await self._read(ours)
                return await self._process.wait()
            finally:
                self._kill()
        finally:
            os.close(ours)

    def interrupt(self) -> None:
        """Ctrl-C for the command; if it takes that badly it is killed soon."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGINT)
            asyncio.get_running_loop().call_later(PATIENCE, self._kill)

    def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def _read(self, fd: int) -> None:
        """Read until nobody holds the other end any more."""
        loop = asyncio.get_running_loop()
        while True:
            ready = loop.create_future()
            loop.add_reader(fd, _set, ready)
            try:
                await ready
            finally:
                loop.remove_reader(fd)
            try:
                data = os.read(fd, 65536)
            except BlockingIOError:
                continue
            except OSError:  # the last one closed its end
                data = b""
            self._take(self._decoder.decode(data, final=not data))
            if not data:
                if self._text:
                    self._say(self._text)
                return

    def _take(self, text: str) -> None:
        *lines, self._text = (self._text + text).split("\n")
        for line in lines:
            self._say(line)
        if len(self._text) > LONGEST_LINE:
            self._say(self._text)
            self._text = ""

    def _say(self, line: str) -> None:
        """A line; of one that was written over again and again the last state."""
        shown = line.rstrip("\r").rpartition("\r")[2]
        self._said(safe_text(shown.expandtabs()))


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
