"""One operator's connection to the hub: requests in, answers and events out.

Owns one channel of the control socket. Requests are done in their order; subscriptions (`logs`, `talk`)
cost no task, they are pushed. Whoever does not read what was asked for is disconnected, whoever sends
garbage is told so, and neither harms anyone else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

import jackfield
from jackfield import Channel

from . import protocol, wrong_door
from .operations import OPERATIONS
from .protocol import (
    AMBIGUOUS,
    BAD_REQUEST,
    FAILED,
    FORBIDDEN,
    NO_SUCH_CLIENT,
    REFUSED,
    Request,
    RequestError,
)
from .recorder import Recorder
from .roster import NameRefused, NotAName
from .security.auditing import target_of
from .security.limits import Meter
from .security.roles import ADMIN, audited, may, needed
from .security.typed import typed
from .sending import Sending, Unsendable
from .server import Hub
from .state_file import StateError
from .target import AmbiguousTarget, NoSuchClient, TargetTooLong

PATIENCE: Final = 10.0  # seconds that a reply may wait for room
MAX_SUBSCRIPTIONS: Final = 100  # of one operator
HELD_UP: Final = 0.05  # seconds between two looks at whether one that goes beyond its rates may be heard


class Session:
    """One operator's connection."""

    def __init__(
        self,
        hub: Hub,
        channel: Channel,
        who: str,
        *,
        role: str = ADMIN,
        token: str = "",
        meter: Meter | None = None,
    ) -> None:
        self.hub = hub
        self.channel = channel
        self.who = who
        self.role = role
        self.token = token  # the id of the one it came with; empty on the control socket
        self.sendings: dict[int, tuple[str, Sending]] = {}  # by the id of the first request, with its target
        self.recorders: dict[int, Recorder] = {}  # by the id of the request
        self.reloading = False
        self.working = 0  # requests being done that a reload waits for
        self._meter = meter
        self._held_up = False  # the log has been told that it goes beyond its rates
        self._subscriptions: dict[int, Callable[[], None]] = {}

    async def run(self) -> None:
        """Do requests until the operator goes. Never raises for what an operator sent."""
        try:
            async for message in self.channel:
                if wrong_door.is_client(message):
                    self.hub.log("operator_refused", operator=self.who, reason="it is a native client")
                    await wrong_door.refuse(self.channel)
                    return
                if self._meter is not None:
                    await self._keep_pace(self._meter, len(message))
                answer = await self._do(message)
                if answer is not None:
                    await self.reply(answer)
        except jackfield.FramingError as problem:
            self.hub.log("operator_dropped", operator=self.who, reason=str(problem))
            self.channel.abort()
        except (jackfield.QueueFull, TimeoutError):
            self._drop_slow()
        except (jackfield.JackfieldError, OSError):
            pass  # the operator went away: nobody is left to be told

    async def _keep_pace(self, meter: Meter, size: int) -> None:
        """Wait until a request is within the rates; nothing is read meanwhile, so that its sender waits."""
        reason = meter.over(size, time.monotonic())
        if reason and not self._held_up:
            self._held_up = True
            self.hub.log("operator_held_up", operator=self.who, reason=reason)
        while reason:
            await asyncio.sleep(HELD_UP)
            reason = meter.over(size, time.monotonic())

    def end(self) -> None:
        """Forget every subscription, and tell the log of sends that are not complete."""
        while self._subscriptions:
            self._subscriptions.popitem()[1]()
        for of in tuple(self.sendings):
            self.log_sending(of, ended="the operator went away")

    async def _do(self, message: bytes) -> bytes | None:
        request: Request | None = None
        try:
            request = protocol.parse_request(message)
            operation = OPERATIONS.get(request.op)
            if operation is None:
                known = ", ".join(OPERATIONS)
                raise RequestError(BAD_REQUEST, f"unknown op {request.op[:40]!r}", hint=f"known are {known}")
            if not may(self.role, request.op):
                least = f"{typed(request.op)} needs the role {needed(request.op)}, and yours is {self.role}"
                raise RequestError(FORBIDDEN, least, hint="ask for a token with more rights")
            await self.hub.gate.wait()  # a reload under way ends first
            if self.hub.successor:
                return None  # this operator is told so by `Operators.hand_over`
            self.reloading = request.op == "reload"
            self.working = int(not self.reloading)
            try:
                result = await operation(self, request)
            finally:
                self.working, self.reloading = 0, False
            self._audit(request, "done")
            return None if result is None else protocol.ok(request.id, result)
        except RequestError as problem:
            return self._not_done(request, problem)
        except NoSuchClient as problem:
            meant = [str(candidate) for candidate in problem.candidates]
            nobody = RequestError(NO_SUCH_CLIENT, str(problem), hint=problem.hint, candidates=meant)
            return self._not_done(request, nobody)
        except AmbiguousTarget as problem:
            meant = [str(candidate) for candidate in problem.candidates]
            several = RequestError(AMBIGUOUS, str(problem), hint=problem.hint, candidates=meant)
            return self._not_done(request, several)
        except NotAName as problem:
            return self._not_done(request, RequestError(BAD_REQUEST, str(problem)))
        except (NameRefused, Unsendable, TargetTooLong) as problem:
            return self._not_done(request, RequestError(REFUSED, str(problem)))
        except StateError as problem:
            return self._not_done(request, RequestError(FAILED, str(problem), hint=problem.hint))
        except (jackfield.InvalidAddress, jackfield.InvalidOption, jackfield.InvalidFraming) as problem:
            return self._not_done(request, RequestError(BAD_REQUEST, str(problem)))
        except jackfield.JackfieldError as problem:
            return self._not_done(request, RequestError(FAILED, str(problem)))
        except TimeoutError:
            raise  # the operator does not read
        except Exception as problem:  # a fault of ours ends neither the hub nor this operator
            fault = f"{type(problem).__name__}: {problem}"
            self.hub.log("fault", operator=self.who, error=fault)
            return self._not_done(request, RequestError(FAILED, f"a fault of the hub: {fault}"))

    def _not_done(self, request: Request | None, problem: RequestError) -> bytes:
        if request is not None:
            self._audit(request, f"not done: {problem.code}")
        return protocol.error(None if request is None else request.id, problem)

    def _audit(self, request: Request, outcome: str) -> None:
        if audited(request.op) or outcome == f"not done: {FORBIDDEN}":
            self.hub.audit(self.who, request.op, target_of(request.arguments), outcome, role=self.role)

    async def reply(self, message: bytes) -> None:
        """Send what an operator waits for: who reads slowly is waited for, who does not read is dropped."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    self.channel.send_nowait(message)
                    return
                except jackfield.QueueFull:
                    await self.channel.flush()

    def push(self, message: bytes) -> None:
        """Send an event that nobody waits for; an operator who has not read 8 MiB of them is dropped."""
        try:
            self.channel.send_nowait(message)
        except jackfield.QueueFull:
            self._drop_slow()
        except (jackfield.JackfieldError, OSError):
            self.end()

    def _drop_slow(self) -> None:
        self.end()
        self.channel.abort()
        self.hub.log("operator_dropped", operator=self.who, reason="did not read what it asked for")

    def subscribe(self, request_id: int, end: Callable[[], None]) -> None:
        """Have `end` called when that request is cancelled or the operator goes. Raises `RequestError`."""
        if request_id in self._subscriptions:
            end()
            raise RequestError(BAD_REQUEST, f"request {request_id} is still under way")
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            end()
            raise RequestError(REFUSED, f"one operator may follow {MAX_SUBSCRIPTIONS} things at a time")
        self._subscriptions[request_id] = end

    def begin(self, request_id: int, work: Coroutine[Any, Any, dict[str, Any]]) -> None:
        """Do a long request beside the others; its result is the `ok`.

        It is cancelled when its operator cancels it or goes. Raises `RequestError`, as `subscribe`.
        """
        task = asyncio.create_task(self._long(request_id, work))

        def end() -> None:
            task.cancel()

        try:
            self.subscribe(request_id, end)
        except RequestError:
            work.close()
            raise

    async def _long(self, request_id: int, work: Coroutine[Any, Any, dict[str, Any]]) -> None:
        try:
            done = protocol.ok(request_id, await work)
            self.forget(request_id)
            await self.reply(done)
        except RequestError as problem:
            self.forget(request_id)
            self.push(protocol.error(request_id, problem))
        except (jackfield.QueueFull, TimeoutError):
            self._drop_slow()
        except (jackfield.JackfieldError, OSError):
            self.end()  # the operator went away
        except Exception as problem:
            fault = f"{type(problem).__name__}: {problem}"
            self.hub.log("fault", operator=self.who, error=fault)
            self.forget(request_id)
            self.push(protocol.error(request_id, RequestError(FAILED, f"a fault of the hub: {fault}")))

    def forget(self, request_id: int) -> None:
        """A subscription ended by itself."""
        self._subscriptions.pop(request_id, None)

    def cancel(self, request_id: int) -> bool:
        """End a subscription; whether there was one."""
        end = self._subscriptions.pop(request_id, None)
        if end is None:
            return False
        end()
        return True

    def log_sending(self, of: int, **more: str) -> None:
        """A send has ended: what became of it goes to the log."""
        target, sending = self.sendings.pop(of)
        became = {name: value for name, value in sending.report().items() if isinstance(value, int)}
        facts: dict[str, Any] = {"clients": became.pop("sent"), **became, **more}
        self.hub.log("sent", by=self.who, target=target, bytes=sending.bytes, **facts)
