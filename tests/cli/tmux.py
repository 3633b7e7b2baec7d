"""A real terminal for tests: programs in tmux, keys typed, the screen read until it shows what is wanted."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from programs import DEADLINE, need


class Tmux:
    """One tmux server with one window; its shell has the environment given. `end` it."""

    def __init__(
        self, directory: Path, environment: dict[str, str], *, width: int = 80, height: int = 24
    ) -> None:
        need("tmux")
        self._socket = directory / "tmux.sock"
        keep = {"PATH": os.environ["PATH"], "HOME": str(directory), "LANG": "C.UTF-8"}
        self._environment = {**keep, **environment}
        size = ("-x", str(width), "-y", str(height))
        self._do("new-session", "-d", *size, "bash --norc --noprofile")
        self._do("set-option", "-g", "window-size", "manual")
        self.until(lambda shown: shown.strip().endswith(("$", "#")), "a shell")

    def _do(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), "-f", "/dev/null", "-u", *words],
            capture_output=True,
            text=True,
            timeout=30,
            env=self._environment,
        )
        assert done.returncode == 0, (words, done)
        return done.stdout

    def screen(self) -> str:
        """What the terminal shows now."""
        return self._do("capture-pane", "-p")

    def until(self, condition: Callable[[str], object], what: str, *, deadline: float = 2 * DEADLINE) -> str:
        """The screen once it is as wanted."""
        end = time.monotonic() + deadline
        while True:
            shown = self.screen()
            if condition(shown):
                return shown
            if time.monotonic() > end:
                raise AssertionError(f"{what} was not shown:\n{shown}")
            time.sleep(0.02)

    def shows(self, *texts: str) -> str:
        """The screen once it shows all of that."""
        return self.until(lambda shown: all(text in shown for text in texts), repr(texts))

    def hides(self, text: str) -> str:
        """The screen once it does not show that any more."""
        return self.until(lambda shown: text not in shown, f"a screen without {text!r}")

    def type(self, text: str) -> None:
        """Type characters as they are."""
        self._do("send-keys", "-l", "--", text)

    def press(self, *keys: str) -> None:
        """Press keys by tmux's names: Enter, Up, F4, C-c, M-n."""
        self._do("send-keys", "--", *keys)

    def line(self, text: str) -> None:
        """Type a line."""
        self.type(text)
        self.press("Enter")

    def resize(self, width: int, height: int) -> None:
        self._do("resize-window", "-x", str(width), "-y", str(height))

    def run(self, *command: str | Path, environment: dict[str, str] | None = None) -> None:
        """Have the shell start a program, and say its exit code when it is over."""
        words = [f"{name}={shlex.quote(value)}" for name, value in (environment or {}).items()]
        self.line(" ".join([*words, shlex.join(map(str, command)), "; echo ended:$?"]))

    def end(self) -> None:
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            self._do("kill-server")
