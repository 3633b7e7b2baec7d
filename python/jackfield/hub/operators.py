"""The control socket's side of the hub: who may ask, and what each request does.

Owns the operators. Only this user and root are heard (peer credentials); each connection is one
task that does its requests in order, and any number of subscriptions (`logs`, `talk`) that cost
no task: they are pushed. Whoever does not read what was asked for is disconnected, whoever sends
garbage is told so, and neither harms anyone else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import jackfield
from jackfield import Channel

from . import protocol
from .control import ControlError, ControlLock, prepare_directory
from .operator import control_address
from .plan import MAX_OPERATORS
from .protocol import AMBIGUOUS, BAD_REQUEST, FAILED, NO_SUCH_CLIENT, REFUSED, Request, RequestError
from .roster import NameRefused, version
from .sending import Sending, Unsendable, in_turns
from .server import Hub, Talker
from .target import AmbiguousTarget, NoSuchClient, TargetTooLong, select_in_turns, select_one_in_turns
from .text import LINE_ENDINGS

HIGH_WATER: Final = 8 * 1024 * 1024  # what may wait for one operator
PATIENCE: Final = 10.0  # seconds that a reply may wait for room
MAX_SENDINGS: Final = 16  # of one operator, under way at a time
PAGE: Final = 250  # clients in one event
PIECE: Final = 4 * 1024 * 1024  # bytes of a client's message in one event; a longer one comes in several


class Operators:
    """The operators of one hub. `open` after the hub's own listeners, `close` before the end."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._path = hub.settings.control
        self._lock: ControlLock | None = None
        self._stack = contextlib.AsyncExitStack()
        self._sessions = 0

    async def claim(self) -> None:
        """Become the hub of this control path. Raises `ControlError` when another one is."""
        prepare_directory(self._path, os.getuid())
        lock = ControlLock(self._path)
        try:
            await _refuse_live(self._path)
            lock.clear_stale()
        except BaseException:
            lock.release()
            raise
        self._lock = lock

    async def open(self) -> None:
        """Listen on the control path, for this user alone."""
        before = os.umask(0o177)
        try:
            listener = await jackfield.listen(
                control_address(self._path),
                framing=protocol.FRAMING,
                max_message=protocol.MAX_MESSAGE,
                high_water=HIGH_WATER,
                when_full="reject",
            )
        finally:
            os.umask(before)
        os.chmod(self._path, 0o600)
        if self._lock is not None:
            self._lock.own_socket()
        await self._stack.enter_async_context(listener)
        await self._stack.enter_async_context(listener.serving(self._serve))

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
        if self._sessions >= MAX_OPERATORS:
            self._hub.log(
                "operator_refused", pid=credentials.pid, reason=f"{MAX_OPERATORS} operators are there"
            )
            await _refuse(channel)
            return
        self._sessions += 1
        session = Session(self._hub, channel, f"pid:{credentials.pid}")
        try:
            await session.run()
        finally:
            self._sessions -= 1
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


class Session:
    """One operator's connection."""

    def __init__(self, hub: Hub, channel: Channel, who: str) -> None:
        self._hub = hub
        self._channel = channel
        self._who = who
        self._subscriptions: dict[int, Callable[[], None]] = {}
        self._sendings: dict[int, tuple[str, Sending]] = {}  # by the id of the first request, with its target
        self._operations: dict[str, Callable[[Request], Awaitable[dict[str, Any] | None]]] = {
            "hello": self._hello,
            "status": self._status,
            "clients": self._clients,
            "send": self._send,
            "send_on": self._send_on,
            "rename": self._rename,
            "kick": self._kick,
            "logs": self._logs,
            "talk": self._talk,
            "cancel": self._cancel,
            "stop": self._stop,
        }

    async def run(self) -> None:
        """Do requests until the operator goes. Never raises for what an operator sent."""
        try:
            async for message in self._channel:
                await self._reply(await self._do(message))
        except jackfield.FramingError as problem:
            self._hub.log("operator_dropped", operator=self._who, reason=str(problem))
            self._channel.abort()
        except (jackfield.QueueFull, TimeoutError):
            self._drop_slow()
        except (jackfield.JackfieldError, OSError):
            pass  # the operator went away: nobody is left to be told

    def end(self) -> None:
        """Forget every subscription, and tell the log of sends that are not complete."""
        while self._subscriptions:
            self._subscriptions.popitem()[1]()
        for of in tuple(self._sendings):
            self._log_sending(of, ended="the operator went away")

    async def _do(self, message: bytes) -> bytes | None:
        request_id: int | None = None
        try:
            request = protocol.parse_request(message)
            request_id = request.id
            operation = self._operations.get(request.op)
            if operation is None:
                known = ", ".join(self._operations)
                raise RequestError(BAD_REQUEST, f"unknown op {request.op[:40]!r}", hint=f"known are {known}")
            result = await operation(request)
            return None if result is None else protocol.ok(request.id, result)
        except RequestError as problem:
            return protocol.error(request_id, problem)
        except NoSuchClient as problem:
            candidates = [str(candidate) for candidate in problem.candidates]
            return protocol.error(
                request_id,
                RequestError(NO_SUCH_CLIENT, str(problem), hint=problem.hint, candidates=candidates),
            )
        except AmbiguousTarget as problem:
            candidates = [str(candidate) for candidate in problem.candidates]
            return protocol.error(
                request_id, RequestError(AMBIGUOUS, str(problem), hint=problem.hint, candidates=candidates)
            )
        except (NameRefused, Unsendable, TargetTooLong) as problem:
            return protocol.error(request_id, RequestError(REFUSED, str(problem)))
        except jackfield.JackfieldError as problem:
            return protocol.error(request_id, RequestError(FAILED, str(problem)))
        except TimeoutError:
            raise  # the operator does not read
        except Exception as problem:  # a fault of ours ends neither the hub nor this operator
            fault = f"{type(problem).__name__}: {problem}"
            self._hub.log("fault", operator=self._who, error=fault)
            return protocol.error(request_id, RequestError(FAILED, f"a fault of the hub: {fault}"))

    async def _reply(self, message: bytes | None) -> None:
        if message is not None:
            # A reply may have to wait for an operator who reads slowly; one who does not read is dropped.
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        self._channel.send_nowait(message)
                        return
                    except jackfield.QueueFull:
                        await self._channel.flush()

    def _push(self, message: bytes) -> None:
        try:
            self._channel.send_nowait(message)
        except jackfield.QueueFull:
            self._drop_slow()
        except (jackfield.JackfieldError, OSError):
            self.end()

    def _drop_slow(self) -> None:
        self.end()
        self._channel.abort()
        self._hub.log("operator_dropped", operator=self._who, reason="did not read what it asked for")

    # ---------------------------------------------------------------- operations

    async def _hello(self, request: Request) -> dict[str, Any]:
        return {"version": version(), "pid": os.getpid(), "protocol": protocol.PROTOCOL_VERSION}

    async def _status(self, request: Request) -> dict[str, Any]:
        return self._hub.status()

    async def _clients(self, request: Request) -> dict[str, Any]:
        target = request.text("target", "all")
        ids = await select_in_turns(target, self._hub)
        for start in range(0, len(ids), PAGE):
            views = [view for view in map(self._hub.view, ids[start : start + PAGE]) if view is not None]
            await self._reply(protocol.event(request.id, {"clients": views}))
            await asyncio.sleep(0)  # thousands of views must not hold up the clients
        return {"count": len(ids)}

    async def _send(self, request: Request) -> dict[str, Any]:
        target = request.text("target")
        ids = await select_in_turns(target, self._hub)
        name = request.text("ending", "none")
        if name != "default" and name not in LINE_ENDINGS:
            raise RequestError(
                BAD_REQUEST, f"unknown line ending {name!r}; known are {', '.join(LINE_ENDINGS)}"
            )
        if request.id in self._sendings:
            raise RequestError(BAD_REQUEST, f"request {request.id} is still under way")
        if len(self._sendings) >= MAX_SENDINGS:
            raise RequestError(REFUSED, f"one operator may have {MAX_SENDINGS} sends under way at a time")
        ending = None if name == "default" else LINE_ENDINGS[name]
        sending = await self._hub.sending(ids, ending, request.seconds("wait", 0.0))
        self._sendings[request.id] = target, sending
        return await self._pass_on(request.id, request, whole=None)

    async def _send_on(self, request: Request) -> dict[str, Any]:
        of = request.integer("of")
        if of not in self._sendings:
            raise RequestError(BAD_REQUEST, f"send_on: no send with the id {of} is under way")
        whole = request.data("whole") if "whole" in request.arguments else None
        return await self._pass_on(of, request, whole=whole)

    async def _pass_on(self, of: int, request: Request, *, whole: bytes | None) -> dict[str, Any]:
        sending = self._sendings[of][1]
        more = request.flag("more")
        try:
            data = request.data("data")
            if not more and whole is None and request.op == "send_on":
                sending.give_up_messages("it is too long as one message")
            await sending.pass_on(data, last=not more, whole=whole)
        except BaseException:
            del self._sendings[of]
            raise
        if not more:
            self._log_sending(of)
        return sending.report()

    def _log_sending(self, of: int, **more: str) -> None:
        target, sending = self._sendings.pop(of)
        became = {name: value for name, value in sending.report().items() if isinstance(value, int)}
        facts: dict[str, Any] = {"clients": became.pop("sent"), **became, **more}
        self._hub.log("sent", by=self._who, target=target, bytes=sending.bytes, **facts)

    async def _rename(self, request: Request) -> dict[str, Any]:
        client_id = await select_one_in_turns(request.text("target"), self._hub)
        name = request.text("name")
        before = self._hub.rename(client_id, name)
        self._hub.log("renamed", id=client_id, name=name, before=before, by=self._who)
        return {"id": client_id, "name": name, "before": before}

    async def _kick(self, request: Request) -> dict[str, Any]:
        ids = await select_in_turns(request.text("target"), self._hub)
        reset = request.flag("reset")
        for some in in_turns(ids):
            for client_id in some:
                self._hub.kick(client_id, reset=reset, by=self._who)
            await asyncio.sleep(0)
        self._hub.log("kicked", target=request.text("target"), clients=len(ids), reset=reset, by=self._who)
        return {"kicked": ids}

    async def _logs(self, request: Request) -> dict[str, Any] | None:
        last = request.integer("last", 20, most=100_000)
        follow = request.flag("follow")
        if follow:
            self._subscribe(
                request.id,
                self._hub.journal.follow(
                    lambda event: self._push(protocol.event(request.id, {"log": event.to_json()}))
                ),
            )
        for event in self._hub.journal.last(last):
            await self._reply(protocol.event(request.id, {"log": event.to_json()}))
        return None if follow else {}

    async def _talk(self, request: Request) -> None:
        client_id = await select_one_in_turns(request.text("target"), self._hub)
        member, view = self._hub.member(client_id), self._hub.view(client_id)
        if member is None or view is None:
            raise NoSuchClient(request.text("target"), self._hub)
        attached = {"attached": view, "ending": self._hub.plan_of(member).ending}
        earlier = self._hub.memory.of(client_id, request.integer("earlier", 0, most=1000))

        def said(data: bytes, **more: Any) -> None:
            for start in range(0, max(1, len(data)), PIECE):
                piece = protocol.encode_data(data[start : start + PIECE])
                self._push(protocol.event(request.id, {"message": piece, **more}))

        def left(reason: str) -> None:
            self._subscriptions.pop(request.id, None)
            self._push(protocol.ok(request.id, {"left": reason}))

        self._push(protocol.event(request.id, attached))
        for when, data in earlier:
            said(data, earlier=when)
        self._subscribe(request.id, self._hub.talk(client_id, Talker(said, left)))
        self._hub.log("attached", id=client_id, name=view["name"], by=self._who)

    async def _cancel(self, request: Request) -> dict[str, Any]:
        of = request.integer("of")
        end = self._subscriptions.pop(of, None)
        if end is not None:
            end()
            await self._reply(protocol.ok(of, {"left": "cancelled"}))
        return {}

    async def _stop(self, request: Request) -> None:
        # The answer must be on its way before the hub ends.
        await self._reply(protocol.ok(request.id, {}))
        with contextlib.suppress(jackfield.JackfieldError):
            await self._channel.flush(timeout=1.0)
        self._hub.stop(f"operator {self._who}")
        return

    def _subscribe(self, request_id: int, end: Callable[[], None]) -> None:
        if request_id in self._subscriptions:
            end()
            raise RequestError(BAD_REQUEST, f"request {request_id} is still under way")
        if len(self._subscriptions) >= 100:
            end()
            raise RequestError(REFUSED, "one operator may follow 100 things at a time")
        self._subscriptions[request_id] = end
