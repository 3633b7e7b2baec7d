"""The command line: `jackfield`. An application over the public library and the hub's control socket.

Only `app` (names, options, help) is read for `--help` and completion; each command brings its own
module when it runs:

    app         every command, its options and its help
    completion  what a shell is offered
    failures    exit codes, and how an error becomes one line
    operate     clients, send, broadcast, rename, kick, logs, status, stop
    views       what those print: tables and lines
    talk        a conversation with one client; `editor` is the typed line, `screen` the terminal
    serve       the hub in the foreground; `live` its table on a terminal
    netcat      connect and listen; `streams` is standard input and output without blocking
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

_INTERRUPTED = 130  # `failures.INTERRUPTED`, before anything is imported


def main() -> None:
    """The `jackfield` command. Ctrl-C while modules are still being imported ends it quietly, with 130."""
    try:
        is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if is_usual:  # not in the background of a shell, where Ctrl-C is for others
            signal.signal(signal.SIGINT, _leave)
        _fill_standard_streams()
        from .app import run

        if is_usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = _INTERRUPTED
    sys.exit(code)


def _leave(*_: Any) -> None:
    """End at once: an exception would come out of whatever module is being imported, as a traceback."""
    os._exit(_INTERRUPTED)


def _fill_standard_streams() -> None:
    """Open /dev/null where a standard stream is closed, or the first socket would take its number."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is `fd`
            setattr(sys, name, open(fd, "r" if fd == 0 else "w", closefd=False))  # noqa: SIM115 - to the end
