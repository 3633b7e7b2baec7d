"""Reloading: a hub starts its successor, hands it everything, and leaves; or goes on if that one cannot.

Owns the old hub's side. Up to the successor's word `serving` nothing is decided: it is only then that it
reads and writes the clients' sockets, and whatever goes wrong before is undone here: the successor is
ended, and the hub goes on with the sockets and bytes that it still has. Meanwhile clients notice a pause at
most, newcomers wait to be accepted, and operators' requests wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import jackfield
from jackfield import Channel

from . import handover_wire as wire
from .inheritance import Inheritance, adopt_listener, put_in, take_out
from .notify import Notifier
from .part import Part
from .protocol import FAILED, REFUSED, RequestError
from .roster import version

if TYPE_CHECKING:
    from .operators import Operators
    from .server import Hub

DESCRIPTOR: Final = "JACKFIELD_HANDOVER"  # in the successor's environment: the socket to its predecessor
PATIENCE: Final = 30.0  # seconds that the successor has, from its start until it serves
LOG_PATIENCE: Final = 2.0  # seconds that a slow reader of the log may take
QUIET: Final = 2.0  # seconds that operators' requests under way may take before
GOES_ON: Final = "the hub goes on as before"


class Reloader:
    """Reloads one hub. `command` starts its successor."""

    def __init__(
        self, hub: Hub, operators: Operators, command: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        self._hub = hub
        self._operators = operators
        self._command = command
        self._environment = environment
        self._notifier = Notifier(environment)
        self._task: asyncio.Task[dict[str, Any]] | None = None
        self._channel: Channel | None = None
        self.log_written: Callable[[], Awaitable[None]] = _nothing
        self.successor: subprocess.Popen[bytes] | None = None

    async def reload(self, *, by: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """Hand the hub over; what became of it. Raises `RequestError`, and then nothing has changed.

        Cancelled, it goes on: see `cancel`.
        """
        if self._task is not None and not self._task.done():
            raise RequestError(REFUSED, "a reload is under way already")
        if self.successor is not None:
            raise RequestError(REFUSED, f"the hub was handed to pid {self.successor.pid}")
        self._task = asyncio.create_task(self._reload(by, timeout))
        return await asyncio.shield(self._task)

    async def cancel(self) -> None:
        """A reload that is under way is undone."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def part(self) -> None:
        """The successor is alone from now on."""
        if self._channel is not None:
            self._channel.abort()

    async def _reload(self, by: str, timeout: float) -> dict[str, Any]:
        hub, began = self._hub, time.monotonic()
        hub.log("reloading", by=by)
        self._notifier.reloading()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            environment = {**self._environment, DESCRIPTOR: str(theirs.fileno())}
            environment.pop("WATCHDOG_PID", None)  # it is the successor's process that is watched then
            try:
                process = _start(self._command, environment, theirs.fileno())
            except OSError as problem:
                raise self._failed(f"{self._command[0]} cannot be started: {problem.strerror}") from problem
            # An empty queue takes a message of any length, so that no state is too large.
            adopted = jackfield.adopt(ours, framing=wire.FRAMING, max_message=wire.MAX_MESSAGE)
        assert isinstance(adopted, Channel)
        try:
            async with asyncio.timeout(timeout):
                answer = await self._converse(adopted, process)
        except BaseException as problem:
            adopted.abort()
            code = _end(process)
            if isinstance(problem, asyncio.CancelledError):
                raise
            raise self._failed(_why(problem, code, timeout), getattr(problem, "hint", "")) from problem
        self.successor, self._channel = process, adopted
        kept, not_kept = answer["kept"], answer["not_kept"]
        self._notifier.handed_over(process.pid, f"{kept} client{'' if kept == 1 else 's'}")
        hub.log("reloaded", successor=process.pid, clients=kept, not_kept=len(not_kept), by=by)
        for number, name, reason in not_kept[:100]:
            hub.log("not_kept", id=number, name=name, reason=reason)
        return {
            "pid": process.pid,
            "predecessor": os.getpid(),
            "kept": kept,
            "not_kept": [{"id": each[0], "name": each[1], "reason": each[2]} for each in not_kept],
            "seconds": round(time.monotonic() - began, 3),
            "paused": round(answer["paused"], 3),
        }

    def _failed(self, reason: str, hint: str = "") -> RequestError:
        self._hub.log("reload_failed", reason=reason)
        self._notifier.ready(f"a reload failed: {reason}")
        return RequestError(FAILED, f"the successor did not take over: {reason}; {GOES_ON}", hint=hint)

    async def _converse(self, channel: Channel, process: subprocess.Popen[bytes]) -> dict[str, Any]:
        hub = self._hub
        addresses = [str(plan.address) for _, plan in hub.listeners]
        hello = {"hello": wire.VERSION, "pid": os.getpid(), "version": version(), "listeners": addresses}
        await channel.send(wire.encode(hello))
        await _answer(channel, "prepared")
        hub.gate.clear()  # requests wait from here on; those under way end
        try:
            await self._quiet()
            began = time.monotonic()
            held, parts = await _freeze(hub)
            try:
                # What is logged so far stands before what the successor will log.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOG_PATIENCE):
                        await self.log_written()
                with contextlib.ExitStack() as stack:
                    await _send(channel, held, self._operators.lend(stack))
                answer = await _answer(channel, "serving")
            except BaseException:
                _end(process)  # before anything is read or written here again
                await _thaw(hub, held, parts)
                raise
            hub.successor = process.pid
            held.close()
        finally:
            hub.gate.set()
        answer["not_kept"] = [[each.id, each.name, each.reason] for each in held.not_kept] + answer[
            "not_kept"
        ]
        return {**answer, "paused": time.monotonic() - began}

    async def _quiet(self) -> None:
        """Wait until no operator's request is being done, the reload itself aside; not for ever."""
        end = time.monotonic() + QUIET
        while self._operators.working > 0 and time.monotonic() < end:  # noqa: ASYNC110 - as seldom as short
            await asyncio.sleep(0.01)


async def _nothing() -> None:
    """Nobody writes the log."""


async def _freeze(hub: Hub) -> tuple[Inheritance, list[Part]]:
    """From here on the hub does nothing with its clients, and the files of its parts are free."""
    held = take_out(hub)
    parts = hub.parts.attached()
    try:
        held.parts = hub.parts.hand_over()
        await hub.parts.detach_all()
        await hub.state.close()
    except BaseException:
        await _thaw(hub, held, parts)
        raise
    return held, parts


async def _thaw(hub: Hub, held: Inheritance, parts: Sequence[Part]) -> None:
    """The hub goes on with what it had taken out."""
    plans = hub.settings.listeners
    heirs = []
    for listener, plan in zip(held.listeners, plans, strict=True):
        heir = adopt_listener(listener, plan, plan.options(hub.settings.limits))
        hub.add_listener(heir, plan)
        heirs.append(heir)
    for lost in put_in(hub, held, heirs):
        hub.log("not_kept", id=lost.id, name=lost.name, reason=lost.reason)
    for heir, plan in zip(heirs, plans, strict=True):
        hub.take_in(heir, plan)
    if hub.state.closed:
        hub.open_state()
    for part in parts:
        if part.reopens and part not in hub.parts.attached():
            try:
                await hub.attach(part)
                await hub.parts.resume(part, hub.clients(), hub.clock(), held.parts)
            except Exception as problem:  # the others, and the clients, go on
                hub.log("fault", event="reload", error=f"{type(problem).__name__}: {problem}")


async def _send(channel: Channel, held: Inheritance, control: Sequence[int]) -> None:
    fds = [*(listener.fd for listener in held.listeners), *control]
    await channel.send_fds(wire.hub_message(held), fds)
    for message, descriptors in wire.client_messages(held.clients):
        await channel.send_fds(message, descriptors)
    await channel.send(wire.encode({"end": True}))


async def _answer(channel: Channel, wanted: str) -> dict[str, Any]:
    body, _ = wire.decode(await channel.receive())
    if "failed" in body:
        raise RequestError(FAILED, str(body["failed"]), hint=str(body.get("hint", "")))
    if wanted not in body:
        raise ValueError(f"it said {next(iter(body), 'nothing')!r} where {wanted!r} was due")
    return body


def _start(command: Sequence[str], environment: Mapping[str, str], handed: int) -> subprocess.Popen[bytes]:
    """Start a process that inherits one descriptor beside the standard ones."""
    return subprocess.Popen(command, env=environment, pass_fds=[handed])


def _end(process: subprocess.Popen[bytes]) -> int:
    """End a successor that did not take over; its exit code, or the signal that was needed."""
    try:
        return process.wait(0.2)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        return process.wait()


def _why(problem: BaseException, code: int, timeout: float) -> str:
    if isinstance(problem, RequestError):
        return problem.message
    if isinstance(problem, TimeoutError):
        return f"it was not ready within {timeout:g} s"
    if isinstance(problem, (jackfield.EndOfStream, jackfield.ChannelLost, jackfield.ChannelClosed)):
        how = f"ended with exit code {code}" if code >= 0 else f"was killed by {signal.Signals(-code).name}"
        return f"it {how}; what it said stands on the hub's standard error"
    return f"{type(problem).__name__}: {problem}"
