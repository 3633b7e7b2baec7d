"""The control socket's side of the hub: who may ask.

Owns the control socket and who is heard on it: only this user and root (peer credentials). Each
connection is a `Session` in a task of its own; `operations/` is what can be asked for.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, Final

import jackfield
from jackfield import Channel

from . import protocol
from .control import ControlError, ControlLock, prepare_directory
from .operator import control_address
from .plan import MAX_OPERATORS
from .protocol import REFUSED, RequestError
from .server import Hub
from .session import Session

HIGH_WATER: Final = 8 * 1024 * 1024  # what may wait for one operator
_OPTIONS: Final[dict[str, Any]] = {
    "framing": protocol.FRAMING,
    "max_message": protocol.MAX_MESSAGE,
    "high_water": HIGH_WATER,
    "when_full": "reject",
}


class Operators:
    """The operators of one hub. `open` after the hub's own listeners, `close` before the end."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._path = hub.settings.control
        self._lock: ControlLock | None = None
        self._stack = contextlib.AsyncExitStack()
        self._listener: jackfield.Listener | None = None
        self._sessions: set[Session] = set()

    @property
    def working(self) -> int:
        """How many of their requests are being done, those for a reload aside."""
        return sum(session.working for session in (*self._sessions, *self._hub.within))

    async def claim(self, *, inherited: int | None = None) -> None:
        """Become the hub of this control path, by an inherited lock or a new one.

        Raises `ControlError` when another hub is there.
        """
        if inherited is not None:
            self._lock = ControlLock(self._path, inherited=inherited)
            return
        prepare_directory(self._path, os.getuid())
        lock = ControlLock(self._path)
        try:
            await _refuse_live(self._path)
            lock.clear_stale()
        except BaseException:
            lock.release()
            raise
        self._lock = lock

    async def open(self, *, inherited: int | None = None) -> None:
        """Listen on the control path, for this user alone, by an inherited socket or a new one."""
        listener = await self._listen() if inherited is None else self._adopt(inherited)
        if self._lock is not None:
            self._lock.own_socket()
        self._listener = listener
        await self._stack.enter_async_context(listener)
        await self._stack.enter_async_context(listener.serving(self._serve))

    async def _listen(self) -> jackfield.Listener:
        before = os.umask(0o177)
        try:
            listener = await jackfield.listen(control_address(self._path), **_OPTIONS)
        finally:
            os.umask(before)
        os.chmod(self._path, 0o600)
        return listener

    def _adopt(self, inherited: int) -> jackfield.Listener:
        listener = jackfield.adopt(inherited, opened_as=control_address(self._path), **_OPTIONS)
        assert isinstance(listener, jackfield.Listener)
        return listener

    def own(self) -> None:
        """The control path is this process's alone from now on; it was inherited."""
        if self._lock is not None:
            self._lock.own_lock()

    def lend(self, stack: contextlib.ExitStack) -> list[int]:
        """Descriptors of the control socket and its lock, for a successor; closed with `stack`."""
        assert self._listener is not None
        assert self._lock is not None
        copies = [os.dup(self._listener.fileno()), os.dup(self._lock.fileno())]
        for copy in copies:
            stack.callback(os.close, copy)
        return copies

    async def hand_over(self, successor: int) -> None:
        """A successor has the control path: tell every operator, hang up, and touch nothing of it."""
        problem = RequestError(
            protocol.RELOADED, f"the hub was reloaded: pid {successor} goes on", hint="run the command again"
        )
        if self._listener is not None:
            os.close(self._listener.detach())
        for session in tuple(self._sessions):
            session.push(protocol.error(None, problem))
        for session in tuple(self._sessions):
            with contextlib.suppress(jackfield.JackfieldError, OSError):
                await session.channel.flush(timeout=1.0)
        if self._lock is not None:
            self._lock.hand_over()
            self._lock = None
        await self._stack.aclose()

    async def close(self) -> None:
        """Hang up on every operator and give the path back. May be called twice."""
        try:
            await self._stack.aclose()
        finally:
            if self._lock is not None:
                self._lock.release()

    async def _serve(self, channel: Channel) -> None:
        credentials = channel.credentials
        if credentials is None or credentials.uid not in (0, os.getuid()):
            uid = "unknown" if credentials is None else credentials.uid
            self._hub.log("operator_refused", uid=uid, reason="neither the hub's user nor root")
            channel.abort()
            return
        if len(self._sessions) >= MAX_OPERATORS:
            self._hub.log(
                "operator_refused", pid=credentials.pid, reason=f"{MAX_OPERATORS} operators are there"
            )
            await _refuse(channel)
            return
        session = Session(self._hub, channel, f"pid:{credentials.pid}")
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)
            session.end()


async def _refuse_live(path: Path) -> None:
    """Raise when something answers at a path whose lock is free: a server that is no hub of ours."""
    if not path.is_socket():  # noqa: ASYNC240 - one look at a local path, before anything is served
        return
    try:
        channel = await jackfield.connect(control_address(path), framing="none", connect_timeout=1.0)
    except ConnectionRefusedError:
        return
    except (jackfield.JackfieldError, OSError) as problem:
        raise ControlError(
            f"cannot tell whether {path} is in use: {problem}", "choose another place with --control"
        ) from problem
    holder = channel.credentials
    channel.abort()
    raise ControlError(
        f"{path} is in use by another program (pid {'unknown' if holder is None else holder.pid})",
        "choose another place with --control PATH",
    )


async def _refuse(channel: Channel) -> None:
    """Tell an operator too many why, once it has asked for something."""
    message = f"the hub has its {MAX_OPERATORS} operators (connections to its control socket)"
    problem = RequestError(REFUSED, message, hint="end one of them, or the hub with a SIGTERM")
    with contextlib.suppress(jackfield.JackfieldError, OSError):
        await channel.receive(timeout=1.0)
        channel.send_nowait(protocol.error(None, problem))
        await channel.flush(timeout=1.0)
    channel.abort()
