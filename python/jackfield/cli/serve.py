"""`jackfield serve`: the hub in the foreground.

Owns the order of start and end, signals, and what the hub shows: the console's window on a terminal, log
lines otherwise. The window is a program of its own, and lines go through a thread with a bounded queue, so
that a terminal that was stopped or a pipe that nobody reads holds up neither clients nor operators.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import queue
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jackfield

from ..hub.assembly import parts_of
from ..hub.control import choose_path, option_text
from ..hub.dial_plan import plan_dial
from ..hub.identify import parse_rule
from ..hub.joining import banner
from ..hub.log_directory import parse_keep
from ..hub.log_format import FORMATS, line
from ..hub.notify import Notifier
from ..hub.operators import Operators
from ..hub.plan import AccessUndecided, Limits, PlanError, plan_listeners
from ..hub.protocol import RequestError
from ..hub.reload import LOG_PATIENCE, Reloader
from ..hub.security.certificate import Files, pin_of, prepare, renew_certificates, with_certificate
from ..hub.server import Hub, Settings
from ..hub.settings import KEEP
from ..hub.state import choose_path as choose_state
from ..hub.successor import Succession, inherited_socket
from ..hub.text import TextError, line_ending, parse_duration, parse_size
from ..hub.web_door import WebDoor
from ..recording.retention import Keep
from ..web import Web
from .configuring import trying
from .console import HubWindow, has_terminal
from .succession import command, keep, told
from .views import counted

_reloading: set[asyncio.Future[None]] = set()  # asyncio itself holds tasks weakly
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def serve(
    addresses: list[str], *, plain: bool, as_json: bool, log_format: str | None, **options: Any
) -> None:
    form = "json" if as_json else log_format or "text"
    if form not in FORMATS:
        raise TextError(f"unknown log format {form!r}; known are {', '.join(FORMATS)}")
    if trying.get():
        settings_of(addresses, **options)
        return
    handed = inherited_socket(os.environ)
    with told(handed):
        settings = settings_of(addresses, **options)
        every = [*settings.listeners, *settings.operators]
        files = None if settings.state is None else Files.beside(settings.state)
        settings = replace(settings, pin=prepare(every, files))
    live = not plain and not as_json and log_format is None and has_terminal(os.environ)
    successor = jackfield.run(lambda: _main(settings, handed, live=live, form=form))
    if successor and not os.environ.get("NOTIFY_SOCKET"):
        keep(successor)


def settings_of(
    addresses: list[str],
    *,
    config: str | None,
    metrics: str | None,
    web: str | None,
    audit: str | None,
    forget_after: str | None,
    framing: str,
    eol: str,
    max_clients: int | None,
    queue: str | None,
    max_message: str | None,
    messages: bool,
    identify: str,
    state: str | None,
    scripts: list[str],
    log_dir: str | None,
    log_keep: str | None,
    dials: list[str],
    control: str | None,
) -> Settings:
    """What the options mean. Opens nothing; raises for what they cannot mean."""
    if not addresses:
        raise PlanError(
            "there is nothing to listen on", "give an ADDRESS, or a configuration with listen = [...]"
        )
    line_ending(eol)
    default = Limits()
    limits = Limits(
        max_clients,
        _size("--queue", queue) if queue else default.queue,
        _size("--max-message", max_message) if max_message else default.max_message,
    )
    parsed = [jackfield.Address.from_command_line(address) for address in addresses]
    try:
        plans = plan_listeners(parsed, framing=framing, ending=eol.lower(), identify=parse_rule(identify))
    except AccessUndecided as problem:
        problem.hint = _line_to_copy(problem, sys.argv[1:], parsed)
        raise
    control_path = choose_path(control, os.environ, os.getuid())
    state_path = choose_state(state, control_path, os.environ, os.getuid())
    try:
        plans = with_certificate(plans, None if state_path is None else Files.beside(state_path))
    except ValueError as problem:
        raise PlanError(str(problem)) from None
    for plan in plans:
        # What the listener will be opened with is looked at as `listen` does.
        jackfield.Options.from_address(plan.address).merge(**plan.options(limits))
    return Settings(
        [plan for plan in plans if not plan.control],
        control_path,
        limits,
        log_messages=messages,
        state=state_path,
        state_required=state is not None,
        scripts=[Path(path).absolute() for path in scripts],
        log_directory=None if log_dir is None else Path(log_dir).absolute(),
        log_keep=_keep(log_dir, log_keep),
        dials=[
            plan_dial(jackfield.Address.from_command_line(dial), framing=framing, ending=eol.lower())
            for dial in dials
        ],
        config=None if config in (None, "none") else Path(config),
        metrics=_metrics_address(metrics),
        web=_web_address(web),
        operators=[plan for plan in plans if plan.control],
        audit=_audit_path(audit, state_path),
        forget_after=_age("--forget-after", forget_after),
    )


def _age(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    seconds = parse_duration(text)
    if seconds < 60.0:
        raise TextError(f"{option} {text} is too short: a minute at least")
    return seconds


def _audit_path(given: str | None, state: Path | None) -> Path | None:
    if given is not None:
        return None if given == "none" else Path(given).expanduser().absolute()
    return None if state is None else state.with_suffix(".audit")


def _line_to_copy(
    problem: AccessUndecided, words: Sequence[str], addresses: Sequence[jackfield.Address]
) -> str:
    """What to type to get what was asked for, with consent; the addresses may be those of a configuration."""
    consents: dict[jackfield.Address, str] = {}
    for address in addresses:
        try:
            plan_listeners([address])
        except AccessUndecided as other:
            consents[address] = other.consenting
        except PlanError:
            pass
    line, changed = ["jackfield"], False
    for word in words:
        try:
            consent = consents.get(jackfield.Address.from_command_line(word))
        except ValueError:
            consent = None
        changed |= consent is not None
        line.append(consent or word)
    if not changed:
        return problem.hint
    return (
        f"to let in whoever comes, run: {shlex.join(line)} (allow=192.168.1.0/24 beside access= is for one "
        f"network alone); for this machine alone, write {problem.private}"
    )


def _metrics_address(text: str | None) -> jackfield.Address | None:
    if text is None:
        return None
    address = _address("--metrics", text, "127.0.0.1:9100")
    if address.scheme not in ("tcp", "unix"):
        raise PlanError(f"--metrics {text}: figures are served over tcp: and unix:", "such as 127.0.0.1:9100")
    return address


def _address(option: str, text: str, example: str) -> jackfield.Address:
    try:
        return jackfield.Address.from_command_line(text)
    except jackfield.InvalidAddress as problem:
        raise PlanError(f"{option} {text}: {problem.message}", f"such as {example}") from None


def _web_address(text: str | None) -> jackfield.Address | None:
    if text is None:
        return None
    address = _address("--web", text, "127.0.0.1:8080")
    if address.scheme not in ("tcp", "tls"):
        raise PlanError(f"--web {text}: the web console is served over TCP", "such as 127.0.0.1:8080")
    return address


def _size(option: str, text: str) -> int:
    size = parse_size(text)
    if size == 0:
        raise TextError(f"{option} {text}: at least one byte is needed, such as 64K")
    return size


def _keep(directory: str | None, keep: str | None) -> Keep:
    kept = KEEP if keep is None else parse_keep(keep)
    if keep is not None and directory is None and not trying.get():  # `config` tries each value by itself
        raise TextError(f"--log-keep {keep}: there is nothing to keep without --log-dir DIR")
    return kept


async def _main(settings: Settings, handed: int | None, *, live: bool, form: str) -> int:
    """Serve until the end; the pid of the successor, if there is one."""
    succession = None
    if handed is not None:
        succession = Succession(handed)
        with succession.or_nothing():
            await succession.receive(settings.listeners, settings.limits)
    hub = Hub(
        settings,
        parts=[*parts_of(settings), Web(settings.web)],
        first_id=1 if succession is None else succession.held.next_id,
    )
    operators = Operators(hub)
    reloader = hub.reloader = Reloader(hub, operators, command(), os.environ)
    writer = Writer()
    reloader.log_written = writer.written
    window = HubWindow(settings.control) if live else None
    if window is None:
        _write_log(hub, writer, form)
    if succession is None:
        await operators.claim()
    try:
        await _open(hub, operators, succession)
        try:
            await _serve(hub, writer, window, succession, form)
        finally:
            if window is not None:
                window.terminate()
            await reloader.cancel()
            if hub.successor:
                await operators.hand_over(hub.successor)
            await hub.close()
            if hub.successor:
                if window is not None:
                    await window.close()
                writer.close(patience=LOG_PATIENCE)
                reloader.part()
                await asyncio.sleep(max(0.0, hub.delivering_until - time.monotonic()))
    finally:
        await operators.close()
        if window is not None:
            await window.close()
        writer.close()
    return hub.successor


async def _open(hub: Hub, operators: Operators, succession: Succession | None) -> None:
    if succession is not None:
        with succession.or_nothing():
            listening, lock = succession.control
            await operators.claim(inherited=lock)
            await hub.open(succession=succession)
            await operators.open(inherited=listening)
            await succession.serving()
        operators.own()
        return
    await hub.open()
    try:
        await operators.open()
    except BaseException:
        await hub.close()
        raise


def _handle_signals(hub: Hub) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, hub.stop, signal.Signals(number).name)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return  # started with nohup: stay when the terminal goes
    if any(map(os.isatty, (0, 1, 2))):
        loop.add_signal_handler(signal.SIGHUP, hub.stop, "SIGHUP")
    else:
        loop.add_signal_handler(signal.SIGHUP, _reload, hub)


def _reload(hub: Hub) -> None:
    """With clients over TLS certificates alone: their connections could not be handed over."""
    if renew_certificates(hub):
        if (door := hub.part(WebDoor)) is not None:
            door.renew_certificate()
        return

    async def work() -> None:
        assert hub.reloader is not None
        with contextlib.suppress(RequestError):  # the log has it
            await hub.reloader.reload(by="SIGHUP")
            hub.leave()

    task = asyncio.ensure_future(work())
    _reloading.add(task)
    task.add_done_callback(_reloading.discard)


async def _serve(
    hub: Hub, writer: Writer, window: HubWindow | None, succession: Succession | None, form: str
) -> None:
    _handle_signals(hub)
    bound = [(listener.address, plan) for listener, plan in hub.listeners]
    option = option_text(hub.settings.control, os.environ, os.getuid())
    colour = window is not None and "NO_COLOR" not in os.environ
    pins = {plan.address: pin_of(plan) for _, plan in bound}
    operators = [listener.address for listener, _ in hub.security.listeners]
    lines = banner(
        bound, control_option=option, program=_program(), colour=colour, pins=pins, operators=operators
    )
    if succession is None:
        writer.put("".join(f"{line}\n" for line in lines), to_stderr=form != "text")
    listening = ",".join(str(address.without_options()) for address, _ in bound)
    more: dict[str, Any] = {"listening": listening} if listening else {}
    if operators:
        more["operators"] = ",".join(str(address.without_options()) for address in operators)
    if hub.settings.config is not None:
        more["config"] = str(hub.settings.config)
    if succession is not None:
        more |= {"predecessor": succession.predecessor, "kept": succession.kept}
    hub.log("ready", pid=os.getpid(), control=str(hub.settings.control), **more)
    showing = asyncio.create_task(_show(hub, writer, window, succession))
    notifier = Notifier(os.environ)
    if succession is None:
        notifier.ready(counted(len(hub)))  # of a successor its predecessor says so
    living = asyncio.create_task(_tell_manager(hub, notifier))
    try:
        await hub.run()
    finally:
        if not hub.successor:
            notifier.stopping()
        for task in (showing, living):
            task.cancel()
        await asyncio.gather(showing, living, return_exceptions=True)


async def _tell_manager(hub: Hub, notifier: Notifier) -> None:
    """Give signs of life to a service manager that listens, until another process is the service."""
    while notifier.is_heard and not hub.successor:
        # While clients are on their way to a successor, nobody can say how many there are.
        notifier.alive(counted(len(hub)) if hub.gate.is_set() else "")
        await asyncio.sleep(notifier.period)


async def _show(hub: Hub, writer: Writer, window: HubWindow | None, succession: Succession | None) -> None:
    """Open the window, once the terminal is ours and what stands above it is written."""
    if succession is not None:
        await succession.alone()
    if window is not None:
        await writer.written()
        window.open(lambda: _without_window(hub, writer))


def _without_window(hub: Hub, writer: Writer) -> None:
    """The window is gone before the hub: what happens is shown as lines."""
    _write_log(hub, writer, "text")
    hub.log("window_ended", hint="jackfield console opens another one")


def _write_log(hub: Hub, writer: Writer, form: str) -> None:
    hub.journal.follow(lambda event: writer.put(line(event, form) + "\n"))


def _program() -> str:
    """How a shell starts this command line: by its name, or as it was started where that is not found."""
    if shutil.which("jackfield"):
        return "jackfield"
    if Path(sys.argv[0]).name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m jackfield.cli"
    return shlex.quote(sys.argv[0])


class Writer:
    """A thread that writes what it is given, in order; the newest beyond `limit` are dropped.

    While the disk is full lines are lost, and the first one that is written again says how many. When nobody
    reads any more, nothing is written from then on.
    """

    def __init__(self, *, limit: int = 1000) -> None:
        self._queue: queue.Queue[Callable[[], object] | None] = queue.Queue(limit)
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

    def draw(self, work: Callable[[], object]) -> bool:
        """Have the thread do `work`; whether there was room."""
        if self._gone:
            return True
        try:
            self._queue.put_nowait(work)
        except queue.Full:
            return False
        return True

    async def written(self) -> None:
        """Wait until what was put before is written, or nobody reads."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        if not self._gone and self.draw(lambda: loop.call_soon_threadsafe(done.set)):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), 1.0)

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
