"""Operators from other machines: listeners with `protocol=control`, where the first request carries a token.

Owns these listeners and who is heard on them. It is the control socket's protocol (`hub/protocol.py`) and one
thing more: first comes a `hello` with a token (or an invitation, whose answer has the token that it became),
there within `HELLO_WITHIN`; one `hello` before it may ask what kind of listener this is. Whoever has shown no
token yet is one of `MOST_UNKNOWN`. A session ends with what let it in: a token that is revoked or expires, a
certificate that expires.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import jackfield
from jackfield import Channel

from .. import protocol, wrong_door
from ..journal import Throttle
from ..operations.about import hello
from ..part import Part
from ..plan import MAX_OPERATORS, ListenerPlan
from ..protocol import FORBIDDEN, RELOADED, Request, RequestError
from ..roster import endpoint_text
from ..session import Session
from .access import CERTIFICATE
from .expiring import EXPIRED, LOOK_AT_LEAST_EVERY
from .gate import HELLO_WITHIN, Admitted, Certificate, Refused
from .limits import Meter
from .roles import OPERATOR

if TYPE_CHECKING:
    from ..server import Hub

LONGEST_HELLO: Final = 4096  # bytes of the first request
MOST_UNKNOWN: Final = 16  # connections that have not said who they are
MAX_MESSAGE: Final = 4 * 1024 * 1024  # bytes of one request: nobody is known yet when the first one comes
LAST_WORDS: Final = 1.0  # seconds that a refusal may take
_OPTIONS: Final[dict[str, Any]] = {
    "framing": protocol.FRAMING,
    "max_message": MAX_MESSAGE,
    "high_water": 8 * 1024 * 1024,
    "when_full": "reject",
}


class _NativeClient(Exception):
    """Whoever came speaks the protocol of clients."""


class RemoteOperators(Part):
    """The operators of one hub that come over the network."""

    def __init__(self, plans: Sequence[ListenerPlan]) -> None:
        self._plans = plans
        self.listeners: list[tuple[jackfield.Listener, ListenerPlan]] = []
        self._tasks: dict[asyncio.Task[None], Session | None] = {}
        self._ends: dict[Session, asyncio.TimerHandle] = {}  # of sessions that do not last for ever
        self._accepting: list[asyncio.Task[None]] = []
        self._told = Throttle()

    async def open(self, hub: Hub) -> None:
        self._hub = hub
        self.listeners, self._accepting = [], []
        hub.security.when_revoked.append(self._revoked)
        try:
            for plan in self._plans:
                listener = await jackfield.listen(plan.address, **_OPTIONS, **plan.handshakes())
                self.listeners.append((listener, plan))
                hub.log("operators", address=str(listener.address.without_options()), access=plan.access.mode)
        except BaseException:
            await self.close()
            raise
        hub.security.listeners = self.listeners
        self._accepting = [asyncio.create_task(self._accept(*each)) for each in self.listeners]

    async def close(self) -> None:
        """Hang up on every operator; a reload that one of them asked for is answered before."""
        if self._revoked in self._hub.security.when_revoked:
            self._hub.security.when_revoked.remove(self._revoked)
        for listener, _ in self.listeners:
            listener.abort()
        problem = RequestError(RELOADED, "the hub ends or is reloaded", hint="run the command again")
        for task, session in list(self._tasks.items()):
            if session is not None:
                if session.reloading:
                    continue
                session.push(protocol.error(None, problem))
                with contextlib.suppress(jackfield.JackfieldError, OSError, TimeoutError):
                    await session.channel.flush(timeout=LAST_WORDS)
            task.cancel()
        for each in self._accepting:
            each.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)

    async def _accept(self, listener: jackfield.Listener, plan: ListenerPlan) -> None:
        while True:
            try:
                channel = await listener.accept()
            except jackfield.ChannelClosed:
                return
            except (
                jackfield.JackfieldError,
                OSError,
            ) as problem:  # no descriptor, or a handshake that failed
                self._hub.log_seldom(self._told, "accept_failed", reason=str(problem))
                await asyncio.sleep(0.05)
                continue
            unknown = sum(session is None for session in self._tasks.values())
            refusal = self._refusal(channel, plan, unknown)
            if refusal:
                self._hub.log_seldom(
                    self._told, "operator_refused", peer=endpoint_text(channel.peer), reason=refusal
                )
                channel.abort()
                continue
            task = asyncio.create_task(self._serve(channel, plan))
            self._tasks[task] = None
            task.add_done_callback(self._tasks.pop)

    def _refusal(self, channel: Channel, plan: ListenerPlan, unknown: int) -> str:
        """Why a newcomer is not even heard; empty when it is."""
        if unknown >= MOST_UNKNOWN:
            return f"{MOST_UNKNOWN} connections have not said yet who they are"
        if len(self._tasks) - unknown >= MAX_OPERATORS:
            return f"{MAX_OPERATORS} operators are there"
        return self._hub.security.refusal_at(self._hub.clock(), _host(channel), plan)

    async def _serve(self, channel: Channel, plan: ListenerPlan) -> None:
        try:
            async with asyncio.timeout(HELLO_WITHIN):
                admitted = await self._greet(channel, plan)
        except RequestError as problem:
            await _last_words(channel, problem)
            return
        except _NativeClient:
            peer = endpoint_text(channel.peer)
            self._hub.log_seldom(self._told, "operator_refused", peer=peer, reason="it is a native client")
            await wrong_door.refuse(channel)
            return
        except (jackfield.JackfieldError, OSError, TimeoutError) as problem:
            reason = "no hello in time" if isinstance(problem, TimeoutError) else str(problem)
            peer = endpoint_text(channel.peer)
            self._hub.log_seldom(self._told, "operator_refused", peer=peer, reason=reason)
            channel.abort()
            return
        except BaseException:
            channel.abort()
            raise
        who = f"{admitted.identity or admitted.token}@{endpoint_text(channel.peer)}"
        meter = Meter(plan.rates, time.monotonic())
        session = Session(self._hub, channel, who, role=admitted.role, token=admitted.token, meter=meter)
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = session
        self._hub.audit(who, "connect", "", "done", role=admitted.role)
        self._end_in_time(session, *self._good_until(channel, plan, admitted))
        try:
            await session.run()
        finally:
            if (timer := self._ends.pop(session, None)) is not None:
                timer.cancel()
            session.end()
            channel.abort()

    async def _greet(self, channel: Channel, plan: ListenerPlan) -> Admitted:
        """The first requests and their answers. Raises `RequestError`, `_NativeClient`."""
        request = await _first(channel)
        if (greeting := protocol.greeting(request)) is not None:
            channel.send_nowait(protocol.ok(request.id, greeting))
            request = await _first(channel)
        if request.op != "hello":
            raise RequestError(
                FORBIDDEN, "say hello with a token first", hint="set JACKFIELD_TOKEN, or give --token-file"
            )
        said: dict[str, Any] = {
            name: request.arguments[name] for name in ("token", "name") if name in request.arguments
        }
        try:
            admitted = await self._hub.security.admit(
                plan,
                _host(channel),
                said,
                where=endpoint_text(channel.peer),
                certificate=Certificate.of(channel.tls),
                least=OPERATOR,
            )
        except Refused as problem:
            raise RequestError(problem.code, problem.message, hint=problem.hint) from None
        session = Session(self._hub, channel, "", role=admitted.role)
        body = {**await hello(session, request), "role": admitted.role, "name": admitted.name}
        if admitted.new_token is not None:
            body["token"] = admitted.new_token
        channel.send_nowait(protocol.ok(request.id, body))
        return admitted

    def _good_until(self, channel: Channel, plan: ListenerPlan, admitted: Admitted) -> tuple[float, str]:
        """When what an operator has shown ends, in Unix seconds, and why that ends its session."""
        ends = [(math.inf, "")]
        token = self._hub.security.tokens.find(admitted.token)
        if token is not None and token.expires is not None:
            ends.append((token.expires, "the token has expired"))
        shown = None if channel.tls is None else channel.tls.peer
        if plan.access.mode == CERTIFICATE and shown is not None:
            ends.append((shown.not_after, EXPIRED))
        return min(ends)

    def _end_in_time(self, session: Session, due: float, why: str) -> None:
        """End a session at that time. The clock of the machine may be set: it is looked at now and then."""
        if due == math.inf:
            return
        left = due - self._hub.security.now()
        if left <= 0.0:
            self._end(session, why)
            return
        self._ends[session] = asyncio.get_running_loop().call_later(
            min(left, LOOK_AT_LEAST_EVERY), self._end_in_time, session, due, why
        )

    def _revoked(self, token: str) -> None:
        for session in [each for each in self._tasks.values() if each is not None and each.token == token]:
            self._end(session, "the token was revoked")

    def _end(self, session: Session, why: str) -> None:
        session.push(protocol.error(None, RequestError(FORBIDDEN, why, hint="ask for another one")))
        session.end()
        for task, other in self._tasks.items():
            if other is session:
                asyncio.get_running_loop().call_later(LAST_WORDS, task.cancel)
        session.role = ""  # nothing may be done in the meantime


async def _first(channel: Channel) -> Request:
    """A request of whoever is not known yet. Raises `RequestError`, `_NativeClient`."""
    message = await channel.receive()
    if wrong_door.is_client(message):
        raise _NativeClient
    if len(message) > LONGEST_HELLO:  # reading megabytes of JSON takes everyone's time
        raise RequestError(protocol.BAD_REQUEST, f"a hello has at most {LONGEST_HELLO} bytes")
    return protocol.parse_request(message)


def _host(channel: Channel) -> str | None:
    peer = channel.peer
    return None if peer is None or peer.port is None else peer.host


async def _last_words(channel: Channel, problem: RequestError) -> None:
    with contextlib.suppress(jackfield.JackfieldError, OSError, TimeoutError):
        channel.send_nowait(protocol.error(None, problem))
        await channel.flush(timeout=LAST_WORDS)
    channel.abort()
