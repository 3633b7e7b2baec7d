"""A program on a pseudo-terminal, for tests that type and look. Nothing here sleeps to synchronise."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import time

from programs import DEADLINE


class Terminal:
    """A program on a pseudo-terminal of 80 columns."""

    def __init__(self, *command: str, environment: dict[str, str]) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, {**environment, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"})
        self.shown = b""
        self.code: int | None = None

    def type(self, keys: bytes) -> None:
        os.write(self.fd, keys)

    def seen(self, text: bytes) -> None:
        """Wait until `text` was shown, and forget what came before its end."""
        end = time.monotonic() + DEADLINE
        while text not in self.shown:
            if time.monotonic() > end:
                raise AssertionError(f"{text!r} was not shown: {self.shown!r}")
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:
                    data = b""
                if not data:
                    raise AssertionError(f"{text!r} was not shown before the end: {self.shown!r}")
                self.shown += data
        self.shown = self.shown[self.shown.index(text) + len(text) :]

    def wait(self) -> int:
        """The exit code; the rest of what was shown is in `shown`."""
        while self.code is None:
            if select.select([self.fd], [], [], 0.05)[0]:
                with contextlib.suppress(OSError):
                    self.shown += os.read(self.fd, 65536)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
        return self.code

    def end(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        os.close(self.fd)
