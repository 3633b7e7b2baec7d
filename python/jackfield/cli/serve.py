"""`jackfield serve`: the hub in the foreground.

Owns the order of start and end, signals, and what the hub shows: a live table on a terminal, log
lines otherwise. What is shown goes through a thread with a bounded queue, so that a terminal that
was stopped or a pipe that nobody reads holds up neither clients nor operators.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import queue
import shlex
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import jackfield

from ..hub.assembly import parts_of
from ..hub.control import choose_path, option_text
from ..hub.journal import Event
from ..hub.operators import Operators
from ..hub.plan import Limits, banner, how_to_join, plan_listeners
from ..hub.server import Hub, Settings
from ..hub.state import choose_path as choose_state
from ..hub.text import TextError, line_ending, parse_size
from .views import counted

if TYPE_CHECKING:
    from .live import Screenful

FRAME = 0.5  # seconds between two screenfuls
EVENTS_SHOWN = 5
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def serve(
    addresses: list[str],
    *,
    framing: str,
    eol: str,
    max_clients: int | None,
    queue: str | None,
    max_message: str | None,
    messages: bool,
    plain: bool,
    as_json: bool,
    state: str | None,
    scripts: list[str],
    control: str | None,
) -> None:
    line_ending(eol)
    default = Limits()
    limits = Limits(
        max_clients,
        _size("--queue", queue) if queue else default.queue,
        _size("--max-message", max_message) if max_message else default.max_message,
    )
    parsed = [jackfield.Address.from_command_line(address) for address in addresses]
    plans = plan_listeners(parsed, framing=framing, ending=eol.lower())
    control_path = choose_path(control, os.environ, os.getuid())
    settings = Settings(
        plans,
        control_path,
        limits,
        log_messages=messages,
        state=choose_state(state, control_path, os.environ, os.getuid()),
        state_required=state is not None,
        scripts=[Path(path).absolute() for path in scripts],
    )
    live = sys.stdout.isatty() and not plain and not as_json and os.environ.get("TERM") != "dumb"
    jackfield.run(lambda: _main(settings, live=live, as_json=as_json))


def _size(option: str, text: str) -> int:
    size = parse_size(text)
    if size == 0:
        raise TextError(f"{option} {text}: at least one byte is needed, such as 64K")
    return size


async def _main(settings: Settings, *, live: bool, as_json: bool) -> None:
    hub = Hub(settings, parts=parts_of(settings))
    operators = Operators(hub)
    writer = Writer()
    if not live:
        hub.journal.follow(lambda event: writer.put(_line(event, as_json=as_json)))
    await operators.claim()
    try:
        await hub.open()
        try:
            await operators.open()
            await _serve(hub, writer, live=live, as_json=as_json)
        finally:
            await hub.close()
    finally:
        await operators.close()
        writer.close()


async def _serve(hub: Hub, writer: Writer, *, live: bool, as_json: bool) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue  # started with nohup: stay when the terminal goes
        loop.add_signal_handler(number, hub.stop, signal.Signals(number).name)
    bound = [(listener.address, plan) for listener, plan in hub.listeners]
    option = option_text(hub.settings.control, os.environ, os.getuid())
    lines = banner(
        bound, control_option=option, program=_program(), colour=live and "NO_COLOR" not in os.environ
    )
    writer.put("".join(f"{line}\n" for line in lines), to_stderr=as_json)
    listening = ",".join(str(address.without_options()) for address, _ in bound)
    hub.log("ready", pid=os.getpid(), control=str(hub.settings.control), listening=listening)
    painting = asyncio.create_task(_paint(hub, writer)) if live else None
    try:
        await hub.run()
    finally:
        if painting is not None:
            painting.cancel()
            await asyncio.gather(painting, return_exceptions=True)


def _program() -> str:
    """How a shell starts this command line: by its name, or as it was started where that is not found."""
    if shutil.which("jackfield"):
        return "jackfield"
    if Path(sys.argv[0]).name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m jackfield.cli"
    return shlex.quote(sys.argv[0])


def _line(event: Event, *, as_json: bool) -> str:
    return (json.dumps(event.to_json()) if as_json else event.line()) + "\n"


async def _paint(hub: Hub, writer: Writer) -> None:
    """Show the clients until cancelled; the last screenful stays."""
    from .live import Screenful

    screen: Screenful = Screenful()
    first, plan = hub.listeners[0]
    how = how_to_join(first.address, plan.framing, plan.ending, _program())
    try:
        while True:
            ids = hub.ids()
            # The newest are the ones an operator waits for.
            views = [view for view in map(hub.view, ids[-screen.rows :]) if view is not None]
            events = [event.brief() for event in hub.journal.last(EVENTS_SHOWN)]
            heading = f"{counted(len(ids))} on {counted(len(hub.listeners), 'listener')}; Ctrl-C ends the hub"
            more = len(ids) - len(views)
            writer.draw(partial(screen.show, views, heading=heading, more=more, events=events, how=how))
            await asyncio.sleep(FRAME)
    finally:
        writer.draw(screen.close)


class Writer:
    """A thread that writes what it is given, in order; the newest beyond `limit` are dropped.

    While the disk is full lines are lost, and the first one that is written again says how many. When nobody
    reads any more, nothing is written from then on.
    """

    def __init__(self, *, limit: int = 1000) -> None:
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(limit)
        self._dropped = 0
        self._lost = 0
        self._in_line = False  # the last write ended in the middle of a line
        self._gone = False
        self._thread = threading.Thread(target=self._work, name="jackfield-output", daemon=True)
        self._thread.start()

    def put(self, text: str, *, to_stderr: bool = False) -> None:
        """Write `text`; never waits."""
        dropped = self._dropped
        if dropped:
            text = f"(the reader of this log is slow: {dropped} lines were dropped)\n{text}"
        descriptor = (sys.stderr if to_stderr else sys.stdout).fileno()
        if self.draw(lambda: self._write(descriptor, text)):
            self._dropped -= dropped
        else:
            self._dropped += 1

    def draw(self, work: Callable[[], None]) -> bool:
        """Have the thread do `work`; whether there was room."""
        if self._gone:
            return True
        try:
            self._queue.put_nowait(work)
        except queue.Full:
            return False
        return True

    def _write(self, descriptor: int, text: str) -> None:
        """Write it whole. Not through the stream, which would keep what the disk did not take."""
        if self._lost:
            text = f"(the disk was full: {counted(self._lost, 'line')} missing here)\n{text}"
        left = memoryview((("\n" if self._in_line else "") + text).encode(errors="replace"))
        whole = len(left)
        try:
            while left:
                left = left[os.write(descriptor, left) :]
        except OSError as error:
            self._in_line |= len(left) < whole
            if error.errno not in _NO_ROOM:
                raise
            self._lost += 1
        else:
            self._in_line = False
            self._lost = 0

    def close(self, *, patience: float = 0.2) -> None:
        """Write what waits, as far as it is read within `patience` seconds."""
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(patience)

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                if not self._gone:
                    work()
            except (OSError, ValueError):
                self._gone = True  # nobody reads: the hub goes on without
                _silence()


def _silence() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
