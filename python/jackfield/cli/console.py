"""`jackfield console`, and the same window in `jackfield serve`.

The window is a program of its own beside the hub, which it reaches over the control socket like any console:
a terminal that takes its time holds up nobody, and whatever becomes of the two, the terminal is put back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..hub.control import ENVIRONMENT_VARIABLE
from ..hub.display import safe_text
from ..hub.operator import NoHub, Operator
from ..hub.protocol import RELOADED, RequestError
from .completion import offers, read_commands
from .failures import FAILED, Failure
from .operate import control_path, with_hub

if TYPE_CHECKING:
    from ..console.state import ConsoleState

PROGRAM: Final = (sys.executable, "-m", "jackfield.cli")
PATIENCE: Final = 2.0  # seconds that a window has to put the terminal back
# Leave the alternate screen, show the cursor, plain text, no bracketed paste.
PUT_BACK: Final = b"\x1b[?1049l\x1b[?25h\x1b[0m\x1b[?2004l\r"


def has_terminal(environment: Mapping[str, str]) -> bool:
    """Whether there is a terminal that can show a window, and this program is in its foreground."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or environment.get("TERM", "dumb") in ("", "dumb"):
        return False
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except OSError:
        return False


def console(*, serving: bool, control: str | None) -> None:
    if not has_terminal(os.environ):
        raise Failure(
            "the console needs a terminal that can move its cursor (see TERM)",
            "without one use 'jackfield clients', 'jackfield talk' and the other commands",
            code=FAILED,
        )
    from ..console.state import ConsoleState

    path = control_path(control)
    state = ConsoleState(own=f"pid:{os.getpid()}", serving=serving)
    try:
        while not with_hub(control, lambda operator: _show(operator, path, state)):
            pass
    except NoHub:
        if not serving:
            raise
    if not serving:
        print("Left the console; the hub goes on. Come back with: jackfield console")


async def _show(operator: Operator, path: Path, state: ConsoleState) -> bool:
    """Show the window until the operator leaves; False if the hub was reloaded, and another one goes on."""
    from ..console.completing import Offer
    from ..console.console import CommandLine, Console
    from ..console.history import LineHistory, history_path
    from ..console.window import Screen
    from .app import app

    commands = read_commands(app)

    def offered(before: Sequence[str], begun: str) -> list[Offer]:
        return [Offer(offer.word, offer.about) for offer in offers(commands, before, begun)]

    command_line = CommandLine(
        program=PROGRAM,
        environment={**os.environ, ENVIRONMENT_VARIABLE: str(path)},
        commands={name: "" if command.hidden else command.about for name, command in commands.items()},
        offers=offered,
    )
    screen = Screen(state, history=LineHistory(history_path(os.environ)), offers=offered)
    screen.console = Console(operator, state, command_line, screen.changed)
    screen.console.leave = screen.leave
    try:
        await screen.run(screen.console.run)
    except RequestError as problem:
        if problem.code != RELOADED or state.serving:
            raise
        state.begin_anew(safe_text(problem.message))
        return False
    return True


class HubWindow:
    """The window of a hub in the foreground: a console in a process of its own, on the hub's terminal."""

    def __init__(self, control: Path) -> None:
        self._control = control
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def open(self, ended: Callable[[], None]) -> None:
        """Show it; `ended` is called when it is gone and was not told to go."""
        self._task = asyncio.create_task(self._run(ended))

    async def _run(self, ended: Callable[[], None]) -> None:
        terminal = sys.stdin.fileno()
        mode = termios.tcgetattr(terminal)
        self._process = await asyncio.create_subprocess_exec(
            *PROGRAM, "console", "--serving", "--control", str(self._control), stderr=subprocess.PIPE
        )
        _, said = await self._process.communicate()
        if self._process.returncode:
            os.write(sys.stdout.fileno(), PUT_BACK)
            with contextlib.suppress(termios.error):
                termios.tcsetattr(terminal, termios.TCSADRAIN, mode)
            sys.stderr.write(said.decode(errors="replace"))
            sys.stderr.flush()
        if not self._closing:
            ended()

    def terminate(self) -> None:
        """Have it give the terminal back."""
        self._closing = True
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    async def close(self) -> None:
        """Wait until it has; one that does not is killed, and the terminal put back for it."""
        self.terminate()
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._task), PATIENCE)
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
        await self._task
