"""The processes of a hub that is reloaded: how a successor is started, and who waits for it.

Who started the hub - a shell, a container - waits for the process that it started. So the first one stays
when it has handed everything over: it passes signals on, waits for its successors, and ends as the last one
does. Under a service manager that follows the hub (NOTIFY_SOCKET) nobody has to stay.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

from ..hub.successor import give_up

_KEPT: Final = "JACKFIELD_KEPT"  # in the environment of those whose first predecessor stays
_PR_SET_CHILD_SUBREAPER: Final = 36
_PASSED_ON: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def command() -> list[str]:
    """What starts this program again, with the same arguments and the same Python."""
    return [sys.executable, "-m", "jackfield.cli", *sys.argv[1:]]


@contextlib.contextmanager
def told(handed: int | None) -> Iterator[None]:
    """A successor that fails in the block tells its predecessor why."""
    try:
        yield
    except Exception as problem:
        if handed is not None:
            give_up(handed, str(problem), getattr(problem, "hint", "") or "")
        raise


def keep(successor: int) -> None:
    """Stay until the last successor has ended, and end as it did; does nothing where somebody else stays."""
    if os.environ.get(_KEPT):
        return
    # Whoever a successor leaves behind becomes our child (prctl(2)).
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def pass_on(number: int, frame: FrameType | None) -> None:
        for child in _children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)

    for number in _PASSED_ON:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, pass_on)
    status = 0
    while True:
        try:
            _, status = os.waitpid(-1, 0)
        except ChildProcessError:
            break
    sys.exit(code if (code := os.waitstatus_to_exitcode(status)) >= 0 else 128 - code)


def _children() -> list[int]:
    found = []
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if process.name.isdigit() and _parent_of((process / "stat").read_bytes()) == os.getpid():
                found.append(int(process.name))
    return found


def _parent_of(status: bytes) -> int:
    """The parent in a process's status (proc_pid_stat(5)); the name before it may hold anything."""
    return int(status.rpartition(b")")[2].split()[1])
